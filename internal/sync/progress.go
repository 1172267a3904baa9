package sync

import "time"

// tell is told of n more bytes of what is received, and when an artifact is complete.
type tell func(name string, n int64, done bool)

const (
	progressEvery = 100 * time.Millisecond
	rateOver      = 4 * time.Second // what a rate is taken over, about
)

// meter turns what is told over all transfers of a pass into Progress.
type meter struct {
	report  func(Progress)
	p       Progress
	began   time.Time
	last    time.Time // reported
	since   time.Time // of the rate
	before  int64     // bytes then
	started bool
}

func newMeter(report func(Progress)) *meter { return &meter{report: report} }

// expect is told what is about to be received, for the first time or once more.
func (m *meter) expect(items []Item) {
	if m.started {
		return
	}
	m.started = true
	m.began = time.Now()
	m.since = m.began
	for _, it := range items {
		m.p.TotalFiles++
		m.p.TotalBytes += it.Size
	}
}

func (m *meter) tell(name string, n int64, done bool) {
	p := &m.p
	p.Bytes += n
	if done {
		p.Files++
	}
	// What changed meanwhile is received again.
	p.TotalBytes, p.TotalFiles = max(p.TotalBytes, p.Bytes), max(p.TotalFiles, p.Files)
	now := time.Now()
	if p.Files < p.TotalFiles && now.Sub(m.last) < progressEvery {
		return
	}
	m.last = now
	p.Name, p.Elapsed = display(name), now.Sub(m.began)
	m.rate(now)
	m.report(*p)
}

// rate takes the rate over the last seconds, and what is left at it.
func (m *meter) rate(now time.Time) {
	p, took := &m.p, now.Sub(m.since)
	if took < progressEvery {
		return
	}
	p.Rate = float64(p.Bytes-m.before) / took.Seconds()
	p.Left = 0
	if p.Rate > 0 {
		p.Left = time.Duration(float64(p.TotalBytes-p.Bytes) / p.Rate * float64(time.Second))
	}
	if took > rateOver { // half of it is remembered
		m.before += (p.Bytes - m.before) / 2
		m.since = m.since.Add(took / 2)
	}
}

// over says that the pass has ended, if anything was said before.
func (m *meter) over() {
	if !m.last.IsZero() {
		m.p.Over, m.p.Left = true, 0
		m.report(m.p)
	}
}
