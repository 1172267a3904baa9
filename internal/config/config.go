// Package config reads and writes what a person decides: config.yaml for everything, vm.yaml for one workspace, CAL_*
// environment variables and flags on top.
//
// What must hold: nothing written by a person is ever ignored (an unknown key, a wrong type, a value out of range is an
// error that names file, line, value and what is expected, all errors at once); every value can say where it came from;
// a file is changed only as a whole or not at all, with the person's comments kept; reading a file takes bounded time
// whatever it holds. Nothing here is decided by CAL_VM, the marker of being inside a guest, which anybody can set.
package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// value is a setting's value with its origin.
type value struct {
	any    any
	text   string
	origin string
}

// View is a set of settings with their origins: what Config and Workspace have in common.
type View struct {
	Settings
	values map[string]value
}

// Config is the view of config.yaml: flag > CAL_* > config.yaml > default. It does not change once loaded; load again
// to see a changed file.
type Config struct {
	View
	Home   Home
	Agents map[string]AgentSettings // agents.<id> as the user wrote them
	Hooks  []Hook                   // on_artifact, in order

	env          func(string) string
	defaults     Resources
	file         map[string]value // from config.yaml
	agentOrigins map[string]value
	environment  map[string]value
	flags        map[string]value
}

// Entry is one setting as config show prints it.
type Entry struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // int, bool, string or []string; sizes and durations as written
	Text   string `json:"-"`
	Origin string `json:"origin"`
	Env    string `json:"env,omitempty"`
}

// Load reads config.yaml and the CAL_* variables env returns (os.Getenv; an empty variable counts as not set). A
// missing file holds no settings. The error is a *Problems if something is wrong with what was written.
func Load(h Home, env func(string) string) (*Config, error) {
	c := base(h, env)
	problems := &Problems{}
	if err := c.readConfigFile(problems); err != nil {
		return nil, err
	}
	c.readEnvironment(problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return c.merge()
}

// Default is what holds with no file and no environment: what a caller falls back to, after telling, if Load fails.
func Default(h Home) *Config {
	c, err := base(h, func(string) string { return "" }).merge()
	if err != nil {
		panic("config: defaults are not valid: " + err.Error())
	}
	return c
}

func base(h Home, env func(string) string) *Config {
	cpus, memory := hostResources()
	return &Config{
		Home: h, Agents: map[string]AgentSettings{}, env: env, defaults: Defaults(hostGuestOS(), cpus, memory),
		file: map[string]value{}, agentOrigins: map[string]value{}, environment: map[string]value{},
		flags: map[string]value{},
	}
}

// hostGuestOS is the guest system this host's driver runs.
func hostGuestOS() string {
	if runtime.GOOS == "darwin" {
		return "darwin"
	}
	return "linux"
}

func (c *Config) readConfigFile(problems *Problems) error {
	path := c.Home.ConfigFile()
	data, err := readFile(path)
	if err != nil {
		return err
	}
	for _, l := range walk(path, configShape, parseYAML(path, data, problems), problems) {
		origin := fmt.Sprintf("%s:%d", filepath.Base(path), l.line)
		if f := configShape.keys[l.pattern].field; f != nil {
			c.checkValue(f, l, path, problems)
			c.file[f.key] = value{l.value, l.text, origin}
			continue
		}
		if c.readHook(l) {
			continue
		}
		agent := c.Agents[l.id]
		for _, e := range agentSchema {
			if l.pattern == "agents.*."+e.key {
				e.put(&agent, l.value)
			}
		}
		c.Agents[l.id] = agent
		c.agentOrigins[l.key] = value{l.value, l.text, origin}
	}
	c.checkHooks(path, problems)
	return nil
}

// checkValue checks what a kind alone cannot know.
func (c *Config) checkValue(f *field, l leaf, file string, problems *Problems) {
	if err := c.checkSyncDir(f, l.value); err != nil {
		problems.add(Problem{
			File: file, Line: l.node.Line, Column: l.node.Column, Key: l.key, Value: shown(l.text),
			What: "not valid", Expected: err.Error(),
		})
	}
}

// checkSyncDir keeps artifacts, whose names the guest chooses, out of CALMenu's own files.
func (c *Config) checkSyncDir(f *field, v any) error {
	if f.key != keySync {
		return nil
	}
	dir := expandHome(v.(string))
	if dir == "/" || within(dir, c.Home.Dir) || within(c.Home.Dir, dir) {
		return errors.New("a directory of its own, not / and nothing around or in " + c.Home.Dir)
	}
	if user := expandHome("~/"); dir == user {
		return errors.New("a directory of its own, not the home directory itself")
	}
	return nil
}

// within tells whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func (c *Config) readEnvironment(problems *Problems) {
	for i := range schema {
		f := &schema[i]
		name := f.env()
		if name == "" {
			continue
		}
		if text := c.env(name); text != "" {
			c.readText(c.environment, f, name, name, text, problems)
		}
	}
}

