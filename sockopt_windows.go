package everconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	// queueReadable: Winsock has no reading of what is not acknowledged.
	queueReadable       = false
	queueSurvivesDeath  = false
	userTimeoutSettable = false
)

func sendQueue(uintptr) (int, error)              { return 0, errors.ErrUnsupported }
func setUserTimeout(uintptr, time.Duration) error { return errors.ErrUnsupported }
func setRTOMax(uintptr, time.Duration) error      { return errors.ErrUnsupported }

// setSendTimeout bounds the retransmission of data (TCP_MAXRT, in seconds).
func setSendTimeout(fd uintptr, d time.Duration) error {
	seconds := max(1, int(d/time.Second))
	err := windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, windows.TCP_MAXRT, seconds)
	return os.NewSyscallError("setsockopt TCP_MAXRT", err)
}

// soError takes and clears the pending error of a socket. A reset need not be
// among them: recvNonblock reports it.
func soError(fd uintptr) error {
	v, err := windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soErrorOption)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt SO_ERROR", err)
	case v != 0:
		return os.NewSyscallError("connection", syscall.Errno(v))
	}
	return nil
}

// recvNonblock reads once: errWouldBlock if there is nothing, io.EOF after the
// peer's FIN. The sockets of package net are overlapped ones, on which a plain
// receive waits, so that it asks first. Nobody else may be reading.
func recvNonblock(fd uintptr, p []byte) (int, error) {
	switch events, err := poll(fd); {
	case err != nil:
		return 0, err
	case events == 0:
		return 0, errWouldBlock
	}
	return recv(fd, p, 0)
}

// pollSocket asks what a socket has to say, without waiting. An error or the
// end also counts as readable, since only a receive tells which it is: POLLHUP
// says "disconnected or aborted".
func pollSocket(fd uintptr) (readiness, error) {
	events, err := poll(fd)
	if err != nil || events == 0 {
		return 0, err
	}
	r := readable
	if events&(pollErr|pollNVal) != 0 {
		r |= failed
	}
	switch {
	case events&pollHup != 0:
		r |= peerClosed
	case events == pollRdNorm: // a FIN alone does not always hang up
		if _, err := recv(fd, make([]byte, 1), windows.MSG_PEEK); err == io.EOF {
			r |= peerClosed
		}
	}
	return r, nil
}

// Of winsock2.h.
const (
	soErrorOption = 0x1007 // SO_ERROR
	pollErr       = 0x0001
	pollHup       = 0x0002
	pollNVal      = 0x0004
	pollRdNorm    = 0x0100
)

var wsaPoll = windows.NewLazySystemDLL("ws2_32.dll").NewProc("WSAPoll")

// poll calls WSAPoll for one socket and returns its revents; 0 means that
// nothing can be read.
func poll(fd uintptr) (revents int16, err error) {
	pollfd := struct { // WSAPOLLFD
		fd              uintptr
		events, revents int16
	}{fd: fd, events: pollRdNorm}
	n, _, err := wsaPoll.Call(uintptr(unsafe.Pointer(&pollfd)), 1, 0)
	if int32(n) < 0 {
		return 0, os.NewSyscallError("WSAPoll", err)
	}
	return pollfd.revents, nil
}

// recv reads once. It may wait.
func recv(fd uintptr, p []byte, flags uint32) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n uint32
	buf := windows.WSABuf{Len: uint32(min(len(p), 1<<30)), Buf: &p[0]}
	err := windows.WSARecv(windows.Handle(fd), &buf, 1, &n, &flags, nil, nil)
	switch {
	case err == windows.WSAEWOULDBLOCK:
		return 0, errWouldBlock
	case err != nil:
		return 0, os.NewSyscallError("wsarecv", err)
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}

// setKeepAlive sets the four values of keepalive. Where the count is fixed at
// ten probes (Windows 10 before version 1703, Windows Server 2016), the interval
// is shortened, so that the sum stays the same.
func setKeepAlive(tc *net.TCPConn, k KeepAlive) error {
	if k.Disable {
		return tc.SetKeepAliveConfig(net.KeepAliveConfig{Idle: -1, Interval: -1, Count: -1})
	}
	config := net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count}
	err := tc.SetKeepAliveConfig(config)
	if errors.Is(err, windows.WSAENOPROTOOPT) {
		config.Interval, config.Count = k.Interval*time.Duration(k.Count)/10, -1
		err = tc.SetKeepAliveConfig(config)
	}
	return err
}

// keepAliveOf reads back what setKeepAlive has set (Windows 10, version 1709).
func keepAliveOf(fd uintptr) (KeepAlive, error) {
	var err error
	get := func(level, opt int) int {
		v, e := windows.GetsockoptInt(windows.Handle(fd), level, opt)
		if err == nil {
			err = os.NewSyscallError("getsockopt", e)
		}
		return v
	}
	if get(windows.SOL_SOCKET, windows.SO_KEEPALIVE) == 0 {
		return KeepAlive{Disable: true}, err
	}
	return KeepAlive{
		Idle:     time.Duration(get(windows.IPPROTO_TCP, windows.TCP_KEEPIDLE)) * time.Second,
		Interval: time.Duration(get(windows.IPPROTO_TCP, windows.TCP_KEEPINTVL)) * time.Second,
		Count:    get(windows.IPPROTO_TCP, windows.TCP_KEEPCNT),
	}, err
}

// ofPOSIX lists what Windows reports where POSIX has the number on the left
// (golang/go#45621). The Win32 codes are what an overlapped operation can end
// with instead of the Winsock ones; WSAENETRESET is also what a failed
// keepalive gives.
var ofPOSIX = map[syscall.Errno][]syscall.Errno{
	syscall.ECONNRESET:    {windows.WSAECONNRESET, windows.ERROR_NETNAME_DELETED},
	syscall.ECONNABORTED:  {windows.WSAECONNABORTED, windows.ERROR_CONNECTION_ABORTED},
	syscall.ECONNREFUSED:  {windows.WSAECONNREFUSED, windows.ERROR_CONNECTION_REFUSED},
	syscall.ETIMEDOUT:     {windows.WSAETIMEDOUT, windows.WSAENETRESET, windows.ERROR_SEM_TIMEOUT},
	syscall.EHOSTUNREACH:  {windows.WSAEHOSTUNREACH, windows.ERROR_HOST_UNREACHABLE},
	syscall.ENETUNREACH:   {windows.WSAENETUNREACH, windows.ERROR_NETWORK_UNREACHABLE},
	syscall.EHOSTDOWN:     {windows.WSAEHOSTDOWN},
	syscall.ENETDOWN:      {windows.WSAENETDOWN},
	syscall.ENETRESET:     {windows.WSAENETRESET},
	syscall.EPIPE:         {windows.WSAESHUTDOWN},
	syscall.ENOTCONN:      {windows.WSAENOTCONN},
	syscall.ENOBUFS:       {windows.WSAENOBUFS},
	syscall.EMFILE:        {windows.WSAEMFILE},
	syscall.EACCES:        {windows.WSAEACCES},
	syscall.EADDRINUSE:    {windows.WSAEADDRINUSE},
	syscall.EADDRNOTAVAIL: {windows.WSAEADDRNOTAVAIL},
}

// sameErrno reports whether err holds the system's own number for the POSIX
// errno target. It ends where a ConnError in err asks it again: the system's
// numbers have no entry.
func sameErrno(err, target error) bool {
	posix, ok := target.(syscall.Errno)
	if !ok {
		return false
	}
	for _, own := range ofPOSIX[posix] {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
