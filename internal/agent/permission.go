package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// PermissionChoice is what a person has chosen of an agent's permissions; empty fields leave what is proposed.
type PermissionChoice struct {
	Mode        string
	Allow, Deny []string
}

// Render returns the file with a person's choices in their places.
func (p *Permission) Render(c PermissionChoice) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(p.Content), &doc); err != nil {
		return nil, fmt.Errorf("reading the permissions proposed for %s: %w", p.Path, err)
	}
	mode := c.Mode
	if mode == "" {
		mode = p.Value
	}
	var errs []error
	if mode != "" && p.Mode != "" {
		errs = append(errs, place(doc, p.Mode, mode))
	}
	if len(c.Allow) > 0 && p.Allow != "" {
		errs = append(errs, place(doc, p.Allow, c.Allow))
	}
	if len(c.Deny) > 0 && p.Deny != "" {
		errs = append(errs, place(doc, p.Deny, c.Deny))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the permissions for %s: %w", p.Path, err)
	}
	return append(b, '\n'), nil
}

// place sets the value of a dotted key.
func place(doc map[string]any, key string, v any) error {
	head, rest, deeper := strings.Cut(key, ".")
	if !deeper {
		doc[head] = v
		return nil
	}
	if doc[head] == nil {
		doc[head] = map[string]any{}
	}
	next, ok := doc[head].(map[string]any)
	if !ok {
		return fmt.Errorf("setting %s: %s holds no keys", key, head)
	}
	return place(next, rest, v)
}

// WrittenMark is what the command of WriteCommand prints if it wrote the file.
const WrittenMark = "written"

// WriteCommand returns the command that puts its standard input into the file, whole or not at all, unless there is
// something of that name.
func (p *Permission) WriteCommand() []string {
	const script = `f=$HOME/$1; if [ -e "$f" ] || [ -L "$f" ]; then exit 0; fi
mkdir -p "${f%/*}" || exit
umask 077; t=$f.cal.$$; trap 'rm -f "$t"' EXIT
cat >"$t" && { ln "$t" "$f" 2>/dev/null && echo ` + WrittenMark + ` || [ -e "$f" ]; }`
	return []string{"sh", "-c", script, "cal", strings.TrimPrefix(p.Path, "~/")}
}