// readText reads a value given as text and notes it under its setting, or notes what is wrong.
func (c *Config) readText(into map[string]value, f *field, name, origin, text string, problems *Problems) {
	v, err := f.kind.fromText(text)
	if err == nil {
		if wrong := c.checkSyncDir(f, v); wrong != nil {
			problems.add(Problem{Key: name, Value: shown(text), What: "not valid", Expected: wrong.Error()})
			return
		}
		into[f.key] = value{v, text, origin}
		return
	}
	problems.add(Problem{Key: name, Value: shown(text), What: whatOf(err), Expected: f.kind.expected})
}

// WithFlags returns a copy in which the given values, by key (isolation.defaults.vm.cpu) or flag name (cpu), win over
// everything else. The error is a *Problems.
func (c *Config) WithFlags(flags map[string]string) (*Config, error) {
	d := *c
	d.flags = map[string]value{}
	problems := &Problems{}
	names := make([]string, 0, len(flags))
	for name := range flags {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		f := fieldByName(name)
		if f == nil {
			problems.add(unknownKey("", name))
			continue
		}
		origin := "--" + f.key
		if f.flag != "" {
			origin = "--" + f.flag
		}
		d.readText(d.flags, f, origin, origin, flags[name], problems)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return d.merge()
}

// fieldByName finds a setting by key or flag name.
func fieldByName(name string) *field {
	if f := fieldByKey[name]; f != nil {
		return f
	}
	for i := range schema {
		if schema[i].flag != "" && schema[i].flag == name {
			return &schema[i]
		}
	}
	return nil
}

func unknownKey(file, name string) Problem {
	keys := make([]string, 0, len(fieldByKey))
	for key := range fieldByKey {
		keys = append(keys, key)
	}
	p := Problem{File: file, Key: name, What: "unknown key", Expected: "a key of docs/config.md"}
	if near := Nearest(name, keys); near != "" {
		p.Expected = "a known key; did you mean " + near + "?"
	}
	return p
}

// merge makes the view from its layers.
func (c *Config) merge() (*Config, error) {
	v, err := c.mergeWith(nil)
	if err != nil {
		return nil, err
	}
	for key, one := range c.agentOrigins {
		v.values[key] = one
	}
	c.View = v
	return c, nil
}

// mergeWith makes a view with the values of a vm.yaml between the environment and config.yaml.
func (c *Config) mergeWith(vm map[string]value) (View, error) {
	v := View{values: map[string]value{}}
	for i := range schema {
		f := &schema[i]
		one, err := c.defaultOf(f)
		if err != nil {
			return View{}, err
		}
		for _, layer := range []map[string]value{c.file, vm, c.environment, c.flags} {
			if set, ok := layer[f.key]; ok {
				one = set
			}
		}
		f.put(&v.Settings, one.any)
		v.values[f.key] = one
	}
	v.Output.SyncDir = expandHome(v.Output.SyncDir)
	return v, nil
}

func (c *Config) defaultOf(f *field) (value, error) {
	text := f.def
	switch f.key {
	case keyCPU:
		text = fmt.Sprint(c.defaults.CPU)
	case keyMemory:
		text = fmt.Sprint(c.defaults.MemoryMB)
	case keyDisk:
		text = fmt.Sprint(c.defaults.DiskGB)
	}
	v, err := f.kind.fromText(text)
	if err != nil {
		return value{}, fmt.Errorf("reading the default %q of %s: %w", text, f.key, err)
	}
	return value{v, text, "default"}, nil
}

// Origin tells where a setting's value came from: "default", "config.yaml:12", "vm.yaml:3", "CAL_VM_CPU" or "--cpu"; ""
// if there is no such key.
func (v *View) Origin(key string) string { return v.values[key].origin }

// Get returns one setting.
func (v *View) Get(key string) (Entry, bool) {
	one, ok := v.values[key]
	if !ok {
		return Entry{}, false
	}
	return one.entry(key), true
}

// Entries lists all settings by key.
func (v *View) Entries() []Entry {
	all := make([]Entry, 0, len(v.values))
	for key, one := range v.values {
		all = append(all, one.entry(key))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Key < all[j].Key })
	return all
}

func (v value) entry(key string) Entry {
	e := Entry{Key: key, Value: v.text, Text: v.text, Origin: v.origin}
	switch typed := v.any.(type) {
	case int, bool, []string:
		e.Value = typed
	}
	if f := fieldByKey[key]; f != nil {
		e.Env = f.env()
	}
	return e
}
