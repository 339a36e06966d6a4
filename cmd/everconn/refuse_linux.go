package main

import (
	"net"
	"syscall"
)

// refuse asks for the end of a connection by shutdown(SHUT_RDWR), in one call:
// from then on the kernel answers what arrives with a reset, so whatever it has
// acknowledged is what can be read until EOF. Close alone would throw unread
// bytes away.
func refuse(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // it is closed already
	}
	raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

// closeRefused closes a refused connection that has been read to EOF. It resets
// it: a peer that goes on writing into a closed window would otherwise learn
// nothing for a minute, since the kernel does not answer window probes for a
// closed socket in FIN_WAIT2.
func closeRefused(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}
