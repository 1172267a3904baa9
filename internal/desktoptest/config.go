//go:build linux

package desktoptest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Measures of the menus, in pixels, set by gtkCSS so that the place of an entry follows from its number.
const (
	entryHeight     = 26
	separatorHeight = 9
	panelHeight     = 30
	trayIconSize    = 22
)

// highlight is the colour of the entry under the mouse, set by gtkCSS.
var highlight = [3]uint8{0x2f, 0x6f, 0xd6}

const gtkCSS = `
* { font-family: "DejaVu Sans"; font-size: 13px; }
menu { padding: 5px 0; margin: 0; border: 1px solid #b0b0b0; border-radius: 0; background: #fbfbfb; }
menu menuitem { min-height: 20px; padding: 3px 10px; margin: 0; border: 0; color: #1c1c1c; }
menu menuitem:disabled { color: #8c8c8c; }
menu menuitem:hover { background: #2f6fd6; color: #ffffff; }
menu separator { min-height: 1px; margin: 4px 0; padding: 0; border: 0; background: #d4d4d4; }
.xfce4-panel.background { background: #22262e; color: #e8ecf2; }
.xfce4-panel button, .xfce4-panel button:hover, .xfce4-panel button:active, .xfce4-panel button:checked,
.xfce4-panel button > label { color: #e8ecf2; background: none; border: 0; box-shadow: none; text-shadow: none; }
`

const panelXML = `<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="dark-mode" type="bool" value="false"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="icon-size" type="uint" value="16"/>
      <property name="size" type="uint" value="%[1]d"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/>
        <value type="int" value="2"/>
        <value type="int" value="3"/>
        <value type="int" value="4"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="tasklist"/>
    <property name="plugin-2" type="string" value="separator">
      <property name="expand" type="bool" value="true"/>
      <property name="style" type="uint" value="0"/>
    </property>
    <property name="plugin-3" type="string" value="systray">
      <property name="icon-size" type="int" value="%[2]d"/>
      <property name="square-icons" type="bool" value="true"/>
    </property>
    <property name="plugin-4" type="string" value="clock">
      <property name="digital-layout" type="uint" value="3"/>
      <property name="digital-time-font" type="string" value="DejaVu Sans 10"/>
    </property>
  </property>
</channel>
`

const dunstRC = `[global]
    origin = top-right
    offset = 16x46
    width = 340
    height = 160
    font = DejaVu Sans 10
    frame_width = 1
    frame_color = "#3a4252"
    corner_radius = 6
    icon_position = left
    max_icon_size = 48
    min_icon_size = 48
    mouse_left_click = do_action, close_current
    mouse_right_click = close_current
    sort = no
    notification_limit = 5
    show_indicators = no
    markup = full
[urgency_normal]
    background = "#22262e"
    foreground = "#f2f5f9"
    timeout = 0
[urgency_low]
    timeout = 0
[log]
    summary = "*"
    script = %s
`

// notificationScript appends one record per notification. The separators are control characters, which dunst keeps
// out of the fields.
const notificationScript = `#!/bin/sh
printf '%%s\037%%s\037%%s\036' "$DUNST_APP_NAME" "$DUNST_SUMMARY" "$DUNST_BODY" >>'%s'
`

// terminalRC keeps xfce4-terminal from asking anything.
const terminalRC = `[Configuration]
FontName=DejaVu Sans Mono 11
MiscShowUnsafePasteDialog=FALSE
MiscConfirmClose=FALSE
MiscMenubarDefault=FALSE
MiscDefaultGeometry=110x32
`

// terminalScript is the desktop's x-terminal-emulator (-T title -e argv...): xfce4-terminal, with everything that the
// program prints kept for TerminalText by script(1), which takes a shell command only. The title is the program's to
// change, as in those that package desktop opens by itself; --initial-title is not shown. The files' names tell their order.
const terminalScript = `#!/bin/bash
printf -v command '%%q ' "${@:4}"
printf -v title '%%q' "$2"
exec xfce4-terminal --disable-server --dynamic-title-mode=replace -x script -qfe -c \
  "printf '\033]2;%%s\033\\\\' $title; exec $command" '%s/terminal-'$EPOCHREALTIME-$$
`

// escapes are the control sequences of a terminal (ECMA-48): CSI, OSC, single characters.
var escapes = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]*[0-~])|\r|\x07|\x0f`)

// TerminalText returns everything printed so far in the terminals that were opened by x-terminal-emulator, without
// control sequences, oldest terminal first. Text that was drawn over is still in it.
func (s *Session) TerminalText() string {
	s.t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.dir, "terminal-*"))
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for _, log := range logs {
		data, err := os.ReadFile(log)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(escapes.ReplaceAll(data, nil))
	}
	return all.String()
}

func (s *Session) configFiles() map[string]string {
	script := filepath.Join(s.dir, "notified.sh")
	return map[string]string{
		"config/gtk-3.0/gtk.css":                                  gtkCSS,
		"config/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml": fmt.Sprintf(panelXML, panelHeight, trayIconSize),
		"config/xfce4/terminal/terminalrc":                        terminalRC,
		"bin/x-terminal-emulator":                                 fmt.Sprintf(terminalScript, s.dir),
		"dunstrc":                                                 fmt.Sprintf(dunstRC, script),
		"notified.sh":                                             fmt.Sprintf(notificationScript, s.notified()),
	}
}

func (s *Session) notified() string { return filepath.Join(s.dir, "notified.log") }

// Notification is one that the daemon was given, as it showed it.
type Notification struct {
	App, Summary, Body string
}

// Notifications returns all notifications so far, oldest first.
func (s *Session) Notifications() []Notification {
	s.t.Helper()
	data, err := os.ReadFile(s.notified())
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all []Notification
	for record := range strings.SplitSeq(string(data), "\x1e") {
		if f := strings.Split(record, "\x1f"); len(f) == 3 {
			all = append(all, Notification{f[0], f[1], f[2]})
		}
	}
	return all
}
