package app

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
)

// maxCAFile bounds network.ca_file, in bytes.
const maxCAFile = 1 << 20

// caBundle are certificate authorities a guest is to trust beside those of its image or host.
type caBundle struct {
	pem  []byte
	hash string // empty: none
}

// caBundle reads network.ca_file of a workspace. installed tells whether the guest has, or is to have, authorities of this
// kind: one that had them is to be rid of them when the setting has gone.
func (a *App) caBundle(w *config.Workspace) (b caBundle, installed bool, err error) {
	mark := filepath.Join(a.Home.WorkspaceDir(w.Name), "ca-installed")
	if w.Network.CAFile == "" {
		_, err := os.Stat(mark)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return b, false, fmt.Errorf("looking for certificate authorities that were installed: %w", err)
		}
		return b, err == nil, nil
	}
	if b, err = readCAFile(w.Network.CAFile); err != nil {
		return b, false, hint.Wrap(fmt.Errorf("reading network.ca_file: %w", err),
			"It is a PEM file of certificates; correct the setting, or leave it empty.")
	}
	return b, true, atomicfile.Write(mark, []byte(b.hash+"\n"), 0o600)
}

// readCAFile reads certificates, and leaves out whatever else the file holds.
func readCAFile(name string) (caBundle, error) {
	f, err := os.Open(name)
	if err != nil {
		return caBundle{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return caBundle{}, err
	}
	if len(data) > maxCAFile {
		return caBundle{}, fmt.Errorf("%s is longer than %d bytes", name, maxCAFile)
	}
	var out bytes.Buffer
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key beside it is nobody's business
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return caBundle{}, fmt.Errorf("a certificate in %s: %w", name, err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return caBundle{}, err
		}
	}
	if out.Len() == 0 {
		return caBundle{}, fmt.Errorf("%s holds no certificate", name)
	}
	sum := sha256.Sum256(out.Bytes())
	return caBundle{pem: out.Bytes(), hash: hex.EncodeToString(sum[:])}, nil
}
