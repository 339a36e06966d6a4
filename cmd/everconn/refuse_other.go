//go:build !linux

package main

import (
	"net"
	"time"
)

// refuseRest is how long a peer may take to answer our FIN.
const refuseRest = 2 * time.Second

// refuse asks for the end of a connection: it half-closes and leaves the peer
// some time to do the same. Other kernels than Linux throw unread data away
// when the receiving side is shut down.
func refuse(conn *net.TCPConn) {
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(refuseRest))
}

// closeRefused closes a refused connection that has been read to EOF.
func closeRefused(conn *net.TCPConn) { conn.Close() }
