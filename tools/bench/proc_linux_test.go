package main

import (
	"fmt"
	"os"
	"testing"
)

func TestProcessorTime(t *testing.T) {
	const tail = " S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 100 1 1"
	for _, stat := range []string{"1 (CALMenu)" + tail, "1 (a) b (c))" + tail} {
		if got, err := processorTime(stat); err != nil || got != 3 {
			t.Errorf("%q: %v s, %v, want 3", stat, got, err)
		}
	}
	for _, stat := range []string{"", "1 (x)", "1 (x) S 1", "no parentheses at all"} {
		if got, err := processorTime(stat); err == nil {
			t.Errorf("%q: %v s", stat, got)
		}
	}
}

func TestResidentMB(t *testing.T) {
	if got, err := residentMB("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"); err != nil || got != 2 {
		t.Errorf("%v MB, %v, want 2", got, err)
	}
	for _, status := range []string{"", "VmRSS:\tmuch\n"} {
		if got, err := residentMB(status); err == nil {
			t.Errorf("%q: %v MB", status, got)
		}
	}
}

// The parsers read what this kernel writes.
func TestOwnProcess(t *testing.T) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := processorTime(string(stat)); err != nil {
		t.Error(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if mb, err := residentMB(string(status)); err != nil || mb < 1 {
		t.Errorf("%v MB, %v", mb, err)
	}
}
