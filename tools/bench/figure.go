package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Figure is one measured number. Smaller is better for every figure there is.
type Figure struct {
	Group     string   `json:"group"`
	Name      string   `json:"name"`
	Value     float64  `json:"value"`
	Unit      string   `json:"unit"`
	Peer      string   `json:"peer,omitempty"` // what a person would use instead
	PeerValue *float64 `json:"peer_value,omitempty"`
	Ratio     *float64 `json:"ratio,omitempty"` // value / peer value
	Target    *Target  `json:"target,omitempty"`
	OK        bool     `json:"ok"` // the target is met; true where there is none
	Note      string   `json:"note,omitempty"`
}

// Target is the most a figure may be: of its value or, where OfRatio is set, of its ratio.
type Target struct {
	Max     float64 `json:"max"`
	OfRatio bool    `json:"of_ratio,omitempty"`
}

// against puts what the peer takes beside a figure.
func (f Figure) against(peer string, value float64) Figure {
	f.Peer, f.PeerValue = peer, &value
	if value > 0 {
		ratio := f.Value / value
		f.Ratio = &ratio
	}
	return f
}

// judged returns f with OK set by its target. A ratio that could not be made meets none.
func (f Figure) judged() Figure {
	switch {
	case f.Target == nil:
		f.OK = true
	case f.Target.OfRatio:
		f.OK = f.Ratio != nil && *f.Ratio <= f.Target.Max
	default:
		f.OK = f.Value <= f.Target.Max
	}
	return f
}

func writeTable(w io.Writer, figures []Figure) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GROUP\tFIGURE\tVALUE\tPEER\tRATIO\tTARGET\t\tNOTE")
	for _, f := range figures {
		peer, ratio, target, verdict := "", "", "", ""
		if f.PeerValue != nil {
			peer = fmt.Sprintf("%s %s (%s)", number(*f.PeerValue), f.Unit, f.Peer)
		}
		if f.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *f.Ratio)
		}
		if f.Target != nil {
			unit := " " + f.Unit
			if f.Target.OfRatio {
				unit = " of peer"
			}
			target, verdict = "<= "+number(f.Target.Max)+unit, "MISSED"
			if f.OK {
				verdict = "ok"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n",
			f.Group, f.Name, number(f.Value), f.Unit, peer, ratio, target, verdict, f.Note)
	}
	_ = t.Flush() // to a terminal or a log
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// writeJSONL replaces the lines in path that are of the groups measured now, and keeps those of others.
func writeJSONL(path string, figures []Figure) error {
	measured := map[string]bool{}
	for _, f := range figures {
		measured[f.Group] = true
	}
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("reading older figures: %w", err)
	}
	var out bytes.Buffer
	for line := range bytes.Lines(old) {
		var f Figure
		if json.Unmarshal(line, &f) == nil && !measured[f.Group] {
			out.Write(bytes.TrimRight(line, "\n"))
			out.WriteByte('\n')
		}
	}
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, f := range figures {
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("writing figures: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing figures: %w", err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing figures: %w", err)
	}
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	processor := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				processor = strings.TrimSpace(value)
				break
			}
		}
	}
	load := ""
	if l, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Join(strings.Fields(string(l))[:3], " ")
	}
	return fmt.Sprintf("%s, %d x %s, %s%s, %s", runtime.GOOS, runtime.NumCPU(), processor, runtime.Version(), load,
		time.Now().UTC().Format(time.RFC3339))
}

// median returns the middle of values, 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// spread names the extremes of values, for notes.
func spread(values []float64) string {
	if len(values) < 2 {
		return "one run"
	}
	return fmt.Sprintf("%d runs, %s to %s", len(values), number(slices.Min(values)), number(slices.Max(values)))
}
