package seedfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// aSeed is what a workspace's guest is given.
func aSeed() Seed {
	return Seed{
		Time: 1_800_000_000_000_000_000, Entropy: bytes.Repeat([]byte{7}, EntropyMin),
		Files: []File{
			{Path: "/etc", Mode: fs.ModeDir | 0o755},
			{Path: "/etc/hostname", Mode: 0o644, Data: []byte("demo\n")},
			{Path: "/home/admin/.ssh", Mode: fs.ModeDir | 0o700, UID: 1000, GID: 1000},
			{Path: "/home/admin/.ssh/authorized_keys", Mode: 0o600, UID: 1000, GID: 1000, Data: []byte("key")},
			{Path: "/home/admin/empty", Mode: 0o600},
		},
	}
}

// decode reads what lies on a disk.
func decode(disk []byte) (Seed, error) {
	h, err := ParseHeader(disk[:min(len(disk), Block)])
	if err != nil {
		return Seed{}, err
	}
	if len(disk) < Block+h.Size {
		return Seed{}, errors.New("cut off")
	}
	return Decode(h, disk[Block:Block+h.Size])
}

func TestSeedComesOverWhole(t *testing.T) {
	want := aSeed()
	disk, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(disk)%Block != 0 {
		t.Errorf("%d bytes are no whole blocks", len(disk))
	}
	got, err := decode(disk)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Encode(got); err != nil || !bytes.Equal(again, disk) {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
}

// Whatever a bit of it is changed to, a seed is not taken.
func TestChangedSeedIsRefused(t *testing.T) {
	disk, err := Encode(aSeed())
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(disk)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 8, 40, 43, Block, Block + 8, Block + h.Size - 1} {
		changed := bytes.Clone(disk)
		changed[at] ^= 1
		if _, err := decode(changed); err == nil {
			t.Errorf("taken with byte %d changed", at)
		}
	}
	if _, err := ParseHeader(make([]byte, Block)); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty disk: %v", err)
	}
	large := bytes.Clone(disk[:Block])
	binary.BigEndian.PutUint32(large[40:], Limit+1)
	if _, err := ParseHeader(large); err == nil || errors.Is(err, ErrEmpty) {
		t.Errorf("a seed of %d bytes: %v", Limit+1, err)
	}
	if _, err := ParseHeader(disk[:20]); err == nil {
		t.Error("a header that is cut off was taken")
	}
}

func TestWhatIsNoSeed(t *testing.T) {
	for name, spoil := range map[string]func(*Seed){
		"no time":              func(s *Seed) { s.Time = 0 },
		"too little entropy":   func(s *Seed) { s.Entropy = s.Entropy[1:] },
		"too much entropy":     func(s *Seed) { s.Entropy = make([]byte, EntropyMax+1) },
		"relative path":        func(s *Seed) { s.Files[0].Path = "etc" },
		"unclean path":         func(s *Seed) { s.Files[0].Path = "/etc/../x" },
		"the root":             func(s *Seed) { s.Files[0].Path = "/" },
		"a path with a zero":   func(s *Seed) { s.Files[0].Path = "/e\x00c" },
		"a long path":          func(s *Seed) { s.Files[0].Path = "/" + strings.Repeat("e", pathMax) },
		"named twice":          func(s *Seed) { s.Files[1].Path = "/etc" },
		"out of order":         func(s *Seed) { s.Files[0].Path = "/zzz" },
		"a link":               func(s *Seed) { s.Files[1].Mode |= fs.ModeSymlink },
		"setuid":               func(s *Seed) { s.Files[1].Mode |= fs.ModeSetuid },
		"a directory's data":   func(s *Seed) { s.Files[0].Data = []byte("x") },
		"nobody's":             func(s *Seed) { s.Files[1].UID = -1 },
		"too much":             func(s *Seed) { s.Files[1].Data = make([]byte, Limit) },
		"more files than many": func(s *Seed) { s.Files = make([]File, filesMax+1) },
	} {
		s := aSeed()
		spoil(&s)
		if _, err := Encode(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzDecode: what is taken is exactly what Encode writes, and nothing makes it panic or take more than there is.
func FuzzDecode(f *testing.F) {
	disk, err := Encode(aSeed())
	if err != nil {
		f.Fatal(err)
	}
	h, err := ParseHeader(disk)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(disk[Block : Block+h.Size])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 200))
	f.Fuzz(func(t *testing.T, archive []byte) {
		if len(archive) > Limit {
			return
		}
		// The sum is right: it keeps nobody out who can write the disk.
		h := Header{Size: len(archive), Sum: sha256.Sum256(archive)}
		s, err := Decode(h, archive)
		if err != nil {
			return
		}
		again, err := Encode(s)
		if err != nil || !bytes.Equal(again[Block:Block+h.Size], archive) {
			t.Errorf("%x was taken for %+v: %v", archive, s, err)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	disk, err := Encode(aSeed())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(disk[:Block])
	f.Add(magic[:])
	f.Fuzz(func(t *testing.T, block []byte) {
		if h, err := ParseHeader(block); err == nil && (h.Size < 0 || h.Size > Limit) {
			t.Errorf("a size of %d was taken", h.Size)
		}
	})
}
