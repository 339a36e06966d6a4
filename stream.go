package everconn

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// streamPiece is the most that one Write of a stream carries.
const streamPiece = 32 << 10

// A stream is any net.Conn that is not a TCP socket that we can count on: a
// tunnel, a pipe, a Unix socket, and TCP where writes cannot be taken one by
// one. It confirms at Written. Its Write may block, and may be somebody else's
// code, so that a goroutine of its own calls it, with a copy.
type stream struct {
	conn  net.Conn
	raw   syscall.RawConn // nil if conn is no TCP socket
	slot  *causeSlot
	tick  ticker
	heard func()

	rouse  chan struct{}    // interrupt
	writes chan []byte      // to the writer
	done   chan streamWrite // from the writer
	since  time.Time        // the write under way began; zero: none
	buf    []byte
}

type streamWrite struct {
	n   int
	err error
}

// openStream is openLink for a conn that is used through Read and Write.
func openStream(conn net.Conn, cfg *tls.Config, slot *causeSlot) (link, net.Conn) {
	_, raw := rawOf(conn)
	if cfg != nil {
		conn = tls.Client(conn, cfg)
	}
	s := newStream(conn, slot)
	s.raw = raw
	return s, conn
}

func newStream(conn net.Conn, slot *causeSlot) *stream {
	return &stream{
		conn: conn, slot: slot,
		rouse:  make(chan struct{}, 1),
		writes: make(chan []byte),
		done:   make(chan streamWrite, 1),
	}
}

func (s *stream) arm(tick ticker, heard func()) { s.tick, s.heard = tick, heard }

// writer is the goroutine that calls Write. It ends with close.
func (s *stream) writer() {
	for p := range s.writes {
		n, err := s.conn.Write(p)
		s.done <- streamWrite{n, err}
	}
}

func (s *stream) push(src source) error {
	var one [1][]byte
	bufs := src.take(one[:0], streamPiece)
	if len(bufs) == 0 {
		src.wrote(0)
		return nil
	}
	s.buf = append(s.buf[:0], bufs[0][:min(len(bufs[0]), streamPiece)]...)
	n, err := s.write(s.buf)
	src.wrote(n)
	if cap(s.buf) > 4<<10 {
		s.buf = nil
	}
	return err
}

func (s *stream) write(p []byte) (int, error) {
	s.since = time.Now()
	s.writes <- p
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, err := s.tick()
		if err != nil {
			return 0, err // the write goes on with its copy, until close
		}
		timer.Reset(wait)
		select {
		case w := <-s.done:
			s.since = time.Time{}
			if w.err != nil {
				s.slot.record(w.err, BySend)
			}
			return w.n, w.err
		case <-s.rouse:
		case <-timer.C:
		}
	}
}

func (s *stream) extra(p []byte) error {
	_, err := s.write(p)
	return err
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	if n > 0 && s.heard != nil {
		s.heard()
	}
	if err != nil {
		s.slot.record(err, ByReader)
	}
	return n, err
}

func (s *stream) interrupt() {
	select {
	case s.rouse <- struct{}{}:
	default:
	}
}

func (s *stream) reading(bool) reading { return reading{} }

func (s *stream) socket() syscall.RawConn { return s.raw }

// path knows only how long the write under way has taken.
func (s *stream) path() pathInfo {
	if s.since.IsZero() {
		return pathInfo{}
	}
	return pathInfo{known: true, silence: time.Since(s.since), unanswered: 2, inFlight: true}
}

func (s *stream) takeError(by By) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) { s.slot.takeError(fd, false, by) })
	}
}

func (s *stream) closeWrite() error {
	if w, ok := s.conn.(interface{ CloseWrite() error }); ok && s.since.IsZero() {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *stream) sever() { s.slot.close() }

func (s *stream) close(bool) {
	s.conn.Close()
	close(s.writes)
}
