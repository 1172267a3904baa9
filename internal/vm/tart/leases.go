package tart

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// leaseFile is where macOS's DHCP server for guests keeps its leases (section 12). Each new MAC address takes one for a
// day, of a network with room for leaseRoom.
const (
	leaseFile = "/var/db/dhcpd_leases"
	leaseRoom = 253
	leaseFew  = 20 // so few left are worth a word before it is too late
	leaseFix  = "Free this Mac's DHCP addresses with `sudo rm /var/db/dhcpd_leases`, and restart the workspace."
)

// parseLeases returns the addresses that are leased at a time. What it does not understand it passes over.
func parseLeases(data []byte, now time.Time) map[string]bool {
	taken := map[string]bool{}
	var address string
	var until int64
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "{":
			address, until = "", 0
		case "ip_address":
			address = value
		case "lease":
			if n, err := strconv.ParseInt(value, 0, 64); err == nil {
				until = n
			}
		case "}":
			if address != "" && until > now.Unix() {
				taken[address] = true
			}
		}
	}
	return taken
}

// leases is how many addresses are taken, and whether that is known.
func (d *Driver) leases() (int, bool) {
	data, err := readLimited(d.options.LeaseFile, 4<<20)
	if errors.Is(err, fs.ErrNotExist) && d.options.HostOS == "darwin" {
		return 0, true // no guest has had one yet
	}
	return len(parseLeases(data, time.Now())), err == nil
}

// noAddress says why a machine that runs has no address, as far as that can be known.
func (d *Driver) noAddress(err error) error {
	var failed *cliError
	if !errors.As(err, &failed) || !strings.HasPrefix(failed.text, "no IP address found") ||
		strings.Contains(failed.text, "is your VM running?") {
		return err
	}
	if taken, known := d.leases(); known && taken >= leaseRoom {
		return hint.Wrap(fmt.Errorf("all %d addresses of this Mac's DHCP server are taken: %w", taken, err), leaseFix)
	}
	return hint.Wrap(err, "The guest may still be booting. If it never gets an address: "+leaseFix)
}

func (d *Driver) leasesRequirement() vm.Requirement {
	r := vm.Requirement{Name: "DHCP addresses for guests", Optional: true, Hint: leaseFix}
	taken, known := d.leases()
	r.OK = !known || taken+leaseFew <= leaseRoom
	r.Detail = fmt.Sprintf("%d of about %d are taken", taken, leaseRoom)
	if !known {
		r.Detail = "how many are taken is unknown"
	}
	return r
}
