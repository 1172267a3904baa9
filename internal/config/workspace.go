package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

const vmFileName = "vm.yaml"

// Workspace is the view of one workspace: flag > CAL_* > vm.yaml > config.yaml > default, and what vm.yaml alone holds.
type Workspace struct {
	View
	Name        string
	CreatedAt   time.Time // zero if vm.yaml does not say
	Repos       []Repo
	AgentConfig map[string]AgentPermissions // by agent id
	// GitHubAuthenticated and ListedSnapshots are read because older files hold them. They are claims, not facts.
	GitHubAuthenticated bool
	ListedSnapshots     []ListedSnapshot
}

// Workspace reads a workspace's vm.yaml and merges it. The error wraps fs.ErrNotExist if there is no such workspace,
// and is a *Problems if something in the file is wrong.
func (c *Config) Workspace(name string) (*Workspace, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := c.Home.VMFile(name)
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening workspace %q: %w", name, err)
	}
	if data == nil {
		if _, err := os.Stat(path); err != nil {
			return nil, c.noWorkspace(name, err)
		}
	}
	w := &Workspace{Name: name, AgentConfig: map[string]AgentPermissions{}}
	problems := &Problems{}
	values := w.read(c, path, data, problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	w.View, err = c.mergeWith(values)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// ErrNoWorkspace is for a workspace that is not there: fs.ErrNotExist without talk of files.
var ErrNoWorkspace error = noWorkspaceError{}

type noWorkspaceError struct{}

func (noWorkspaceError) Error() string        { return "there is no such workspace" }
func (noWorkspaceError) Is(target error) bool { return target == fs.ErrNotExist }

func (c *Config) noWorkspace(name string, err error) error {
	advice := "make it with: CALMenu new " + name
	all, _ := c.Workspaces()
	if near := Nearest(name, all); near != "" {
		advice = fmt.Sprintf("did you mean %s? Or %s", near, advice)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoWorkspace
	}
	return hint.Wrap(fmt.Errorf("opening workspace %q: %w", name, err), advice)
}

// read takes everything from a vm.yaml and returns the settings in it.
func (w *Workspace) read(c *Config, path string, data []byte, problems *Problems) map[string]value {
	values := map[string]value{}
	places := map[string]leaf{}
	for _, l := range walk(path, vmShape, parseYAML(path, data, problems), problems) {
		f := vmShape.keys[l.pattern].field
		if f == nil {
			w.fact(l, path, problems)
			continue
		}
		if first, twice := places[f.key]; twice {
			problems.add(Problem{
				File: path, Line: l.node.Line, Column: l.node.Column, Key: l.key, Value: shown(l.text),
				What: "given twice:", Expected: fmt.Sprintf("only %s, which stands in line %d", first.key, first.line),
			})
			continue
		}
		c.checkValue(f, l, path, problems)
		places[f.key] = l
		values[f.key] = value{l.value, l.text, fmt.Sprintf("%s:%d", vmFileName, l.line)}
	}
	return values
}

// fact takes a value that is no setting.
func (w *Workspace) fact(l leaf, path string, problems *Problems) {
	switch l.pattern {
	case "name":
		if l.value.(string) != w.Name {
			problems.add(Problem{
				File: path, Line: l.node.Line, Column: l.node.Column, Key: "name", Value: shown(l.text),
				What: "not valid", Expected: fmt.Sprintf("%q, the name of its directory", w.Name),
			})
		}
	case "created_at":
		w.CreatedAt = l.value.(time.Time)
	case "github.authenticated":
		w.GitHubAuthenticated = l.value.(bool)
	case "github.repos[].name":
		at(&w.Repos, l.id).Name = l.value.(string)
	case "github.repos[].url":
		at(&w.Repos, l.id).URL = l.value.(string)
	case "github.repos[].branch":
		at(&w.Repos, l.id).Branch = l.value.(string)
	case "github.repos[].cloned_at":
		at(&w.Repos, l.id).ClonedAt = l.value.(time.Time)
	case "snapshots[].name":
		at(&w.ListedSnapshots, l.id).Name = l.value.(string)
	case "snapshots[].created_at":
		at(&w.ListedSnapshots, l.id).CreatedAt = l.value.(time.Time)
	default:
		permissions := w.AgentConfig[l.id]
		for _, e := range permissionSchema {
			if l.pattern == "agent_config.*."+e.key {
				e.put(&permissions, l.value)
			}
		}
		w.AgentConfig[l.id] = permissions
	}
}

// at returns the element with this index of a list that grows as its file is read, in order.
func at[T any](list *[]T, index string) *T {
	i, err := strconv.Atoi(index)
	if err != nil || i > maxNodes {
		panic("config: list index " + index)
	}
	for len(*list) <= i {
		*list = append(*list, *new(T))
	}
	return &(*list)[i]
}

// Workspaces lists the workspaces there are, by name: the directories with a vm.yaml.
func (c *Config) Workspaces() ([]string, error) {
	dirs, err := os.ReadDir(c.Home.WorkspacesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing workspaces: %w", err)
	}
	var names []string
	for _, d := range dirs {
		if !d.IsDir() || !nameRE.MatchString(d.Name()) {
			continue
		}
		if info, err := os.Stat(c.Home.VMFile(d.Name())); err == nil && info.Mode().IsRegular() {
			names = append(names, d.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}
