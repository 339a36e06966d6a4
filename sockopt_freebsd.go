package everconn

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// queueReadable: FIONWRITE tells how many bytes are not acknowledged.
	queueReadable = true
	// queueSurvivesDeath: whether it still does after a reset is unverified, so
	// that only readings of a live connection count.
	queueSurvivesDeath  = false
	userTimeoutSettable = false

	tcpKeepIdle = unix.TCP_KEEPIDLE
	pollRDHUP   = 0

	fionwrite       = 0x40046677 // _IOR('f', 119, int), sys/filio.h
	tcpMaxUnackTime = 68         // netinet/tcp.h, FreeBSD 13
)

func sendQueue(fd uintptr) (int, error) {
	n, err := unix.IoctlGetInt(int(fd), fionwrite)
	return n, os.NewSyscallError("ioctl FIONWRITE", err)
}

func setUserTimeout(uintptr, time.Duration) error { return errors.ErrUnsupported }
func setRTOMax(uintptr, time.Duration) error      { return errors.ErrUnsupported }

// setSendTimeout bounds how long data may stay unacknowledged, in seconds.
func setSendTimeout(fd uintptr, d time.Duration) error {
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpMaxUnackTime, int(d.Seconds()))
	return os.NewSyscallError("setsockopt TCP_MAXUNACKTIME", err)
}

func pathOf(uintptr) pathInfo { return pathInfo{} }

type iovecs struct{}

func writev(fd uintptr, bufs [][]byte, _ *iovecs) (int, error) { return write1(fd, bufs) }
