package sync

// tarTransport brings an outbox in by find, tar and inotifywait of the guest: what runs on any guest that has them.
type tarTransport struct {
	r Runner
	o Options
}

// OverTar is the transport by programs that the guest has anyway: GNU find and tar; without inotifywait it is looked at
// every two seconds. It is the fallback of those that need more.
func OverTar(r Runner, o Options) (Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &tarTransport{r: r, o: o}, nil
}

func (t *tarTransport) Close() error { return nil }
