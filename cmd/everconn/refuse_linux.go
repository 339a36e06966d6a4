package main

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// refuse asks for the end of a connection by shutdown(SHUT_RDWR), in one call:
// from then on the kernel answers what arrives with a reset, so whatever it has
// acknowledged is what can be read until EOF. Close alone would throw unread
// bytes away.
func refuse(conn *net.TCPConn) {
	control(conn, func(fd int) { syscall.Shutdown(fd, syscall.SHUT_RDWR) })
}

// refuseRest is how long a peer may take to answer our FIN.
const refuseRest = 200 * time.Millisecond

// closeRefused closes a refused connection that has been read to EOF. It resets
// one whose peer does not end its side too: if that peer waits for our window
// to open, it would otherwise learn nothing for a minute, since the kernel does
// not answer window probes for a closed socket in FIN_WAIT2.
func closeRefused(conn *net.TCPConn) {
	deadline := time.Now().Add(refuseRest)
	for finUnanswered(conn) {
		if time.Now().After(deadline) {
			conn.SetLinger(0)
			break
		}
		time.Sleep(refuseRest / 50) // nothing reports this change of state
	}
	conn.Close()
}

func finUnanswered(conn *net.TCPConn) bool {
	state := 0
	control(conn, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = int(info.State)
		}
	})
	return state == unix.BPF_TCP_FIN_WAIT1 || state == unix.BPF_TCP_FIN_WAIT2
}

// control calls f with conn's descriptor, unless conn is closed.
func control(conn *net.TCPConn, f func(fd int)) {
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
