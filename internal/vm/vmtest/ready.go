package vmtest

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/internal/vm"
)

// Size is what tests on a real guest make their machines of, so that one template serves them all. Its disk is a Linux
// guest's usual one.
var Size = vm.Spec{CPU: 2, MemoryMiB: 1024, DiskGiB: 20}

// Ready makes what new machines like s start from: the image, and the template where the driver has such a thing. Both stay
// in the driver's cache. What a test does with a guest that runs need not wait for a boot.
func Ready(ctx context.Context, d vm.Driver, s vm.Spec) error {
	if err := d.EnsureImage(ctx, s.Image, nil); err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	if t, ok := d.(vm.Templater); ok {
		if err := t.EnsureTemplate(ctx, s, nil); err != nil {
			return fmt.Errorf("making the template: %w", err)
		}
	}
	return nil
}
