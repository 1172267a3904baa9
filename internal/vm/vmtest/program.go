package vmtest

import (
	"os"
	"syscall"
)

// WriteProgram writes a program that can be run at once. While a file is open for writing the kernel runs it for nobody
// ("text file busy"), and a process that is forked meanwhile, by whatever else the test does, has it open until it runs
// its own program.
func WriteProgram(path, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), 0o700)
}
