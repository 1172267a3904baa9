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
	id := m.Disk.Layers[m.Disk.Active].Memory
	saved, err := m.readMemory(id)
	if err != nil {
		return &giveUp{"what was saved is damaged: " + err.Error()}
	}
	kvm := m.d.accel.kvm && !m.NoKVM
	s := launch{record: m.record, kvm: kvm, incoming: true}
	if reason := m.unusable(saved, s); reason != "" {
		return &giveUp{reason}
	}
	ram, err := os.Open(m.memoryPath(id, ramFile))
	if err != nil {
		return &giveUp{"what was saved is damaged: " + err.Error()}
	}
	defer ram.Close()
	if info, err := ram.Stat(); err != nil || info.Size() != saved.RAM {
		return &giveUp{"what was saved is damaged"}
	}
	state, err := os.Open(m.memoryPath(id, stateFile))
	if err != nil {
		return &giveUp{"what was saved is damaged: " + err.Error()}
	}
	defer state.Close()
	if _, err := os.Lstat(filepath.Join(m.dir, bootInitrd)); err != nil {
		if err := m.writeInitrd(nil); err != nil { // nothing reads it, but QEMU wants it to be there
			return err
		}
	}
	p.Report(vm.Phase{Name: "resuming the machine"})
	r := &resumption{m: m, id: id, saved: saved, ram: ram, state: state}
	err = m.begin(pending{Op: opResume, Memory: id, Next: m.Disk})
	if err == nil {
		s.ready = r.load
		err = m.startOnPort(ctx, s)
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
	id         string
	saved      savedMemory
	ram, state *os.File
	ran        bool // the guest may have gone on: the memory is not what it is any more
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
