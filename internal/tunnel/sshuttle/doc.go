// Package sshuttle is the server side of sshuttle's protocol (versions 1.1 and later, header SSHUTTLE0001), for stock
// clients in a guest. sshuttle's own server is Python that the client uploads and the other end executes; here what is
// uploaded is read and thrown away, and every connection and question goes through a tunnel.Gate.
//
// What must hold: nothing the client sends is executed, decompressed or used as a name on the host. The client is hostile:
// frames, channels, questions and bytes on their way are bounded, and one destination that does not read holds up the
// others for a bounded time. The host's routes and names are not told.
//
// The protocol is that of sshuttle/ssnet.py and server.py of sshuttle 1.1.
package sshuttle
