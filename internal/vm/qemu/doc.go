// Package qemu runs workspaces in real Debian virtual machines by QEMU: it builds the guest image from Debian's
// packages and implements vm.Driver.
//
// To boot a machine:
//
//	d := qemu.New(qemu.Options{Dir: filepath.Join(calHome, "isolation", "vms")})
//	err := d.EnsureImage(ctx, "", progress)            // once: a minute and 4 GiB of disk
//	err = d.Create(ctx, vm.Spec{Name: "demo", CPU: 2, MemoryMiB: 2048, DiskGiB: 20}, progress)
//	err = d.Start(ctx, "demo", vm.StartOptions{Files: seed}, progress)
//	conn, err := d.DialSSH(ctx, "demo")                // answers after about 6 s without KVM
//
// The seed must hold at least /etc/ssh/ssh_host_ed25519_key (0600, root) and /home/admin/.ssh/authorized_keys (0600,
// uid 1000): the image has neither. After a boot that failed, <Dir>/<name>/machine/run/serial.log has the kernel's and
// calinit's last words. A reboot inside the guest ends the machine (-no-reboot): its RAM disk is of one start.
//
// What must hold:
//   - A machine is facts on disk (<Dir>/<name>/machine) and a process; nothing is remembered. It runs when its QMP
//     socket answers; its process, port and exposure are read from the kernel.
//   - QEMU never runs as root, in a sandbox that cannot start programs, and its network is restricted (restrict=on)
//     with one forwarded port on 127.0.0.1. There is no option to loosen that.
//   - Whatever QEMU can write (layers/, run/) is hostile: tools read it with QEMU's own rights, limits and deadlines.
//   - Disk layers are written in one place only, the active one. Every change of the tree of layers is journaled in
//     machine.json first, and no step removes a layer that anything needs.
package qemu
