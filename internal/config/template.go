package config

import (
	"fmt"
	"strings"
)

// Template is a config.yaml with every setting at its default, each commented out: what Preferences opens if there is
// no file yet. Read as a file it holds no settings.
func Template() []byte {
	c := Default(Home{Dir: "/nonexistent"})
	var b strings.Builder
	b.WriteString("# CALMenu's settings. Take the # away to change one; without it the default shown holds.\n" +
		"# A workspace's own settings are in isolation/vms/<name>/vm.yaml and win over these; CAL_* variables and flags\n" +
		"# win over both. CALMenu config show --origin tells where each value came from.\n\nversion: 1\n")
	var open []string
	for i := range schema {
		f := &schema[i]
		if f.key == "version" {
			continue
		}
		path := strings.Split(f.key, ".")
		shared := 0
		for shared < len(open) && shared < len(path)-1 && open[shared] == path[shared] {
			shared++
		}
		if shared == 0 {
			b.WriteString("\n")
		}
		for depth := shared; depth < len(path)-1; depth++ {
			b.WriteString(strings.Repeat("  ", depth) + path[depth] + ":\n")
		}
		open = path[:len(path)-1]
		indent := strings.Repeat("  ", len(path)-1)
		expected := f.kind.expected
		fmt.Fprintf(&b, "%s# %s (%s)\n", indent, f.doc, expected)
		value := c.values[f.key]
		fmt.Fprintf(&b, "%s# %s: %s\n", indent, path[len(path)-1], renderDefault(value))
	}
	b.WriteString("\nagents:\n" +
		"  # change an agent, or add one of your own; docs/config.md lists the keys\n" +
		"  # claude-code:\n" +
		"  #   install_command: npm install -g @anthropic-ai/claude-code\n")
	b.WriteString("\n# run a program of this computer on what has landed; docs/config.md lists the keys\n" +
		"# on_artifact:\n" +
		"#   - match: [\"*.ipa\"]\n" +
		"#     argv: [/usr/local/bin/publish, \"{path}\"]\n")
	return []byte(b.String())
}

// renderDefault writes a default as the table has it: 2GB, not the bytes it stands for.
func renderDefault(v value) string {
	switch v.any.(type) {
	case []string, int, bool:
		return render(v.any)
	}
	return yamlText(v.text)
}

// Reference is the table of settings of docs/config.md, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| config.yaml | vm.yaml | environment, flag | default | may be | what it does |\n")
	b.WriteString("|---|---|---|---|---|---|\n")
	for i := range schema {
		f := &schema[i]
		vm := make([]string, len(f.vm))
		for i, key := range f.vm {
			vm[i] = code(key)
		}
		var outside []string
		if f.env() != "" {
			outside = append(outside, code(f.env()))
		}
		if f.flag != "" {
			outside = append(outside, code("--"+f.flag))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", code(f.key), strings.Join(vm, " or "),
			strings.Join(outside, ", "), defaultText(f), cell(f.kind.expected), cell(f.doc))
	}
	return b.String()
}

// AgentReference is the table of the keys of agents.<id>.
func AgentReference() string { return keysTable(agentSchema) }

// HookReference is the table of the keys of on_artifact.
func HookReference() string { return keysTable(hookSchema) }

// PermissionReference is the table of the keys of agent_config.<id>.
func PermissionReference() string { return keysTable(permissionSchema) }

func keysTable[T any](entries []entry[T]) string {
	var b strings.Builder
	b.WriteString("| key | may be | what it does |\n|---|---|---|\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(e.key), cell(e.kind.expected), cell(e.doc))
	}
	return b.String()
}

// defaultText says the default where it does not depend on the host, and how it is chosen where it does.
func defaultText(f *field) string {
	mac, linux := Defaults("darwin", 64, 1<<20), Defaults("linux", 64, 1<<20)
	choose := func(mac, linux int) string { return fmt.Sprintf("macOS guest %d, Linux guest %d", mac, linux) }
	switch f.key {
	case keyCPU:
		return choose(mac.CPU, linux.CPU)
	case keyMemory:
		return choose(mac.MemoryMB, linux.MemoryMB)
	case keyDisk:
		return choose(mac.DiskGB, linux.DiskGB)
	}
	if f.def == "" {
		return "none"
	}
	return code(f.def)
}

func code(s string) string { return "`" + s + "`" }

func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s) }
