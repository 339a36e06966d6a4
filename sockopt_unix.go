//go:build unix

package everconn

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPieces is the most buffers that one write carries.
const maxPieces = 64

// soError takes and clears the pending error of a socket (SO_ERROR, socket(7)).
// It also returns the soft error of a live one, so that there must be a reason
// to ask.
func soError(fd uintptr) error {
	v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt SO_ERROR", err)
	case v != 0:
		return syscall.Errno(v)
	}
	return nil
}

// recvNonblock reads once from a non-blocking socket: errWouldBlock if there is
// nothing, io.EOF after the peer's FIN.
func recvNonblock(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// pollSocket asks what a socket has to say, without waiting.
func pollSocket(fd uintptr) (readiness, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | pollRDHUP}}
	if _, err := unix.Poll(fds, 0); err != nil {
		if err == unix.EINTR {
			return 0, nil // the next tick asks again
		}
		return 0, os.NewSyscallError("poll", err)
	}
	var r readiness
	got := fds[0].Revents
	if got&unix.POLLIN != 0 {
		r |= readable
		// A peek would take the pending error, which poll has told already.
		if got&(unix.POLLERR|unix.POLLHUP|pollRDHUP) == 0 {
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
			if n == 0 && err == nil {
				r |= peerClosed
			}
		}
	}
	if got&pollRDHUP != 0 {
		r |= peerClosed
	}
	if got&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
		r |= failed
	}
	return r, nil
}

// setKeepAlive sets the four values of keepalive.
func setKeepAlive(tc *net.TCPConn, k KeepAlive) error {
	return tc.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: !k.Disable, Idle: k.Idle, Interval: k.Interval, Count: k.Count,
	})
}

// keepAliveOf reads back what setKeepAlive has set.
func keepAliveOf(fd uintptr) (KeepAlive, error) {
	var err error
	get := func(level, opt int) int {
		v, e := unix.GetsockoptInt(int(fd), level, opt)
		if err == nil {
			err = os.NewSyscallError("getsockopt", e)
		}
		return v
	}
	if get(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		return KeepAlive{Disable: true}, err
	}
	return KeepAlive{
		Idle:     time.Duration(get(unix.IPPROTO_TCP, tcpKeepIdle)) * time.Second,
		Interval: time.Duration(get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)) * time.Second,
		Count:    get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
	}, err
}

// sameErrno is for platforms whose error numbers differ from POSIX.
func sameErrno(error, error) bool { return false }

// write1 writes the first of bufs, where there is no writev.
func write1(fd uintptr, bufs [][]byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), bufs[0])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, os.NewSyscallError("write", err)
		default:
			return n, nil
		}
	}
}
