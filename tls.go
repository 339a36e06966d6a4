//go:build unix

package everconn

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// tlsPiece is the most plaintext between two mapping points, and in one record.
const tlsPiece = 16 << 10

// A mapPoint says that the outbox bytes before plain are in the socket's bytes
// before cipher.
type mapPoint struct{ plain, cipher uint64 }

// A tlsLink is TLS over a sock. The kernel's count is of ciphertext; mapping
// points tell which plaintext it covers.
type tlsLink struct {
	*sock
	conn    *tls.Conn
	plain   uint64 // outbox bytes written
	points  []mapPoint
	done    uint64 // outbox bytes acknowledged, by the points passed
	writing atomic.Bool
}

func newTLSLink(s *sock, conn *tls.Conn) *tlsLink { return &tlsLink{sock: s, conn: conn} }

// arm gives the sock a ticker that is run only while run is writing. crypto/tls
// also writes on the reader's goroutine (a KeyUpdate's answer); then run, if it
// wants to write, waits for crypto/tls's lock, and the reader ticks for it.
func (t *tlsLink) arm(tick ticker, heard func()) {
	t.sock.arm(func() (time.Duration, error) {
		if t.writing.Load() {
			return tick()
		}
		return readLongest, nil
	}, heard)
}

func (t *tlsLink) Read(p []byte) (int, error) {
	n, err := t.conn.Read(p)
	if err != nil {
		t.slot.record(err, ByReader)
	}
	return n, err
}

func (t *tlsLink) write(p []byte) (int, error) {
	t.writing.Store(true)
	defer t.writing.Store(false)
	n, err := t.conn.Write(p)
	if err != nil && !errors.Is(err, errOver) { // then the slot says more
		t.slot.record(err, BySend)
	}
	return n, err
}

func (t *tlsLink) push(src source) error {
	var one [1][]byte
	bufs := src.take(one[:0], tlsPiece)
	if len(bufs) == 0 {
		src.wrote(0)
		return nil
	}
	n, err := t.write(bufs[0][:min(len(bufs[0]), tlsPiece)])
	src.wrote(n)
	t.mark(n)
	return err
}

// mark adds a mapping point, or moves the last one as long as it covers less
// than tlsPiece.
func (t *tlsLink) mark(n int) {
	t.plain += uint64(n)
	point := mapPoint{t.plain, t.total()}
	before := t.done
	if k := len(t.points); k > 1 {
		before = t.points[k-2].plain
	}
	if k := len(t.points); k > 0 && t.plain-before <= tlsPiece {
		t.points[k-1] = point
		return
	}
	t.points = append(t.points, point)
}

func (t *tlsLink) extra(p []byte) error {
	_, err := t.write(p)
	return err
}

func (t *tlsLink) reading(final bool) reading {
	r, acked := t.readSocket(final)
	passed := 0
	for passed < len(t.points) && t.points[passed].cipher <= acked {
		t.done = t.points[passed].plain
		passed++
	}
	t.points = append(t.points[:0], t.points[passed:]...)
	if len(t.points) == 0 {
		t.points = nil
	}
	r.acked = t.done
	return r
}

// closeWrite sends close_notify, which authenticates the end, and then FIN.
func (t *tlsLink) closeWrite() error {
	t.writing.Store(true)
	err := t.conn.CloseWrite()
	t.writing.Store(false)
	if err != nil {
		return err
	}
	return t.sock.closeWrite()
}
