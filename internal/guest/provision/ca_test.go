package provision_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/provision"
)

// TestCertificateAuthorities installs some, others, and none: what the bundle held before stays.
func TestCertificateAuthorities(t *testing.T) {
	t.Parallel()
	_, shell := sandbox(t)
	one := "-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n"
	two := one + "-----BEGIN CERTIFICATE-----\ndHdv\n-----END CERTIFICATE-----\n"
	// The sandbox's system files are found where its scripts look for them, below its home.
	res, err := shell.Output(t.Context(), guest.Cmd{Argv: []string{"sh", "-c", `printf %s "$CAL_GUEST_ROOT"`}})
	if err != nil || !strings.HasPrefix(string(res.Stdout), "/") {
		t.Fatalf("the sandbox has no root of its own: %s, %v", res.Stdout, err)
	}
	root := string(res.Stdout)
	bundle := filepath.Join(root, "etc", "ssl", "certs", "ca-certificates.crt")
	if err := os.MkdirAll(filepath.Dir(bundle), 0o755); err != nil {
		t.Fatal(err)
	}
	const before = "-----BEGIN CERTIFICATE-----\nb2xk\n-----END CERTIFICATE-----\n"
	if err := os.WriteFile(bundle, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pem, hash string
		files     int
		want      provision.Outcome
	}{
		{one, "h1", 1, provision.Done},
		{one, "h1", 1, provision.Held},
		{two, "h2", 2, provision.Done},
		{"", "", 0, provision.Done},
		{"", "", 0, provision.Held},
	} {
		r := runner(t, shell, provision.Guest{OS: "linux", Facts: []string{provision.CAFile}})
		r.Steps = provision.List{only(t, r.Steps, "ca-file")}
		r.Vars["ca_hash"] = step.hash
		r.Input = func(i provision.Input) ([]byte, error) {
			if i != provision.CABundle {
				t.Errorf("asked for %s", i)
			}
			return []byte(step.pem), nil
		}
		results, err := r.Run(t.Context(), nil)
		if err != nil || len(results) != 1 || results[0].Outcome != step.want {
			t.Fatalf("%q: %+v, %v", step.hash, results, err)
		}
		want := before
		if step.hash != "" {
			want += "# CALMenu " + step.hash + "\n" + step.pem + "# end of CALMenu\n"
		}
		if got := read(t, bundle); got != want {
			t.Errorf("%q: the bundle is\n%s", step.hash, got)
		}
		files, err := filepath.Glob(filepath.Join(root, "usr", "local", "share", "ca-certificates", "calmenu-*.crt"))
		if err != nil || len(files) != step.files {
			t.Errorf("%q: %v, %v", step.hash, files, err)
		}
	}
}

func only(t *testing.T, l provision.List, id string) provision.Step {
	t.Helper()
	for _, s := range l {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("there is no step %s", id)
	return provision.Step{}
}
