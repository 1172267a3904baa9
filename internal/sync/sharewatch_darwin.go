package sync

import "context"

// Watch looks every second: telling of changes below a directory (FSEvents) takes Objective-C, and kqueue would open
// every file.
func (t *shareTransport) Watch(ctx context.Context, news func(Change)) error {
	return t.poll(ctx, news)
}
