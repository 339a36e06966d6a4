package everconn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A causeSlot keeps why one connection ended. Read, write and SO_ERROR each
// take the pending error from the others, who then see EOF, EPIPE or 0, so that
// what each of them saw must be put together: a strong cause, an error number,
// replaces a weak one, never the reverse.
//
// Reads and SO_ERROR run inside the slot's lock (they never block), so that
// nobody finds the slot empty while another has taken the error and not yet
// recorded it. Writes record afterwards: only run decides what a cause means,
// and run is the writer.
type causeSlot struct {
	mu     sync.Mutex // guards the following, and covers reads and SO_ERROR
	cause  error
	by     By
	strong bool
	eof    bool // the peer has sent FIN (TLS: close_notify)
	closed bool // no read or SO_ERROR may follow
}

// record notes what a syscall, or a rule, has said. nil says nothing.
func (s *causeSlot) record(err error, by By) {
	s.mu.Lock()
	s.recordLocked(err, by)
	s.mu.Unlock()
}

func (s *causeSlot) recordLocked(err error, by By) {
	switch {
	case err == nil || s.closed:
		return
	case err == io.EOF:
		s.eof = true
	}
	switch strong := strongCause(err); {
	case s.cause == nil:
		s.cause, s.by, s.strong = err, by, strong
	case strong && !s.strong:
		s.cause, s.strong = err, true
	}
}

// get returns the cause so far, who saw it first, and whether the peer has sent
// FIN.
func (s *causeSlot) get() (by By, eof bool, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by, s.eof, s.cause
}

// ended reports whether the connection is over: there is a cause, and it is
// more than a FIN that allowHalfOpen permits.
func (s *causeSlot) ended(allowHalfOpen bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause != nil && !(allowHalfOpen && s.cause == io.EOF)
}

// close ends the recording: whatever comes later is about a descriptor that is
// being closed.
func (s *causeSlot) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// strongCause reports whether err says more than that the connection is over.
func strongCause(err error) bool {
	for _, weak := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, net.ErrClosed, io.ErrClosedPipe, os.ErrDeadlineExceeded} {
		if errors.Is(err, weak) || sameErrno(err, weak) {
			return false
		}
	}
	return true
}
