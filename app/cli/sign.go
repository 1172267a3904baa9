package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/inspect"
	"github.com/calmenu/calmenu/internal/sign"
)

func (c *cmd) sign() *cobra.Command {
	var o app.SignOptions
	var list, show bool
	cc := &cobra.Command{
		Use: "sign [WORKSPACE] NAME", Short: "Sign an artifact on this computer, in a copy beside it",
		Args: cobra.RangeArgs(0, 2), ValidArgsFunction: c.artifactNames,
		Long: `Sign an artifact on this computer: .app, .xcarchive, .ipa, .dmg or .pkg. It is copied to where no guest reaches,
signed there by the programs of macOS, and lands beside the original as NAME-signed. Keys stay in the keychain.

An .xcarchive is exported by xcodebuild: by --profile, or as --export-options say. Entitlements are those of --entitlements,
or those the profile grants, and never those the guest put in.`,
	}
	f := cc.Flags()
	f.StringVar(&o.Identity, "identity", "", "who signs: hash, name, or a part of it that one alone has; - is nobody (ad hoc)")
	f.StringVar(&o.Profile, "profile", "", "provisioning profile: its file, or the name or UUID of one that Xcode has")
	f.StringVar(&o.Entitlements, "entitlements", "", "file of entitlements, instead of the profile's")
	f.StringVar(&o.ExportOptions, "export-options", "", "file that tells xcodebuild -exportArchive what to make")
	f.StringVar(&o.Notarize, "notarize", "", "have Apple check it, signed in by this profile of notarytool store-credentials")
	f.BoolVar(&list, "list", false, "list who can sign, and stop")
	f.BoolVar(&show, "show", false, "show what the artifact says about itself, and stop")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if list {
			return c.identities(cc)
		}
		if len(args) == 0 {
			return hint.Wrap(fmt.Errorf("%w: which artifact?", errUsage), "Usage: "+cc.UseLine())
		}
		workspace, name := workspaceAndName(args)
		d, x, err := c.app.DescribeArtifact(cc.Context(), workspace, name)
		if err != nil {
			return err
		}
		if show {
			return c.print(d, func(w io.Writer) error { return describe(w, x.Name, d) })
		}
		say := c.streams.Err
		if c.json {
			say = io.Discard
		} else if err := describe(say, x.Name, d); err != nil {
			return err
		}
		s, err := c.app.Sign(cc.Context(), workspace, name, o, say, nil)
		if err != nil {
			return err
		}
		return c.print(s, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "signed   %s (%s, by %s)\n", printable(s.Artifact.Path), size(s.Artifact.Size),
				printable(s.Identity.Name))
			return err
		})
	}
	return cc
}

// describe says what is about to be signed.
func describe(w io.Writer, name string, d sign.Description) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", printable(inspect.Name(name)), d.Kind)
	if d.BundleID != "" {
		fmt.Fprintf(&b, ": %s", printable(d.BundleID))
		if d.Version != "" {
			fmt.Fprintf(&b, ", version %s", printable(d.Version))
		}
		if d.Build != "" {
			fmt.Fprintf(&b, " (%s)", printable(d.Build))
		}
	}
	if d.Signed {
		b.WriteString(", signed already")
	}
	if d.SignedBy != "" {
		fmt.Fprintf(&b, " by %s", printable(d.SignedBy))
	}
	b.WriteByte('\n')
	if p := d.Profile; p != nil {
		fmt.Fprintf(&b, "  its profile: %s, team %s, until %s\n", printable(p.Name), printable(strings.Join(p.Team, ", ")),
			p.Expires.Format(time.DateOnly))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *cmd) identities(cc *cobra.Command) error {
	all, err := c.app.Identities(cc.Context())
	if err != nil {
		return err
	}
	if all == nil {
		all = []sign.Identity{}
	}
	return c.print(all, table("IDENTITY\tSIGNS\tHASH", func(yield func(string) bool) {
		for _, i := range all {
			signs := "code"
			if i.Installer {
				signs = "packages"
			}
			if !yield(fmt.Sprintf("%s\t%s\t%s", i.Name, signs, i.Hash)) {
				return
			}
		}
	}))
}
