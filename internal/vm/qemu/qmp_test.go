package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

const qmpGreeting = `{"QMP": {"version": {}, "capabilities": []}}`

// fakeMonitor answers each line it is sent by the next of its answers, after greeting.
func fakeMonitor(t *testing.T, greeting string, answers ...string) (client net.Conn, sent <-chan string) {
	t.Helper()
	client, server := net.Pipe()
	lines := make(chan string, len(answers)+1)
	t.Cleanup(func() { client.Close(); server.Close() })
	go func() {
		defer server.Close()
		defer close(lines)
		if _, err := fmt.Fprintln(server, greeting); err != nil {
			return
		}
		in := bufio.NewScanner(server)
		for _, a := range answers {
			if !in.Scan() {
				return
			}
			lines <- in.Text()
			if _, err := fmt.Fprint(server, a); err != nil {
				return
			}
		}
	}()
	return client, lines
}

func TestQMP(t *testing.T) {
	conn, sent := fakeMonitor(t, qmpGreeting, `{"return": {}}`+"\n",
		`{"event": "STOP", "timestamp": {}}`+"\n"+`{"return": {"status": "running"}}`+"\n")
	var result struct{ Status string }
	err := talk(t.Context(), conn, "query-status", map[string]any{"a": 1}, &result)
	if err != nil || result.Status != "running" {
		t.Fatalf("%+v, %v", result, err)
	}
	<-sent
	var request map[string]any
	if err := json.Unmarshal([]byte(<-sent), &request); err != nil || request["execute"] != "query-status" ||
		request["arguments"].(map[string]any)["a"] != 1.0 {
		t.Errorf("sent %v, %v", request, err)
	}
}

func TestQMPRefusal(t *testing.T) {
	conn, _ := fakeMonitor(t, qmpGreeting, `{"return": {}}`+"\n", `{"error": {"class": "GenericError", "desc": "no such disk"}}`+"\n")
	err := talk(t.Context(), conn, "quit", nil, nil)
	var refused *qmpError
	if !errors.As(err, &refused) || refused.Desc != "no such disk" {
		t.Errorf("%v", err)
	}
}

func TestQMPNonsense(t *testing.T) {
	for name, m := range map[string][]string{
		"not QMP":   {`SSH-2.0-OpenSSH`},
		"no QMP":    {`{"hello": 1}`},
		"half":      {qmpGreeting, `{"return": {}}` + "\n", `{"ret`},
		"too much":  {qmpGreeting, `{"return": {}}` + "\n", strings.Repeat("x", qmpLimit+1) + "\n"},
		"hangs up":  {qmpGreeting},
		"wrong one": {qmpGreeting, `{"return": {}}` + "\n", `{"return": 5}` + "\n"},
	} {
		conn, _ := fakeMonitor(t, m[0], m[1:]...)
		var result struct{ Status string }
		if err := talk(t.Context(), conn, "query-status", nil, &result); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A monitor that is busy with another client does not greet: the wait ends with the context.
func TestQMPSilence(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- talk(ctx, client, "quit", nil, nil) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzQMP(f *testing.F) {
	f.Add([]byte(qmpGreeting + "\n{\"return\": {}}\n{\"return\": {}}\n"))
	f.Add([]byte(qmpGreeting + "\n{\"error\": {}}\n"))
	f.Fuzz(func(_ *testing.T, answer []byte) {
		in := bufio.NewReader(strings.NewReader(string(answer)))
		for range 10 {
			if _, err := receive(in); err != nil {
				return
			}
		}
	})
}
