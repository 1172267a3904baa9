package github

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// maxBundleHeader bounds the lines before a bundle's pack: a repository has some thousand references at most.
const maxBundleHeader = 8 << 20

// CheckBundle finds out on the host, without running git on what a guest has made, whether a bundle that landed is what
// was made there: it needs nothing else to be unpacked, it has the branch at that commit, and its pack came whole.
func CheckBundle(file string, r Rescued) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("checking a bundle: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := checkBundle(f, r.Branch, r.Commit); err != nil {
		return fmt.Errorf("checking the bundle %s: %w", clean(r.Bundle, 100), err)
	}
	return nil
}

func checkBundle(f io.Reader, branch, commit string) error {
	in := bufio.NewReader(f)
	header := bufio.NewReader(io.LimitReader(in, maxBundleHeader)) // reads ahead: the rest goes on behind it
	sum := sha1.New()                                              // the format's own checksum, against accidents
	found := false
	for n := 0; ; n++ {
		line, err := header.ReadString('\n')
		if err != nil {
			return errors.New("it does not begin as a bundle does")
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case n == 0 && (line == "# v2 git bundle" || line == "# v3 git bundle"):
		case n == 0:
			return errors.New("it is no bundle")
		case line == "@object-format=sha256":
			sum = sha256.New()
		case strings.HasPrefix(line, "@filter"), strings.HasPrefix(line, "-"):
			return errors.New("it is not complete by itself")
		case line == commit+" refs/heads/"+branch:
			found = true
		}
		if line == "" {
			break
		}
	}
	if !found {
		return fmt.Errorf("branch %s is not in it", clean(branch, 100))
	}
	return checkPack(io.MultiReader(header, in), sum)
}

// checkPack reads a pack to its end, where its checksum is.
func checkPack(r io.Reader, sum hash.Hash) error {
	size := sum.Size()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "PACK" {
		return errors.New("it holds no pack")
	}
	_, _ = sum.Write(magic)
	buf := make([]byte, 256<<10)
	held := 0 // bytes at the start of buf that may be the checksum
	for {
		n, err := r.Read(buf[held:])
		n += held
		if n > size {
			_, _ = sum.Write(buf[:n-size])
			copy(buf, buf[n-size:n])
			n = size
		}
		held = n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if held != size || !bytes.Equal(buf[:held], sum.Sum(nil)) {
		return errors.New("its pack is not whole")
	}
	return nil
}
