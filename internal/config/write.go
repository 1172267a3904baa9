package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
)

// Set changes one value in a file (Home.ConfigFile or Home.VMFile) and leaves everything else as it stands, comments
// and order included. key is one of the file's own keys, or in a vm.yaml also the setting's key of config.yaml; value
// is text as in a flag. A config.yaml that does not exist is made. The file is replaced as a whole or not at all, under
// a lock that other processes of CALMenu take too. A file with problems is not changed; the error is then a *Problems.
// The Config itself does not change: load again.
func (c *Config) Set(file, key, value string) error {
	target, err := c.target(file, key)
	if err != nil {
		return err
	}
	v, err := target.kind.fromText(value)
	if err == nil && target.field != nil {
		if wrong := c.checkSyncDir(target.field, v); wrong != nil {
			return &Problems{List: []Problem{{Key: key, Value: shown(value), What: "not valid", Expected: wrong.Error()}}}
		}
	}
	if err != nil {
		return &Problems{List: []Problem{{
			Key: key, Value: shown(value), What: whatOf(err),
			Expected: target.kind.expected,
		}}}
	}
	return c.locked(func() error {
		data, err := readFile(file)
		if err != nil {
			return err
		}
		if data == nil && target.shape == vmShape {
			return fmt.Errorf("setting %s in %s: %w", key, file, fs.ErrNotExist)
		}
		edited, err := editFile(file, data, target, v)
		if err != nil {
			return err
		}
		return writeFile(file, edited)
	})
}

// target is the place a Set goes to.
type target struct {
	shape   *shape
	kind    kind
	field   *field
	pattern string
	// keys are the ways the file may hold the value; the first is how it is written if none is there yet.
	keys []string
}

func (c *Config) target(file, key string) (target, error) {
	t := target{shape: configShape, keys: []string{key}}
	if filepath.Base(file) == vmFileName {
		t.shape = vmShape
		if f := fieldByName(key); f != nil && len(f.vm) > 0 {
			t.keys = f.vm
		}
		for i := range schema {
			for _, one := range schema[i].vm {
				if one == key {
					t.keys = schema[i].vm
				}
			}
		}
	} else if f := fieldByName(key); f != nil {
		t.keys = []string{f.key}
	}
	t.pattern = t.shape.patternOf(t.keys[0])
	found, ok := t.shape.keys[t.pattern]
	if !ok || strings.Contains(t.pattern, "[]") {
		p := unknownKey(file, key)
		if t.shape == vmShape && fieldByName(key) != nil {
			p.What, p.Expected = "not a setting of one workspace", "it in config.yaml"
		}
		return target{}, &Problems{List: []Problem{p}}
	}
	t.kind, t.field = found.kind, found.field
	return t, nil
}

// patternOf turns agents.mine.probe into agents.*.probe; other keys stay.
func (s *shape) patternOf(key string) string {
	parts := strings.SplitN(key, ".", 3)
	if len(parts) == 3 && s.section(parts[0]+".*") && nameRE.MatchString(parts[1]) {
		return parts[0] + ".*." + parts[2]
	}
	return key
}

// CreateWorkspace writes a new workspace's vm.yaml: its name, the time, and values by key (of config.yaml or vm.yaml).
// The error wraps fs.ErrExist if the workspace is there already.
func (c *Config) CreateWorkspace(name string, values map[string]string) error {
	if err := checkName(name); err != nil {
		return err
	}
	file := c.Home.VMFile(name)
	data := []byte(fmt.Sprintf("name: %s\ncreated_at: %s\n", yamlText(name), time.Now().UTC().Format(time.RFC3339)))
	problems := &Problems{}
	targets, texts := map[string]target{}, map[string]string{}
	var order []string
	for key, text := range values {
		t, err := c.target(file, key)
		if p := (*Problems)(nil); errors.As(err, &p) {
			problems.add(p.List...)
			continue
		}
		if _, twice := targets[t.keys[0]]; twice || t.field == nil {
			problems.add(Problem{Key: key, What: "not a setting, or given twice", Expected: "settings, each once"})
			continue
		}
		c.readText(map[string]value{}, t.field, key, key, text, problems)
		targets[t.keys[0]] = t
		order = append(order, t.keys[0])
		texts[t.keys[0]] = text
	}
	if err := problems.err(); err != nil {
		return err
	}
	sort.Slice(order, func(i, j int) bool { return schemaIndex(order[i]) < schemaIndex(order[j]) })
	for _, key := range order {
		v, err := targets[key].kind.fromText(texts[key])
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		if data, err = editFile(file, data, targets[key], v); err != nil {
			return err
		}
	}
	return c.locked(func() error {
		if _, err := os.Lstat(file); err == nil {
			return hint.Wrap(fmt.Errorf("making workspace %q: %w", name, fs.ErrExist),
				"choose another name, or delete it with: CALMenu delete "+name)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("making workspace %q: %w", name, err)
		}
		return writeFile(file, data)
	})
}

// schemaIndex orders the keys of a vm.yaml as the schema does.
func schemaIndex(vmKey string) int {
	for i := range schema {
		for _, key := range schema[i].vm {
			if key == vmKey {
				return i
			}
		}
	}
	return len(schema)
}

// DeleteWorkspace removes a workspace's directory with everything in it. Delete the machine first: this does not ask
// what the directory holds. A workspace that is not there is no error, so that a delete cut short can be repeated. The
// directory first takes a name no workspace can have, so that a crash leaves no half of a workspace.
func (c *Config) DeleteWorkspace(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return c.locked(func() error {
		gone := filepath.Join(c.Home.WorkspacesDir(), ".deleted-"+name)
		if err := os.RemoveAll(gone); err != nil {
			return fmt.Errorf("deleting what is left of workspace %q: %w", name, err)
		}
		if err := os.Rename(c.Home.WorkspaceDir(name), gone); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return fmt.Errorf("deleting workspace %q: %w", name, err)
		}
		if err := os.RemoveAll(gone); err != nil {
			return fmt.Errorf("deleting workspace %q: %w", name, err)
		}
		return nil
	})
}

// lockWait is how long a change waits for another process's change, which takes milliseconds.
const lockWait = 10 * time.Second

// locked runs do while no other process changes settings.
func (c *Config) locked(do func() error) error {
	if err := c.Home.Ensure(); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(c.Home.LocksDir(), "config.lock"))
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return hint.Wrap(fmt.Errorf("waiting for another process to finish changing settings: %w", err),
			"try again; CALMenu doctor shows who holds a lock")
	}
	return errors.Join(do(), lock.Unlock())
}

// writeFile replaces a file atomically. The mode of an existing file is kept, and a symbolic link (into a dotfiles
// repository, say) stays one.
func writeFile(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return atomicfile.Write(path, data, mode)
}

// yamlText writes a text as one YAML scalar, quoted where it must be.
func yamlText(s string) string {
	out, err := yaml.Marshal(s)
	if text := strings.TrimSuffix(string(out), "\n"); err == nil && !strings.Contains(text, "\n") {
		return text
	}
	return jsonText(s)
}
