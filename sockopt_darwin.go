package everconn

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// queueReadable: SO_NWRITE tells how many bytes are not acknowledged.
	queueReadable = true
	// queueSurvivesDeath: whether it still does after a reset is unverified, so
	// that only readings of a live connection count.
	queueSurvivesDeath  = false
	userTimeoutSettable = false

	tcpKeepIdle = unix.TCP_KEEPALIVE
	pollRDHUP   = 0
)

func sendQueue(fd uintptr) (int, error) {
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NWRITE)
	return n, os.NewSyscallError("getsockopt SO_NWRITE", err)
}

func setUserTimeout(uintptr, time.Duration) error { return errors.ErrUnsupported }
func setRTOMax(uintptr, time.Duration) error      { return errors.ErrUnsupported }

// setSendTimeout bounds retransmission (TCP_RXT_CONNDROPTIME, in seconds).
func setSendTimeout(fd uintptr, d time.Duration) error {
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(d.Seconds()))
	return os.NewSyscallError("setsockopt TCP_RXT_CONNDROPTIME", err)
}

func pathOf(uintptr) pathInfo { return pathInfo{} }

type iovecs struct{}

func writev(fd uintptr, bufs [][]byte, _ *iovecs) (int, error) { return write1(fd, bufs) }
