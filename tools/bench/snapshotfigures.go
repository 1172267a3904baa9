package main

import (
	"fmt"
	"strings"
	"time"
)

// The targets of snapshots.
const (
	// promptRatio bounds a resumed guest's time to a prompt, as a part of a cold boot's.
	promptRatio = 0.35
	// createTarget bounds a snapshot of the disk alone, in seconds.
	createTarget = 0.5
	// diskRatio bounds what a snapshot costs with one disk, as a part of what it costs with another. Cost that follows a
	// disk's size would be several times as much; what is below this is the machine's mood.
	diskRatio = 1.5
	// previewTarget bounds what a rollback would undo being told, in seconds.
	previewTarget = 1
)

// pauseTargets bound a pause by how many MiB of memory are in use, in seconds.
var pauseTargets = map[int]float64{littleMemory: 0.5, muchMemory: 1.5}

// What figures are put beside.
const (
	peerBoot    = "CALMenu start, cold"
	peerSave    = "QEMU savevm"
	peerLoad    = "QEMU loadvm"
	peerCopy    = "cp --sparse of the disk"
	peerImg     = "qemu-img snapshot -c"
	peerImgBoot = "qemu-img snapshot -a, boot"
	peerFind    = "find over ssh"
)

// snapshotResults is all that was measured, in seconds and MiB. What is missing could not be.
type snapshotResults struct {
	accelerator string
	boot        prompts // cold
	stopped     []float64
	warm, cold  kindResults
	making      []float64 // of a template, once
	template    prompts
	pauses      []*pause
	busy        *pause
	saved       []*saved
	copied      []float64
	copySize    []float64
	qemuImg     []float64
	qemuImgBoot []float64
	preview     []float64
	find        []float64
	disks       []*diskCost
}

// prompts are times to a prompt, by ssh after the verb, and to the first command over SSH, by the journal.
type prompts struct{ prompt, first []float64 }

func (p *prompts) add(prompt, first float64) {
	p.prompt, p.first = append(p.prompt, prompt), append(p.first, first)
}

// kindResults is what snapshots of one kind cost.
type kindResults struct {
	create, size []float64
	prompts
}

func (k *kindResults) add(t taken, prompt, first float64) {
	k.create, k.size = append(k.create, t.seconds), append(k.size, mib(t.size))
	k.prompts.add(prompt, first)
}

func (r *snapshotResults) kind(name string) *kindResults {
	if name == warm {
		return &r.warm
	}
	return &r.cold
}

// pause is how long warm snapshots stopped a guest.
type pause struct {
	target, used, changing     int // MiB in use: to be, and before the first, and how many of them change all the time
	stood, mood, created, size []float64
}

func (p *pause) String() string {
	if p.changing > 0 {
		return fmt.Sprintf("%d MiB in use, %d of it changing", p.target, p.changing)
	}
	return fmt.Sprintf("%d MiB in use", p.target)
}

func (p *pause) add(stood, mood time.Duration, created float64, size int64) {
	p.stood, p.mood = append(p.stood, stood.Seconds()), append(p.mood, mood.Seconds())
	p.created, p.size = append(p.created, created), append(p.size, mib(size))
}

// saved is what QEMU's own snapshots with memory cost.
type saved struct {
	target                    int // MiB in use
	stood, save, load, growth []float64
}

func (s *saved) add(stood, save, load, growth float64) {
	s.stood, s.save = append(s.stood, stood), append(s.save, save)
	s.load, s.growth = append(s.load, load), append(s.growth, growth)
}

// disk is one of those that are compared: its size in GiB, and how many MiB of data are written on it.
type disk struct{ gib, data int }

func (d disk) String() string {
	if d.data > 0 {
		return fmt.Sprintf("%d GiB disk, %d MiB written", d.gib, d.data)
	}
	return fmt.Sprintf("%d GiB disk", d.gib)
}

// diskCost is what snapshots cost with a disk.
type diskCost struct {
	disk             disk
	create, rollback []float64
}

