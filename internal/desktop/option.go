package desktop

// Option changes how a Desktop behaves.
type Option func(*options)

type options struct {
	terminal string
}

// WithTerminal chooses the terminal program by name or path (config key terminal.app). "" is detection.
func WithTerminal(program string) Option { return func(o *options) { o.terminal = program } }
