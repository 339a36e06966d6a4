package everconn

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// A link carries the outbox over one connection. There are three: a TCP socket
// (sock.go), TLS over such a socket (tls.go), and any other net.Conn
// (stream.go). Only run uses one, but for interrupt and Read.
type link interface {
	// arm ends the setting up. From now on writes wait by the ticker, and heard
	// is called when something was received.
	arm(tick ticker, heard func())
	// Read reads what the peer sends. One reader at most.
	Read(p []byte) (int, error)
	// push writes some of what src lends. It returns once something is written.
	// An error means that the connection is over; its slot says why.
	push(src source) error
	// extra writes bytes that are not the outbox's, a heartbeat, as push does.
	extra(p []byte) error
	// closeWrite half-closes, waiting as push does.
	closeWrite() error
	// interrupt makes a waiting write call its ticker now. Any goroutine may
	// call it.
	interrupt()
	// reading asks how far the peer's kernel has come. final marks the last one,
	// after sever.
	reading(final bool) reading
	// socket returns the TCP socket, or nil.
	socket() syscall.RawConn
	// path asks the kernel about the path.
	path() pathInfo
	// takeError asks SO_ERROR. There must be a reason to.
	takeError(by By)
	// sever ends all reading and writing, so that the last reading is final. The
	// descriptor stays open.
	sever()
	// close frees the descriptor, and bounds what a connection that was judged
	// dead leaves behind.
	close(dead bool)
}

// A reading is what is known at one moment of the bytes written.
type reading struct {
	ok     bool   // the rest holds
	acked  uint64 // outbox bytes that the peer's kernel has acknowledged
	queued int    // bytes, of whatever kind, that it has not
}

// A source lends what is to be written; see outbox.take.
type source interface {
	take(bufs [][]byte, limit int) [][]byte
	wrote(n int)
}

// A ticker is called while a write waits. It returns how long to wait until it
// is called again, or an error to give up the write and the connection.
type ticker func() (time.Duration, error)

// errOver says that the connection is over; its slot says why.
var errOver = errors.New("everconn: the connection is over")

// orphanTimeout bounds how long the kernel keeps sending for a connection that
// was judged dead and closed. What it still carries can only be duplicated.
const orphanTimeout = 10 * time.Second

// rawOf returns the socket of conn if conn is a TCP connection and nothing
// else: a type around one may change what is written.
func rawOf(conn net.Conn) (*net.TCPConn, syscall.RawConn) {
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, nil
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return nil, nil
	}
	return tc, raw
}

// readableQueue reports whether the send-queue of a socket can be read. On
// MPTCP the count falls to 0 after a reset.
func readableQueue(tc *net.TCPConn, raw syscall.RawConn) bool {
	if multipath, err := tc.MultipathTCP(); multipath || err != nil {
		return false
	}
	err := errors.ErrUnsupported
	if cerr := raw.Control(func(fd uintptr) { _, err = sendQueue(fd) }); cerr != nil {
		return false
	}
	return err == nil
}
