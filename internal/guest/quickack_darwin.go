package guest

import "net"

// quickAck returns nil: macOS has nothing to acknowledge one connection's data with at once.
func quickAck(net.Conn) func() { return nil }
