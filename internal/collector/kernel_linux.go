package collector

import (
	"net"
	"os"
	"syscall"
	"time"
)

const canPeek = true

// refuseMore shuts down both directions in one call. Data that arrives later
// is answered with a reset and not acknowledged (tcp_rcv_state_process), while
// what was acknowledged can still be read.
func refuseMore(tcp *net.TCPConn) error {
	return control(tcp, func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_RDWR) })
}

// freeze makes the kernel drop, unacknowledged, whatever arrives for tcp: a
// socket filter that passes nothing. It reports whether that worked.
func freeze(tcp *net.TCPConn) bool {
	const retNothing = 0x06 // BPF_RET | BPF_K with k = 0, bpf(4)
	return control(tcp, func(fd int) error {
		//lint:ignore SA1019 its successor is a module that this package does without
		return syscall.AttachLsf(fd, []syscall.SockFilter{{Code: retNothing}})
	}) == nil
}

// thaw undoes freeze. It does nothing on a socket that is not frozen.
func thaw(tcp *net.TCPConn) {
	_ = control(tcp, func(fd int) error {
		//lint:ignore SA1019 as above
		return syscall.DetachLsf(fd)
	})
}

// peek returns a copy of all the bytes that the kernel holds unread.
func peek(tcp *net.TCPConn) (unread []byte, ok bool) {
	for size := readSize; ; size *= 2 {
		buf := make([]byte, size)
		n := 0
		err := control(tcp, func(fd int) (err error) {
			n, _, err = syscall.Recvfrom(fd, buf, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return err
		})
		switch {
		case err == syscall.EAGAIN:
			return nil, true
		case err != nil:
			return nil, false
		case n < size:
			return buf[:n], true
		}
	}
}

// awaitUnread waits until there are unread bytes, the stream ends, or d is over.
func awaitUnread(tcp *net.TCPConn, d time.Duration) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = tcp.SetReadDeadline(time.Now().Add(d))
	var one [1]byte
	_ = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
}

// readBufferControl returns what sets SO_RCVBUF on a listener: a connection
// inherits it, and with it the window that it offers from the start.
func readBufferControl(size int) func(network, address string, raw syscall.RawConn) error {
	if size == 0 {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size))
		})
		if failed != nil {
			return failed
		}
		return err
	}
}

// control runs f on the descriptor and returns its error.
func control(tcp *net.TCPConn, f func(fd int) error) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	if failed := raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}
