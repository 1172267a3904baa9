package sync

// makers are the ways a file system has files made.
var makers = []struct {
	name string
	make func(*maker, *small) error
}{{"named", (*maker).make}}
