package desktop

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gen2brain/beeep"
	"github.com/godbus/dbus/v5"

	"github.com/calmenu/calmenu/internal/desktop/sessionbus"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/statusicon"
)

const (
	appName    = "CALMenu"
	notifyName = "org.freedesktop.Notifications"
	notifyPath = dbus.ObjectPath("/org/freedesktop/Notifications")
	iconPx     = 64
)

// notifier posts notifications by the Desktop Notifications Specification 1.2 and calls back when they are clicked.
type notifier struct {
	over     context.Context
	env      func(string) string
	handlers handlers[uint32]

	mu   sync.Mutex // guards conn
	conn *dbus.Conn // nil until the first notification, and after the bus went away
}

func newNotifier(over context.Context, env func(string) string) *notifier {
	return &notifier{over: over, env: env}
}

// post shows n, with clicks if the server has them; without a server, by whatever beeep finds.
func (s *notifier) post(ctx context.Context, n Notification) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	err := s.postOnBus(ctx, n)
	if err == nil || ctx.Err() != nil {
		return err
	}
	var icon bytes.Buffer
	if err := png.Encode(&icon, statusicon.AppIcon(iconPx)); err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	beeepName.Do(func() { beeep.AppName = appName })
	if fallback := beeep.Notify(n.Title, n.Body, icon.Bytes()); fallback != nil {
		return hint.Wrap(fmt.Errorf("posting a notification: %w; %w", err, fallback),
			"Start a notification daemon, for example: apt install dunst")
	}
	return nil
}

var beeepName sync.Once

func (s *notifier) postOnBus(ctx context.Context, n Notification) error {
	conn, err := s.connect()
	if err != nil {
		return err
	}
	server := conn.Object(notifyName, notifyPath)
	var can []string
	if err := server.CallWithContext(ctx, notifyName+".GetCapabilities", 0).Store(&can); err != nil {
		return fmt.Errorf("asking the notification server what it can do: %w", err)
	}
	body := n.Body
	if slices.Contains(can, "body-markup") {
		body = escapeMarkup(body)
	}
	var keys []string
	calls := map[string]func(){}
	if slices.Contains(can, "actions") {
		calls = n.calls()
		if n.OnClick != nil {
			keys = append(keys, clicked, "Open")
		}
		for i, a := range n.Actions {
			keys = append(keys, strconv.Itoa(i), a.Label)
		}
	}
	hints := map[string]dbus.Variant{
		"image-data":    dbus.MakeVariant(iconData()),
		"desktop-entry": dbus.MakeVariant("calmenu"),
	}
	s.handlers.mu.Lock()
	defer s.handlers.mu.Unlock()
	var id uint32
	err = server.CallWithContext(ctx, notifyName+".Notify", 0,
		appName, uint32(0), "", n.Title, body, keys, hints, expiry(n.Until)).Store(&id)
	if err != nil {
		return fmt.Errorf("posting a notification: %w", err)
	}
	if len(calls) > 0 {
		s.handlers.keep(id, calls)
	}
	if n.Until != nil {
		context.AfterFunc(n.Until, func() {
			s.handlers.take(id, "")
			server.Go(notifyName+".CloseNotification", dbus.FlagNoReplyExpected, nil, id) // it may have gone already
		})
	}
	return nil
}

// expiry is when the server is to take a notification away by itself, also if this program has ended: after so many
// milliseconds, 0 for never, or -1 for when the server likes.
func expiry(until context.Context) int32 {
	if until == nil {
		return -1
	}
	deadline, set := until.Deadline()
	if !set {
		return 0
	}
	return int32(min(max(time.Until(deadline).Milliseconds(), 1), math.MaxInt32))
}

// connect returns the connection to the bus, made and listened to at the first need.
func (s *notifier) connect() (*dbus.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.Connected() {
		return s.conn, nil
	}
	conn, err := sessionbus.Connect(s.over, s.env)
	if err != nil {
		return nil, err
	}
	err = conn.AddMatchSignal(dbus.WithMatchInterface(notifyName), dbus.WithMatchObjectPath(notifyPath))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listening for clicks on notifications: %w", err)
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals) // closed with the connection
	go s.listen(signals)
	s.conn = conn
	return conn, nil
}

// listen calls back until the connection is closed.
func (s *notifier) listen(signals <-chan *dbus.Signal) {
	for sig := range signals {
		var id, reason uint32
		var key string
		switch sig.Name {
		case notifyName + ".ActionInvoked":
			if dbus.Store(sig.Body, &id, &key) != nil {
				continue
			}
			if f := s.handlers.take(id, key); f != nil && s.over.Err() == nil {
				go f()
			}
		case notifyName + ".NotificationClosed":
			if dbus.Store(sig.Body, &id, &reason) == nil {
				s.handlers.take(id, "")
			}
		}
	}
}

// markup escapes text for the body of a notification and for dialogs, both of which read markup.
var markup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escapeMarkup(s string) string { return markup.Replace(s) }

// pixels is the image-data hint: width, height, row stride, alpha, bits per sample, channels, data.
type pixels struct {
	Width, Height, Stride int32
	Alpha                 bool
	Bits, Channels        int32
	Data                  []byte
}

var iconData = sync.OnceValue(func() pixels {
	img := image.NewNRGBA(image.Rect(0, 0, iconPx, iconPx))
	draw.Draw(img, img.Bounds(), statusicon.AppIcon(iconPx), image.Point{}, draw.Src)
	return pixels{iconPx, iconPx, int32(img.Stride), true, 8, 4, img.Pix}
})

// NotificationsAllowed says nothing on Linux: notifications need nobody's leave.
func NotificationsAllowed(context.Context) (Permission, bool) { return Permission{}, false }
