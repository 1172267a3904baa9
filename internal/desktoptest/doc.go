// Package desktoptest runs a real desktop for tests: an X server without a screen (Xvfb), a session bus, a window
// manager (xfwm4), a panel with a status tray (xfce4-panel) and a notification daemon (dunst). A test looks at the
// pixels, moves the mouse and types as a person would; D-Bus is used only to know what to look for.
//
// What must hold: nothing of the person's own desktop, home or session bus is touched; every process ends with the
// test; what the screen showed and what each process said stays behind as build output (CAL_ARTIFACTS, else
// build/desktop).
package desktoptest
