// Package statusicon draws the status icon and renders the menu: a Status becomes a picture, a Menu becomes what the
// desktop's tray shows, by the smallest change that leads there.
//
// What must hold: the icon is data drawn here, never a file; each status has its own shape as well as its own colour
// and is drawn only when it changes; a Menu is a plain value and Tray.Set may be called from any goroutine, often; a
// click reaches its handler with the ID the person saw under the pointer, however slow the handler is; an ID is never
// handed from one entry of the tray to another.
package statusicon
