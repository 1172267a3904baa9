package shell

// linux has no loop of its own: the tray is a D-Bus service, dialogs are processes that end with their context.
type linux struct{}

func newSystem() system { return linux{} }

func (linux) prepare(h hooks) error {
	h.ready()
	return nil
}

func (linux) release(done func()) { done() }
