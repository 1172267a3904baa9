package netpolicy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/resources"
)

// Preset is a list of destinations that belong together.
type Preset struct {
	Name   string   `yaml:"name" json:"name"`
	Doc    string   `yaml:"doc" json:"doc"` // what it is for, and where the list is from
	Source string   `yaml:"source" json:"source"`
	Allow  []string `yaml:"allow" json:"allow"`

	rules []Rule
}

// presetFile is resources/network/presets.yaml.
type presetFile struct {
	Presets []Preset `yaml:"presets"`
	// Resolvers are the names of services that resolve other names (DNS over HTTPS).
	Resolvers []string `yaml:"resolvers"`
}

type presetData struct {
	presets   []Preset
	resolvers map[string]bool
}

var presetsOnce = sync.OnceValue(func() presetData {
	d, err := readPresets(resources.NetworkPresets())
	if err != nil {
		panic("netpolicy: the embedded presets are not valid: " + err.Error())
	}
	return d
})

func readPresets(data []byte) (presetData, error) {
	var f presetFile
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return presetData{}, fmt.Errorf("reading the presets: %w", err)
	}
	d := presetData{resolvers: map[string]bool{}}
	for _, p := range f.Presets {
		for _, text := range p.Allow {
			r, err := ParseRule(text)
			if err != nil {
				return presetData{}, fmt.Errorf("reading preset %q: %w", p.Name, err)
			}
			// A preset is for services of the internet, whatever somebody's DNS makes of their names.
			r.public = true
			p.rules = append(p.rules, r)
		}
		d.presets = append(d.presets, p)
	}
	for _, name := range f.Resolvers {
		canonical, addr, err := Canonical(name)
		if err != nil || addr.IsValid() {
			return presetData{}, fmt.Errorf("reading the resolvers: %q is no name", name)
		}
		d.resolvers[canonical] = true
	}
	return d, nil
}

// Presets are the presets there are, by name.
func Presets() []Preset { return slices.Clone(presetsOnce().presets) }

// FindPreset returns the preset of that name.
func FindPreset(name string) (Preset, error) {
	all := presetsOnce().presets
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, hint.Errorf("There are "+strings.Join(names, ", ")+".", "there is no preset %q", name)
}

// hidesNames tells whether a name is known for resolving others.
func hidesNames(name string) bool { return presetsOnce().resolvers[name] }
