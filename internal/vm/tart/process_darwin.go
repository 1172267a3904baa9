package tart

import "golang.org/x/sys/unix"

// processArgs is a process's argument vector. Unlike the output of ps it tells arguments with spaces apart.
func processArgs(pid int) ([]string, error) {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return nil, err
	}
	return parseProcArgs(data)
}

// processUID is the user a process runs as.
func processUID(pid int) (int, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, err
	}
	return int(info.Eproc.Ucred.Uid), nil
}

// hostVersion is the release of macOS, as "15.3.1".
func hostVersion() string {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return ""
	}
	return version
}
