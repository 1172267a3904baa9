package guest

import (
	"testing"

	"golang.org/x/crypto/ssh"
)

// saying notes what a client says by itself.
type saying struct {
	ssh.Conn
	said []string
}

func (s *saying) SendRequest(name string, wantReply bool, _ []byte) (bool, []byte, error) {
	if !wantReply {
		s.said = append(s.said, name)
	}
	return false, nil, nil
}

// TestAcknowledge says something when the host keys come, once however often they do, and hands on all that comes.
func TestAcknowledge(t *testing.T) {
	reqs := make(chan *ssh.Request)
	c := &saying{}
	on := acknowledge(c, reqs)
	names := []string{"other", "hostkeys-00@openssh.com", "hostkeys-00@openssh.com", "last"}
	go func() {
		defer close(reqs)
		for _, name := range names {
			reqs <- &ssh.Request{Type: name}
		}
	}()
	i := 0
	for r := range on {
		if r.Type != names[i] {
			t.Error(r.Type)
		}
		i++
	}
	if i != len(names) || len(c.said) != 1 {
		t.Error(i, c.said)
	}
}
