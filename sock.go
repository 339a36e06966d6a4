//go:build unix

package everconn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	batchSmallest = 64 << 10
	batchLargest  = 1 << 20
)

// A sock is a TCP socket, written by one writev(2) at a time, each of which is
// counted at once: net.Conn.Write reports only at its end, and on a slow path
// the count would stand still for a minute.
//
// Under TLS it is the conn below crypto/tls, whose write deadlines are not
// passed on: a tls.Conn is corrupt for ever after one has fired.
type sock struct {
	tc    *net.TCPConn
	raw   syscall.RawConn
	slot  *causeSlot
	tick  ticker // nil while the connection is being set up
	heard func() // called when something was read; nil likewise

	interrupted atomic.Bool

	// Of the one writer: run or, under TLS, whoever holds the lock of crypto/tls.
	src   source
	own   bytesSource
	limit int
	block bool  // the last attempt found no room
	err   error // of the last attempt
	once  func(fd uintptr) bool
	wait  func(fd uintptr) bool

	// Of run.
	over  uint64 // bytes written that were not the outbox's
	queue int
	qerr  error
	readQ func(fd uintptr)

	mu      sync.Mutex // guards the following, and covers a write with its count
	written uint64
	fin     bool // we have half-closed
	severed bool
}

func newSock(tc *net.TCPConn, raw syscall.RawConn, slot *causeSlot) *sock {
	s := &sock{tc: tc, raw: raw, slot: slot, limit: batchSmallest}
	s.once = func(fd uintptr) bool { s.attempt(fd); return true }
	s.wait = func(fd uintptr) bool { s.attempt(fd); return !s.block }
	s.readQ = s.readQueue
	return s
}

// openLink returns the link of a new connection, and the conn to be greeted
// through: with cfg, a TLS conn before its handshake.
func openLink(conn net.Conn, cfg *tls.Config, slot *causeSlot) (link, net.Conn) {
	tc, raw := rawOf(conn)
	if tc == nil || !readableQueue(tc, raw) {
		return openStream(conn, cfg, slot)
	}
	s := newSock(tc, raw, slot)
	if cfg == nil {
		return s, tc
	}
	upper := tls.Client(s, cfg)
	return newTLSLink(s, upper), upper
}

// arm ends the setting up: from now on writes wait by the ticker.
func (s *sock) arm(tick ticker, heard func()) { s.tick, s.heard = tick, heard }

// A batch is the memory of one write. An idle connection has none.
type batch struct {
	bufs [maxPieces][]byte
	iov  iovecs
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// attempt writes once, without waiting.
func (s *sock) attempt(fd uintptr) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	s.mu.Lock()
	if s.severed {
		s.mu.Unlock()
		s.block, s.err = false, errOver
		return
	}
	bufs := s.src.take(b.bufs[:0], s.limit)
	n, err := 0, error(nil)
	if len(bufs) > 0 {
		n, err = writev(fd, bufs, &b.iov)
	}
	s.written += uint64(n)
	s.mu.Unlock()
	s.src.wrote(n)
	s.adapt(n, bufs)
	clear(bufs)
	if s.block = err == errWouldBlock; s.block {
		err = nil
	}
	if s.err = err; err != nil {
		s.slot.record(err, BySend)
	}
}

// adapt sizes the next batch: what does not fit into the send buffer is lent
// and given back for nothing.
func (s *sock) adapt(n int, bufs [][]byte) {
	offered := 0
	for _, b := range bufs {
		offered += len(b)
	}
	if n == offered {
		s.limit = min(2*s.limit, batchLargest)
	} else {
		s.limit = min(max(2*n, batchSmallest), batchLargest)
	}
}

func (s *sock) push(src source) error {
	s.src = src
	err := s.raw.Write(s.once)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && s.block:
		return s.await() // no room, or a deadline left behind by interrupt
	case err != nil:
		return s.fail(err)
	}
	return s.err
}

// await writes as soon as there is room, and calls the ticker in between.
func (s *sock) await() error {
	for {
		wait, err := s.tick()
		if err != nil {
			return err
		}
		s.tc.SetWriteDeadline(time.Now().Add(wait))
		if s.interrupted.Swap(false) {
			continue
		}
		err = s.raw.Write(s.wait)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		s.tc.SetWriteDeadline(time.Time{})
		if err != nil {
			return s.fail(err)
		}
		return s.err
	}
}

// fail records that the runtime refused a write: the descriptor is closed.
func (s *sock) fail(err error) error {
	s.slot.record(err, BySend)
	return err
}

// A bytesSource lends one slice.
type bytesSource struct{ p []byte }

func (b *bytesSource) take(bufs [][]byte, _ int) [][]byte {
	if len(b.p) == 0 {
		return bufs
	}
	return append(bufs, b.p)
}