// figures are those of which there are values.
func (r *snapshotResults) figures() []Figure {
	var all []Figure
	add := func(values []float64, f Figure, notes ...string) {
		if len(values) == 0 {
			return
		}
		f.Value = median(values)
		f.Note = strings.Join(append([]string{spread(values)}, notes...), "; ")
		all = append(all, f)
	}
	// beside adds a figure with its peer; without values of the peer there is neither.
	beside := func(values []float64, f Figure, peer string, others []float64, notes ...string) {
		if len(others) == 0 {
			return
		}
		f.Value = median(values)
		add(values, f.against(peer, median(others)), append([]string{"peer " + spread(others)}, notes...)...)
	}
	second := func(name string) Figure { return Figure{Name: name, Unit: "s"} }
	within := func(f Figure, most float64) Figure { f.Target = &Target{Max: most}; return f }
	ratio := func(f Figure, most float64) Figure { f.Target = &Target{Max: most, OfRatio: true}; return f }

	const prompt = "the verb, then a command by ssh with CALMenu's ssh_config"
	add(r.boot.prompt, second("cold boot to a prompt"), "CALMenu start; "+prompt, r.accelerator)
	const first = "from the verb's begin to its first command over SSH, by the journal; setup and isolation checks follow"
	for _, of := range []struct {
		name   string
		got    prompts
		target float64
	}{
		{"rollback, warm", r.warm.prompts, promptRatio},
		{"new from a template", r.template, promptRatio},
		{"rollback, cold", r.cold.prompts, 0},
	} {
		for _, end := range []struct {
			name, note    string
			values, other []float64
		}{
			{", to a prompt", prompt, of.got.prompt, r.boot.prompt},
			{", to SSH", first, of.got.first, r.boot.first},
		} {
			f := second(of.name + end.name)
			if of.target > 0 {
				f = ratio(f, of.target)
			}
			beside(end.values, f, peerBoot, end.other, end.note, "in turns")
		}
	}
	add(r.making, second("making a template"), "once for each image and size; it boots a guest")
	little := r.savedWith(littleMemory)
	beside(r.warm.first, second("rollback, warm, to SSH, beside loadvm"), peerLoad, little.load,
		"the peer keeps no undo and stays in its process")
	beside(r.cold.first, second("rollback, cold, to SSH, beside qemu-img"), peerImgBoot, r.qemuImgBoot,
		"the peer's guest was shut down before, and keeps no undo")
	for _, p := range r.pauses {
		s := r.savedWith(p.target)
		f := second("pause, warm, " + p.String())
		note := fmt.Sprintf("%d MiB before the first; %s s without a snapshot", p.used, number(median(p.mood)))
		beside(p.stood, within(f, pauseTargets[p.target]), peerSave, s.stood, note)
		if len(s.stood) == 0 {
			add(p.stood, within(f, pauseTargets[p.target]), note)
		}
		beside(p.created, second("create, warm, "+p.String()), peerSave, s.save,
			"the guest runs meanwhile, but for the pause")
		beside(p.size, Figure{Name: "size, warm, " + p.String(), Unit: "MiB"}, peerSave, s.growth)
	}
	if r.busy != nil {
		add(r.busy.stood, second("pause, warm, "+r.busy.String()),
			fmt.Sprintf("every page all the time; %s s without a snapshot", number(median(r.busy.mood))))
	}
	const kept = "over the connection of the process that start left with the VM"
	add(r.warm.create, second("create, warm"), kept)
	beside(r.cold.create, within(second("create, cold"), createTarget), peerCopy, r.copied,
		"VM running: freezing the guest is in it, "+kept+"; the peer's was shut down")
	beside(r.stopped, within(second("create, cold, VM stopped"), createTarget), peerImg, r.qemuImg)
	beside(r.cold.size, Figure{Name: "size, cold", Unit: "MiB"}, peerCopy, r.copySize,
		"when it is taken: it grows with what the guest changes afterwards")
	beside(r.preview, within(second(fmt.Sprintf("preview, %d files changed", previewed)), previewTarget), peerFind, r.find,
		"the whole verb, "+kept, "in turns")
	if len(r.disks) > 0 {
		least := r.disks[0]
		for _, d := range r.disks[1:] {
			beside(d.create, ratio(second("create, cold, "+d.disk.String()), diskRatio), least.disk.String(), least.create,
				"in turns")
			beside(d.rollback, ratio(second("rollback, warm, "+d.disk.String()), diskRatio), least.disk.String(),
				least.rollback, "in turns")
		}
	}
	return all
}

// savedWith returns what QEMU's own snapshots cost with so much memory in use.
func (r *snapshotResults) savedWith(target int) *saved {
	for _, s := range r.saved {
		if s.target == target {
			return s
		}
	}
	return &saved{}
}
