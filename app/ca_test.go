package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/config"
)

func TestReadCAFile(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for text, want := range map[string]string{
		cert:                       "",
		"# ours\r\n" + cert + cert: "",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + cert: "",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n":        "holds no certificate",
		"":                         "holds no certificate",
		strings.Repeat("x", 2<<20): "longer than",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "a certificate in",
	} {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readCAFile(file)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if err == nil && (b.hash == "" || strings.Contains(string(b.pem), "PRIVATE") || !strings.Contains(string(b.pem), cert)) {
			t.Errorf("%.40q: %s", text, b.pem)
		}
	}
}

func TestAGuestIsRidOfCertificateAuthorities(t *testing.T) {
	_, a := networkOf(t, nil)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	if _, installed, err := a.caBundle(w); err != nil || installed {
		t.Errorf("none were ever asked for: %v, %v", installed, err)
	}
	with := func(file string) *config.Workspace {
		x := *w
		x.Network.CAFile = file
		return &x
	}
	if _, _, err := a.caBundle(with("/nowhere.pem")); err == nil || !strings.Contains(err.Error(), "network.ca_file") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(a.Home.WorkspaceDir("demo"), "ca-installed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, installed, err := a.caBundle(w); err != nil || !installed || b.hash != "" {
		t.Errorf("they are to go: %v, %v, %v", b, installed, err)
	}
}
