// Package search is what runs in the guest when the host asks what changed since an instant: the verb "changes" of
// CALMenu's own program there. It tells what the host's script of the same job tells (see package changes), several times
// as fast: the inodes that changed are read from the file system's tables at once, and folders are read only for the
// names of these, until all have been found.
//
// What must hold: it runs as root, in folders other people write to, so no symbolic link is followed and no other file
// system entered; nothing is changed; what it starts (git) runs as the user. Where anything is not as it should be, it
// says so instead, and the host searches with find.
package search
