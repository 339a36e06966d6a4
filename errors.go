package everconn

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by methods of a client that was closed, is shutting
	// down, or has stopped by itself. In the last case the error also wraps the
	// reason; see Client.Err.
	ErrClosed = errors.New("everconn: client is closed")
	// ErrFull is returned by Send when the outbox is full and Overflow is
	// Reject, and by TrySend where Send would wait.
	ErrFull = errors.New("everconn: outbox is full")
	// ErrTooLarge is returned for a message that can never fit into the outbox.
	ErrTooLarge = errors.New("everconn: message is too large for the outbox")
)

// Causes of our own that a ConnError can wrap, beside the system's errors and
// io.EOF.
var (
	// ErrHeartbeat: nothing was received for Heartbeat.Interval + Timeout.
	ErrHeartbeat = errors.New("no answer to the heartbeat")
	// ErrStalled: the peer's window stayed closed for Liveness.MaxStall.
	ErrStalled = errors.New("the peer has not read for too long")
	// ErrConnAge: the connection reached Options.MaxConnAge.
	ErrConnAge = errors.New("the connection reached its greatest age")
	// ErrReconnect: Client.Reconnect was called.
	ErrReconnect = errors.New("reconnect was asked for")
	// ErrNoSendQueue: KernelStrict is set and the connection cannot report its
	// send-queue.
	ErrNoSendQueue = errors.New("the connection cannot report its send-queue")
)

// By says who noticed that a connection or an attempt had failed.
type By uint8

const (
	// ByDial: opening the transport failed.
	ByDial By = iota
	// ByTLS: the TLS handshake failed.
	ByTLS
	// ByOnConnect: Options.OnConnect returned an error.
	ByOnConnect
	// ByWatcher: the process-wide watcher saw an error or the peer's FIN.
	ByWatcher
	// BySend: a write failed.
	BySend
	// ByReader: a read failed, or Options.Receive returned an error.
	ByReader
	// ByStallRule: nothing was heard from the peer for Liveness.DeadAfter.
	ByStallRule
	// ByHeartbeat: the heartbeat was not answered.
	ByHeartbeat
	// ByClient: the client itself ended it: Reconnect, MaxConnAge, Close.
	ByClient
)

// String returns the noticer's name.
func (b By) String() string {
	switch b {
	case ByDial:
		return "dial"
	case ByTLS:
		return "tls"
	case ByOnConnect:
		return "on-connect"
	case ByWatcher:
		return "watcher"
	case BySend:
		return "send"
	case ByReader:
		return "reader"
	case ByStallRule:
		return "stall-rule"
	case ByHeartbeat:
		return "heartbeat"
	case ByClient:
		return "client"
	}
	return fmt.Sprintf("By(%d)", uint8(b))
}

// ConnError says why an attempt to connect or a connection failed. Use
// errors.Is with a syscall.Errno (ECONNRESET, ETIMEDOUT, …), io.EOF or the
// causes above: it holds on every platform, also where the system's own codes
// differ (Windows reports WSAECONNRESET, golang/go#45621).
type ConnError struct {
	// Op is what failed: "dial", "handshake", "on-connect" or "connection".
	Op string
	// Endpoint is the host:port concerned.
	Endpoint string
	// Cause is the strongest cause seen: an error number beats a bare EOF.
	Cause error
	// By says who noticed first.
	By By
}

// Error describes the failure in one line.
func (e *ConnError) Error() string {
	return fmt.Sprintf("everconn: %s %s: %v (noticed by %v)", e.Op, e.Endpoint, e.Cause, e.By)
}

// Unwrap returns Cause.
func (e *ConnError) Unwrap() error { return e.Cause }

// Is makes errors.Is hold for the POSIX error numbers where the system reports
// the same failure under a number of its own.
func (e *ConnError) Is(target error) bool { return sameErrno(e.Cause, target) }

// UndeliveredError is returned by Close and Shutdown when accepted messages
// were neither confirmed nor dropped. Client.Undelivered hands them back.
type UndeliveredError struct {
	// Messages and Bytes count what is left, framing included.
	Messages uint64
	Bytes    uint64
	// Cause is why: the end of Shutdown's ctx, or why the client stopped by
	// itself; nil after a plain Close.
	Cause error
}

// Error describes what is left in one line.
func (e *UndeliveredError) Error() string {
	s := fmt.Sprintf("everconn: %d messages (%d bytes) are not confirmed", e.Messages, e.Bytes)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns Cause.
func (e *UndeliveredError) Unwrap() error { return e.Cause }
