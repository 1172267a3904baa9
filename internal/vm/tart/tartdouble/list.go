package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

type row struct {
	Source, Name string
	Disk, Size   int
	Accessed     string
	Running      bool
	State        string
}

// list prints the machines and images there are (rows 20-24).
func list(_ context.Context, h *home, a *arguments) error {
	source := a.last("--source", "")
	if source != "" && source != "local" && source != "oci" {
		return failUsage(a.command, "'%s' is not a valid <source>", source)
	}
	format, err := a.choice("--format", "text", "json")
	if err != nil {
		return err
	}
	rows := []row{}
	if source != "oci" {
		all, err := h.machines()
		if err != nil {
			return err
		}
		for _, m := range all {
			if _, err := m.config(); err != nil {
				return err
			}
			rows = append(rows, m.row("local"))
		}
	}
	if source != "local" {
		for _, m := range h.images() {
			rows = append(rows, m.row("OCI"))
		}
	}
	switch {
	case a.flags["--quiet"]:
		for _, r := range rows {
			fmt.Println(r.Name)
		}
	case format == "json":
		printJSON(rows)
	default:
		printTable(rows)
	}
	return nil
}

func (m machine) row(source string) row {
	r := row{Source: source, Name: m.name, State: m.state(), Accessed: time.Now().UTC().Format(time.RFC3339)}
	r.Running = r.State == "running"
	logical, allocated := m.size()
	r.Disk, r.Size = int(logical/1e9), int(allocated/1e9)
	return r
}

func (m machine) size() (logical, allocated int64) {
	for _, f := range bundleFiles {
		if info, err := os.Stat(m.file(f)); err == nil {
			logical += info.Size()
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				allocated += st.Blocks * 512
			}
		}
	}
	return logical, allocated
}

// printJSON prints as Foundation does: spaces before colons, "\/", and keys in any order.
func printJSON(rows []row) {
	if len(rows) == 0 {
		fmt.Print("[\n\n]\n")
		return
	}
	objects := []string{}
	for _, r := range rows {
		objects = append(objects, "  "+object("  ", [][2]any{
			{"Source", r.Source},
			{"Name", r.Name},
			{"Disk", r.Disk},
			{"Size", r.Size},
			{"Accessed", r.Accessed},
			{"Running", r.Running},
			{"State", r.State},
		}))
	}
	fmt.Println("[\n" + strings.Join(objects, ",\n") + "\n]")
}

func object(indent string, fields [][2]any) string {
	lines := []string{}
	for _, f := range fields {
		value, err := json.Marshal(f[1])
		if err != nil {
			panic(err) // strings, numbers and booleans always can
		}
		lines = append(lines, fmt.Sprintf("%s  %q : %s", indent, f[0], strings.ReplaceAll(string(value), "/", `\/`)))
	}
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return "{\n" + strings.Join(lines, ",\n") + "\n" + indent + "}"
}

func printTable(rows []row) {
	if len(rows) == 0 {
		fmt.Println()
		return
	}
	table := [][]string{{"Source", "Name", "Disk", "Size", "Accessed", "State"}}
	for _, r := range rows {
		table = append(table, []string{
			r.Source, r.Name, fmt.Sprint(r.Disk), fmt.Sprint(r.Size), "just now", r.State,
		})
	}
	width := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, line := range table {
		for i, cell := range line {
			fmt.Fprintf(&b, "%-*s ", width[i], cell)
		}
		b.WriteByte('\n')
	}
	fmt.Println(strings.TrimSpace(b.String()))
}

// get prints one machine (row 25).
func get(_ context.Context, h *home, a *arguments) error {
	format, err := a.choice("--format", "text", "json")
	if err != nil {
		return err
	}
	m, err := h.open(a.positionals[0])
	if err != nil {
		return err
	}
	c, err := m.config()
	if err != nil {
		return err
	}
	logical, allocated := m.size()
	state := m.state()
	if format == "text" {
		fmt.Println("OS CPU Memory Disk DiskFormat Size Display State")
		fmt.Println(c.OS, c.CPUCount, c.MemorySize>>20, logical/1e9, c.DiskFormat, allocated/1e9, "1024x768", state)
		return nil
	}
	fmt.Println(object("", [][2]any{
		{"OS", c.OS},
		{"CPU", c.CPUCount},
		{"Memory", c.MemorySize >> 20},
		{"Disk", logical / 1e9},
		{"DiskFormat", c.DiskFormat},
		{"Size", fmt.Sprintf("%.3f", float64(allocated)/1e9)},
		{"Display", fmt.Sprintf("%dx%d", c.Display.Width, c.Display.Height)},
		{"Running", state == "running"},
		{"State", state},
	}))
	return nil
}

// images lists the cached images, once for each tag and once for each digest.
func (h *home) images() []machine {
	root := h.path("cache", "OCIs")
	var all []machine
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		m := machine{dir: path}
		if err != nil || path == root || !m.complete() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return nil
		}
		repo, tag := filepath.Split(rel)
		separator := ":"
		if strings.HasPrefix(tag, "sha256:") {
			separator = "@"
		}
		m.name = strings.ReplaceAll(strings.TrimSuffix(repo, "/"), "%3A", ":") + separator + tag
		all = append(all, m)
		return nil
	})
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}
