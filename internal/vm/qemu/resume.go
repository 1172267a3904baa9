package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/vm"
)

// giveUp is why saved memory is of no use, for people.
type giveUp struct{ reason string }

func (g *giveUp) Error() string { return "resuming from saved memory: " + g.reason }

// resume makes a suspended machine go on. A *giveUp says that its memory never will; after any other error it is still
// there.
func (m *machine) resume(ctx context.Context, p vm.Progress) error {
	kvm := m.d.accel.kvm && !m.NoKVM
	r, err := m.openMemory(m.Disk.Layers[m.Disk.Active].Memory, launch{record: m.record, kvm: kvm, incoming: true})
	if err != nil {
		return err
	}
	defer r.close()
	p.Report(vm.Phase{Name: "resuming the machine"})
	return r.run(ctx)
}

// openMemory opens saved memory for a machine that is started as s. A *giveUp says that it does not fit or is damaged.
func (m *machine) openMemory(id string, s launch) (*resumption, error) {
	saved, err := m.readMemory(id)
	if err != nil {
		return nil, &giveUp{"what was saved is damaged: " + err.Error()}
	}
	for older := serialPorts; m.unusable(saved, s) != "" && older <= theBalloon; older++ {
		s.without = older // it may be that version's
	}
	if reason := m.unusable(saved, s); reason != "" {
		return nil, &giveUp{reason}
	}
	r := &resumption{m: m, launch: s, id: id, saved: saved}
	if r.ram, err = os.Open(m.memoryPath(id, ramFile)); err != nil {
		return nil, &giveUp{"what was saved is damaged: " + err.Error()}
	}
	if info, err := r.ram.Stat(); err != nil || info.Size() != saved.RAM {
		r.close()
		return nil, &giveUp{"what was saved is damaged"}
	}
	if r.state, err = os.Open(m.memoryPath(id, stateFile)); err != nil {
		r.close()
		return nil, &giveUp{"what was saved is damaged: " + err.Error()}
	}
	return r, nil
}

// run starts QEMU and makes the guest go on in it.
func (r *resumption) run(ctx context.Context) error {
	m := r.m
	if _, err := os.Lstat(filepath.Join(m.dir, bootInitrd)); err != nil {
		if err := m.writeInitrd(nil); err != nil { // nothing reads it, but QEMU wants it to be there
			return err
		}
	}
	err := m.begin(pending{Op: opResume, Memory: r.id, Next: m.Disk})
	if err == nil {
		r.launch.ready = r.load
		err = m.startOnPort(ctx, r.launch)
	}
	if err == nil {
		err = m.d.fault("resume:continued")
	}
	switch {
	case err == nil || r.ran:
		return errors.Join(err, m.finish())
	case m.Pending != nil:
		return errors.Join(err, m.abandon())
	}
	return err
}

// resumption is the loading of saved memory into a QEMU that waits for it.
type resumption struct {
	m          *machine
	launch     launch
	id         string
	saved      savedMemory
	ram, state *os.File
	ran        bool // the guest may have gone on: the memory is not what it is any more
}

func (r *resumption) close() {
	for _, f := range []*os.File{r.ram, r.state} {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (r *resumption) load(ctx context.Context) error {
	p, err := findProcess(ctx, r.m.dir)
	if err != nil {
		return err
	}
	q, err := openSession(ctx, r.m.dir)
	if err != nil {
		return err
	}
	defer q.close()
	if q.version != r.saved.QEMU {
		return &giveUp{fmt.Sprintf("it was saved by QEMU %s, and this is %s", r.saved.QEMU, q.version)}
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"resume:started", func() error { return r.fill(ctx, p.pid) }},
		{"resume:filled", func() error { return r.loadState(ctx, q) }},
		{"resume:loaded", func() error {
			next := r.m.Disk.withMemory(r.m.Disk.Active, "")
			return r.m.begin(pending{Op: opContinue, Memory: r.id, Next: next})
		}},
	}
	for _, step := range steps {
		if err := r.m.d.fault(step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	err = q.do(context.WithoutCancel(ctx), "cont", nil, nil)
	var refused *qmpError
	r.ran = err == nil || !errors.As(err, &refused)
	return err
}

func (r *resumption) fill(ctx context.Context, pid int) error {
	guest, err := openGuestRAM(pid, r.saved.RAM)
	if err != nil {
		return err
	}
	defer guest.Close()
	return matchRAM(ctx, r.ram, guest, r.saved.RAM)
}

func (r *resumption) loadState(ctx context.Context, q *session) error {
	err := q.loadState(ctx, r.state)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// QEMU may answer, or end with a word in its log.
	log, _ := os.ReadFile(filepath.Join(r.m.dir, logFile))
	if errors.Is(err, errRefusedState) || bytes.Contains(log, []byte("load of migration failed")) {
		return &giveUp{"QEMU refuses it: " + lastLine(log)}
	}
	return err
}

// recoverResume ends a QEMU that was being filled; its memory is still all there.
func (m *machine) recoverResume(ctx context.Context) error {
	p, err := findProcess(ctx, m.dir)
	if err != nil {
		return err
	}
	if p.pid != 0 {
		ctx, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		if err := m.d.powerOff(ctx, m.Name, p.pid); err != nil {
			return err
		}
	}
	return m.abandon()
}

// recoverContinue makes a machine go on that was about to, or did; if it has ended since, it boots the next time.
func (m *machine) recoverContinue(ctx context.Context) error {
	if err := m.goOn(ctx); err != nil {
		return err
	}
	return m.finish()
}
