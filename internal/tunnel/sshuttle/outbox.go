package sshuttle

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

const (
	maxFrame = 32 << 10 // bytes of data in one frame to the client

	// The client acknowledges what it has read by answering pings, so what is on its way to it can be bounded: by a window
	// that grows while answers come soon and shrinks when they take long, because everything else waits behind it.
	minWindow = 64 << 10
	maxWindow = 4 << 20
	soon      = 20 * time.Millisecond
	late      = 100 * time.Millisecond

	maxQueued  = 256 << 10 // bytes of data that wait to be written
	maxUrgent  = 1 << 20   // the same with frames that do not wait
	answerTime = 10 * time.Second
	pingPrefix = "calm"
)

// outbox is what goes to the client, in one order, written by one goroutine at a time. Data waits for room; other frames do
// not.
type outbox struct {
	to    io.Writer
	onEnd func() // ends a write that waits for the client

	mu      sync.Mutex // guards all below
	writing bool
	room    sync.Cond // there is room for data, or the end
	work    sync.Cond // there is something to write, or the end
	queue   []byte
	err     error // why it has ended
	sent    int64 // bytes of data queued since the beginning
	acked   int64 // of which the client has read these
	window  int64
	pings   []ping // not answered yet
	pingNum int
}

type ping struct {
	num  int
	sent int64 // of data before it
	at   time.Time
}

func newOutbox(to io.Writer, onEnd func()) *outbox {
	o := &outbox{to: to, onEnd: onEnd, window: minWindow}
	o.room.L, o.work.L = &o.mu, &o.mu
	return o
}

// run writes until an error or the end.
func (o *outbox) run() {
	var spare []byte
	for {
		o.mu.Lock()
		for (len(o.queue) == 0 || o.writing) && o.err == nil {
			o.work.Wait()
		}
		if o.err != nil {
			o.mu.Unlock()
			return
		}
		batch := o.queue
		o.queue = spare[:0]
		o.writing = true
		o.room.Broadcast()
		o.mu.Unlock()
		if !o.write(batch) {
			return
		}
		spare = batch
	}
}

// write writes for the goroutine that has set writing. It returns false at the end.
func (o *outbox) write(frames []byte) bool {
	_, err := o.to.Write(frames)
	o.mu.Lock()
	o.writing = false
	if len(o.queue) > 0 {
		o.work.Signal()
	}
	o.mu.Unlock()
	if err != nil {
		o.end(err)
	}
	return err == nil
}

// answer is send for what the client waits for: where nothing is to be written before it, it is written at once, which saves
// the client the time until another goroutine runs. It is for who reads from the client, of which nothing more is read
// meanwhile; one that takes nothing for answerTime does not read.
func (o *outbox) answer(c command, data []byte) {
	o.mu.Lock()
	now := len(o.queue) == 0 && !o.writing && o.err == nil
	o.writing = o.writing || now
	o.mu.Unlock()
	if !now {
		o.send(0, c, data, true)
		return
	}
	late := time.AfterFunc(answerTime, func() { o.end(errFull) })
	o.write(append(appendHeader(nil, 0, c, len(data)), data...))
	late.Stop()
}

// end has whoever waits give up.
func (o *outbox) end(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.room.Broadcast()
	o.work.Broadcast()
	o.mu.Unlock()
	o.onEnd()
}

var errFull = errors.New("the client does not read")

// send queues a frame that does not wait. If there is no room for it, the client does not read: the end, unless the frame
// can be done without.
func (o *outbox) send(channel uint16, c command, data []byte, needed bool) {
	o.mu.Lock()
	full := len(o.queue)+headerLength+len(data) > maxUrgent
	if !full && o.err == nil {
		o.queue = append(appendHeader(o.queue, channel, c, len(data)), data...)
		o.work.Signal()
	}
	o.mu.Unlock()
	if full && needed {
		o.end(errFull)
	}
}

// sendData queues data, waiting until the client has read enough of what came before. stop is asked, with the outbox
// locked, whether there is still somebody for it; wake must be called when that changes.
func (o *outbox) sendData(channel uint16, data []byte, stop func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		part := data[:min(len(data), maxFrame)]
		for {
			if o.err != nil {
				return o.err
			}
			if err := stop(); err != nil {
				return err
			}
			if o.sent-o.acked < o.window && len(o.queue) < maxQueued {
				break
			}
			o.room.Wait()
		}
		o.queue = append(appendHeader(o.queue, channel, cmdTCPData, len(part)), part...)
		o.sent += int64(len(part))
		data = data[len(part):]
		o.pingMaybe()
		o.work.Signal()
	}
	return nil
}

// pingMaybe asks for an acknowledgement a few times per window.
func (o *outbox) pingMaybe() {
	asked := o.acked
	if len(o.pings) > 0 {
		asked = o.pings[len(o.pings)-1].sent
	}
	if o.sent-asked < o.window/4 {
		return
	}
	o.pingNum++
	data := pingPrefix + strconv.Itoa(o.pingNum)
	o.pings = append(o.pings, ping{o.pingNum, o.sent, time.Now()})
	o.queue = append(appendHeader(o.queue, 0, cmdPing, len(data)), data...)
}

// pong takes the client's answer to a ping.
func (o *outbox) pong(data []byte) {
	if len(data) <= len(pingPrefix) || string(data[:len(pingPrefix)]) != pingPrefix {
		return
	}
	num, err := strconv.Atoi(string(data[len(pingPrefix):]))
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pings) > 0 && o.pings[0].num <= num {
		p := o.pings[0]
		o.pings = o.pings[1:]
		o.acked = p.sent
		switch took := time.Since(p.at); {
		case took < soon:
			o.window = min(o.window+minWindow, maxWindow)
		case took > late:
			o.window = max(o.window/2, minWindow)
		}
	}
	o.room.Broadcast()
}

// failed is why it has ended, if it has.
func (o *outbox) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *outbox) wake() {
	o.mu.Lock()
	o.room.Broadcast()
	o.mu.Unlock()
}
