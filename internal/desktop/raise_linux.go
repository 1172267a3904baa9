package desktop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"
)

const (
	// raiseTime is how long the window manager may take to bring a window to the front.
	raiseTime = 2 * time.Second
	// pager says to the window manager that the person asked for it (EWMH 1.5, source indication): requests of programs
	// themselves are often denied.
	pager = 2
	// maxProperty bounds what is read of a property of somebody else's window, in 32-bit words.
	maxProperty = 16 << 10
)

func init() { xgb.Logger = log.New(io.Discard, "", 0) } // it would write to the person's terminal

// Raise asks the window manager by EWMH (_NET_ACTIVE_WINDOW). Under Wayland no program may raise another's window; one of
// XWayland's may be found all the same.
func (d *linux) Raise(ctx context.Context, w Window) (bool, error) {
	ctx, done := d.alive(ctx)
	defer done()
	if err := context.Cause(ctx); err != nil {
		return false, fmt.Errorf("raising a window: %w", err)
	}
	display := d.env("DISPLAY")
	if display == "" {
		return false, nil
	}
	type answer struct {
		raised bool
		err    error
	}
	answered := make(chan answer, 1) // an X server that stands still is not waited for
	go func() {
		raised, err := raise(ctx, display, w)
		answered <- answer{raised, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return false, fmt.Errorf("raising a window: %w", a.err)
		}
		return a.raised, nil
	case <-ctx.Done():
		return false, fmt.Errorf("raising a window: %w", context.Cause(ctx))
	}
}

func raise(ctx context.Context, display string, w Window) (bool, error) {
	conn, err := xgb.NewConnDisplay(display)
	if err != nil {
		return false, fmt.Errorf("connecting to the X server: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	x := &xServer{conn: conn, root: xproto.Setup(conn).DefaultScreen(conn).Root, atoms: map[string]xproto.Atom{}}
	windows, err := x.windows()
	if err != nil {
		return false, err
	}
	id, found := pick(windows, ancestors(w.PID, parentOf), w.Title)
	if !found {
		return false, nil
	}
	return x.activate(ctx, xproto.Window(id))
}

// parentOf returns the parent of a process by proc(5); the name in parentheses may hold anything.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return parent
}

// xServer is one connection to an X server.
type xServer struct {
	conn  *xgb.Conn
	root  xproto.Window
	atoms map[string]xproto.Atom
}

func (x *xServer) atom(name string) (xproto.Atom, error) {
	if a, known := x.atoms[name]; known {
		return a, nil
	}
	r, err := xproto.InternAtom(x.conn, false, uint16(len(name)), name).Reply()
	if err != nil {
		return 0, fmt.Errorf("asking the X server for %s: %w", name, err)
	}
	x.atoms[name] = r.Atom
	return r.Atom, nil
}

// property returns a property's bytes; none if the window lacks it, or is gone.
func (x *xServer) property(win xproto.Window, name string) ([]byte, error) {
	a, err := x.atom(name)
	if err != nil {
		return nil, err
	}
	r, err := xproto.GetProperty(x.conn, false, win, a, xproto.GetPropertyTypeAny, 0, maxProperty).Reply()
	var gone xproto.WindowError
	if errors.As(err, &gone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return r.Value, nil
}

// numbers returns a property's 32-bit values. xgb speaks little-endian to every server.
func (x *xServer) numbers(win xproto.Window, name string) ([]uint32, error) {
	b, err := x.property(win, name)
	var all []uint32
	for ; len(b) >= 4; b = b[4:] {
		all = append(all, binary.LittleEndian.Uint32(b))
	}
	return all, err
}

// windows lists the windows the window manager manages, bottom first.
func (x *xServer) windows() ([]shown, error) {
	ids, err := x.numbers(x.root, "_NET_CLIENT_LIST_STACKING")
	if err != nil {
		return nil, err
	}
	all := make([]shown, 0, len(ids))
	for _, id := range ids {
		pid, err := x.numbers(xproto.Window(id), "_NET_WM_PID")
		if err != nil {
			return nil, err
		}
		title, err := x.property(xproto.Window(id), "_NET_WM_NAME")
		if err == nil && len(title) == 0 {
			title, err = x.property(xproto.Window(id), "WM_NAME")
		}
		if err != nil {
			return nil, err
		}
		s := shown{id: id, title: string(title)}
		if len(pid) > 0 {
			s.pid = int(pid[0])
		}
		all = append(all, s)
	}
	return all, nil
}

// activate asks for a window to be brought to the front and tells whether it was, which takes the window manager a moment.
func (x *xServer) activate(ctx context.Context, win xproto.Window) (bool, error) {
	name, err := x.atom("_NET_ACTIVE_WINDOW")
	if err != nil {
		return false, err
	}
	ask := xproto.ClientMessageEvent{
		Format: 32, Window: win, Type: name,
		Data: xproto.ClientMessageDataUnionData32New([]uint32{pager, xproto.TimeCurrentTime, 0, 0, 0}),
	}
	const to = xproto.EventMaskSubstructureRedirect | xproto.EventMaskSubstructureNotify
	if err := xproto.SendEventChecked(x.conn, false, x.root, to, string(ask.Bytes())).Check(); err != nil {
		return false, fmt.Errorf("asking the window manager: %w", err)
	}
	limit := time.NewTimer(raiseTime)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		active, err := x.numbers(x.root, "_NET_ACTIVE_WINDOW")
		if err != nil || len(active) > 0 && xproto.Window(active[0]) == win {
			return err == nil, err
		}
		select {
		case <-look.C:
		case <-limit.C:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
