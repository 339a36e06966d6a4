package everconn

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// queueReadable: SIOCOUTQ tells how many bytes are not acknowledged (tcp(7)).
	queueReadable = true
	// queueSurvivesDeath: it tells so, too, after a reset or a timeout, until the
	// descriptor is closed.
	queueSurvivesDeath = true
	// userTimeoutSettable: there is TCP_USER_TIMEOUT.
	userTimeoutSettable = true

	tcpKeepIdle = unix.TCP_KEEPIDLE
	pollRDHUP   = unix.POLLRDHUP
)

// sendQueue returns the bytes written and not yet acknowledged; a FIN counts
// one.
func sendQueue(fd uintptr) (int, error) {
	// The kernel writes 32 bits. IoctlGetInt offers it 64 of which, on a
	// big-endian machine, it fills the upper half.
	n, err := unix.IoctlGetUint32(int(fd), unix.SIOCOUTQ)
	return int(n), os.NewSyscallError("ioctl SIOCOUTQ", err)
}

// setUserTimeout bounds how long data may stay unacknowledged.
func setUserTimeout(fd uintptr, d time.Duration) error {
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", err)
}

// setRTOMax caps the time between retransmissions, and between window probes
// (TCP_RTO_MAX_MS, Linux 6.15; older kernels answer ENOPROTOOPT).
func setRTOMax(fd uintptr, d time.Duration) error {
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(d.Milliseconds()))
	return os.NewSyscallError("setsockopt TCP_RTO_MAX_MS", err)
}

// setSendTimeout does nothing: the stall rule watches TCP_INFO instead.
func setSendTimeout(uintptr, time.Duration) error { return nil }

// pathOf reads TCP_INFO. A short answer (an emulator's) leaves the RTO at 0 and
// counts as unknown.
func pathOf(fd uintptr) pathInfo {
	ti, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || ti.Rto == 0 {
		return pathInfo{}
	}
	ms := func(v uint32) time.Duration { return time.Duration(v) * time.Millisecond }
	p := pathInfo{
		known:    true,
		silence:  min(ms(ti.Last_ack_recv), ms(ti.Last_data_recv)),
		inFlight: ti.Unacked > 0,
		window:   ti.Snd_wnd,
		srtt:     time.Duration(ti.Rtt) * time.Microsecond,
	}
	if p.inFlight {
		p.unanswered = 1 + int(ti.Retransmits)
	} else {
		p.unanswered = int(ti.Probes)
	}
	return p
}

// An iovecs is the kernel's form of the buffers of one writev.
type iovecs [maxPieces]unix.Iovec

// writev writes once from several buffers.
func writev(fd uintptr, bufs [][]byte, iov *iovecs) (int, error) {
	if len(bufs) == 1 {
		return write1(fd, bufs)
	}
	for i, b := range bufs {
		iov[i].Base = &b[0]
		iov[i].SetLen(len(b))
	}
	defer clear(iov[:len(bufs)])
	for {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(iov)), uintptr(len(bufs)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, os.NewSyscallError("writev", errno)
		}
	}
}
