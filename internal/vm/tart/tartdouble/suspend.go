package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const savedState = "state.vzvmsave"

// restore empties the guest's memory, as a boot does, or fills it with what was saved. A saved memory is forgotten only
// after it was restored, and before the machine goes on from it.
func (r *running) restore() error {
	memory := r.machine.file(guestMemory)
	if err := errors.Join(os.RemoveAll(memory), os.MkdirAll(memory, 0o700)); err != nil {
		return err
	}
	if !r.machine.suspended() {
		return nil
	}
	fmt.Println("restoring VM state from a snapshot...")
	if r.script.RestoreError != "" {
		return failA(1, "%s", r.script.RestoreError)
	}
	data, err := os.ReadFile(r.machine.file(savedState))
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if err := json.Unmarshal(data, &files); err != nil {
		return failA(1, `Error Domain=VZErrorDomain Code=12 "The virtual machine failed to restore."`)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(memory, name), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(r.machine.file(savedState)); err != nil {
		return err
	}
	fmt.Println("resuming VM...")
	if r.script.ResumeError != "" {
		return failA(1, "%s", r.script.ResumeError)
	}
	return nil
}

// suspend saves the machine's memory and ends it, or kills it in the attempt (rows 56 and 57).
func (r *running) suspend() error {
	fmt.Println("pausing VM to take a snapshot...")
	r.guest.Close()
	fmt.Println("creating a snapshot...")
	reason := r.script.SuspendError
	if !r.suspendable || r.shared {
		reason = "Invalid virtual machine configuration. Unsupported directory sharing device in configuration."
	} else if err := r.save(); err != nil {
		return err
	}
	if reason != "" {
		fmt.Println("Failed to suspend the VM: " + reason)
		return &failure{code: 1}
	}
	fmt.Println("snapshot created successfully! shutting down the VM...")
	return nil
}

// save writes the files that are the guest's memory; half of it where the script says that this fails.
func (r *running) save() error {
	entries, err := os.ReadDir(r.machine.file(guestMemory))
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		content, err := os.ReadFile(r.machine.file(filepath.Join(guestMemory, e.Name())))
		if err != nil {
			return err
		}
		files[e.Name()] = content
	}
	data, err := json.Marshal(files)
	if err != nil {
		return err
	}
	if r.script.SuspendError != "" {
		data = data[:len(data)/2]
	}
	return os.WriteFile(r.machine.file(savedState), data, 0o600)
}