func (b *bytesSource) wrote(n int) { b.p = b.p[n:] }

// Write writes all of p: for crypto/tls, and for OnConnect under it.
func (s *sock) Write(p []byte) (int, error) {
	s.own.p = p
	for len(s.own.p) > 0 {
		var err error
		if s.tick != nil {
			err = s.push(&s.own)
		} else {
			s.src = &s.own
			if err = s.raw.Write(s.wait); err == nil {
				err = s.err
			}
		}
		if err != nil {
			return len(p) - len(s.own.p), err
		}
	}
	return len(p), nil
}

func (s *sock) extra(p []byte) error {
	n, err := s.Write(p)
	s.over += uint64(n)
	return err
}

func (s *sock) Read(p []byte) (int, error) {
	n, rerr := 0, error(nil)
	err := s.raw.Read(func(fd uintptr) bool {
		n, rerr = s.slot.read(fd, p, ByReader)
		return rerr != errWouldBlock
	})
	if err == nil {
		err = rerr
	}
	if n > 0 && s.heard != nil {
		s.heard()
	}
	return n, err
}

func (s *sock) interrupt() {
	s.interrupted.Store(true)
	s.tc.SetWriteDeadline(time.Unix(1, 0))
}

// reading reads what was written before the send-queue, never the other way
// round, so that a write in between can only make it say less.
func (s *sock) reading(final bool) reading {
	r, acked := s.readSocket(final)
	r.acked = acked - min(acked, s.over)
	return r
}

// readSocket also returns the acknowledged bytes of whatever kind.
func (s *sock) readSocket(final bool) (reading, uint64) {
	if final && !queueSurvivesDeath {
		return reading{}, 0
	}
	s.mu.Lock()
	written, fin := s.written, s.fin
	s.mu.Unlock()
	if err := s.raw.Control(s.readQ); err != nil || s.qerr != nil {
		return reading{}, 0
	}
	sent := written
	if fin {
		sent++ // our FIN counts one until it is acknowledged
	}
	acked := min(written, sent-min(sent, uint64(s.queue)))
	return reading{ok: true, queued: s.queue}, acked
}

func (s *sock) readQueue(fd uintptr) {
	s.queue, s.qerr = sendQueue(fd)
	if s.qerr == nil && !queueSurvivesDeath {
		if r, err := pollSocket(fd); err != nil || r&(peerClosed|failed) != 0 {
			s.qerr = errOver // it may have been read after the death
		}
	}
}

// total is the number of bytes written so far.
func (s *sock) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

func (s *sock) socket() syscall.RawConn { return s.raw }

func (s *sock) path() (p pathInfo) {
	_ = s.raw.Control(func(fd uintptr) { p = pathOf(fd) })
	return p
}

func (s *sock) takeError(by By) {
	_ = s.raw.Control(func(fd uintptr) { s.slot.takeError(fd, false, by) })
}

func (s *sock) closeWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.tc.CloseWrite()
	s.fin = err == nil // after a reset no FIN is queued, and none may be counted
	return err
}

func (s *sock) sever() {
	s.mu.Lock()
	s.severed = true
	s.mu.Unlock()
	s.slot.close()
	s.tc.SetDeadline(time.Unix(1, 0)) // wakes a waiting reader
}

func (s *sock) close(dead bool) {
	_ = s.raw.Control(func(fd uintptr) {
		if dead {
			_ = setUserTimeout(fd, orphanTimeout)
			return
		}
		discardAll(fd) // unread data would turn our FIN into a reset
	})
	s.tc.Close()
}

// discardAll reads what there is, within a bound.
func discardAll(fd uintptr) {
	buf := make([]byte, 4<<10)
	for range drainBudget / len(buf) {
		if _, err := recvNonblock(fd, buf); err != nil {
			return
		}
	}
}

// The rest makes a sock the net.Conn below crypto/tls.

func (s *sock) Close() error         { return s.tc.Close() }
func (s *sock) LocalAddr() net.Addr  { return s.tc.LocalAddr() }
func (s *sock) RemoteAddr() net.Addr { return s.tc.RemoteAddr() }

// SetDeadline serves the handshake and OnConnect, and has no effect later.
func (s *sock) SetDeadline(t time.Time) error { return s.deadline(s.tc.SetDeadline, t) }

// SetReadDeadline serves the handshake and OnConnect, and has no effect later.
func (s *sock) SetReadDeadline(t time.Time) error { return s.deadline(s.tc.SetReadDeadline, t) }

// SetWriteDeadline serves the handshake and OnConnect, and has no effect later.
func (s *sock) SetWriteDeadline(t time.Time) error { return s.deadline(s.tc.SetWriteDeadline, t) }

func (s *sock) deadline(set func(time.Time) error, t time.Time) error {
	if s.tick != nil {
		return nil
	}
	return set(t)
}
