package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// Figure is one measured number. Smaller is better for every figure there is.
type Figure struct {
	Group     string   `json:"group"`
	Name      string   `json:"name"`
	Value     float64  `json:"value"`
	Unit      string   `json:"unit"`
	Peer      string   `json:"peer"` // what a person would use instead; empty: nothing comparable
	PeerValue *float64 `json:"peer_value"`
	Ratio     *float64 `json:"ratio"`  // value / peer value
	Target    *Target  `json:"target"` // null where there is none
	OK        bool     `json:"ok"`     // the target is met; true where there is none
	Note      string   `json:"note"`
}

// Target is the most a figure may be: of its value or, where OfRatio is set, of its ratio.
type Target struct {
	Max     float64
	OfRatio bool
}

// MarshalText writes a target as "value <= 50" or "ratio <= 0.45".
func (t Target) MarshalText() ([]byte, error) {
	of := "value"
	if t.OfRatio {
		of = "ratio"
	}
	return fmt.Appendf(nil, "%s <= %g", of, t.Max), nil
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
		var f struct{ Group string }
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

// percentile returns the smallest of values that at least p percent of them do not exceed, 0 of none.
func percentile(values []float64, p int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// spread names the extremes of values, for notes.
func spread(values []float64) string {
	if len(values) < 2 {
		return "one run"
	}
	return fmt.Sprintf("%d runs, %s to %s", len(values), number(slices.Min(values)), number(slices.Max(values)))
}
