package collector

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	readSize         = 64 << 10
	handshakeTimeout = 10 * time.Second
)

// conn is one accepted connection. Its goroutine alone reads, ends and closes
// it; others leave an order and interrupt.
type conn struct {
	collector *Collector
	tcp       *net.TCPConn
	number    int
	turn      <-chan struct{} // closed when the connection before it has ended
	done      chan struct{}   // closed when this one has ended
	wake      chan struct{}   // interrupts a pause

	order *How // guarded by collector.mu

	// The goroutine's own.
	stream  io.ReadWriter // tcp, or TLS above it
	decoder decoder
	limit   int64 // bytes to read before how is due; -1: no limit
	how     How
	ended   Ended // for others once done is closed
}

func (n *conn) run() {
	c := n.collector
	defer close(n.done)
	n.ended.Conn = n.number
	err := n.handshake()
	n.decoder = newDecoder(c.cfg, replies{n}, n.message)
	if c.cfg.Ordered {
		<-n.turn
	}
	if err != nil {
		n.ended.How, n.ended.Err = ByPeer, err
		_ = n.tcp.Close()
	} else {
		c.begin(n)
		n.end(n.read())
		c.finish(n)
	}
	n.ended.Fragment, n.ended.Rest = n.decoder.rest()
	if c.cfg.OnEnd != nil {
		c.cfg.OnEnd(n.ended)
	}
}

// handshake sets stream. It is not interrupted by orders: a client that has
// finished its side may already have sent messages, which only a finished
// handshake can read.
func (n *conn) handshake() error {
	n.stream = n.tcp
	if n.collector.cfg.TLS == nil {
		return nil
	}
	server := tls.Server(n.tcp, n.collector.cfg.TLS)
	if err := n.tcp.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := server.HandshakeContext(n.collector.ctx); err != nil {
		return err
	}
	n.stream = server
	return n.tcp.SetDeadline(time.Time{})
}

// read reads until the peer ends the connection (ByPeer) or an ending is due.
// err is what went wrong, if anything did.
func (n *conn) read() (How, error) {
	buf := make([]byte, readSize)
	for {
		if how, due := n.due(); due {
			return how, nil
		}
		err := n.take(buf[:n.room(len(buf))])
		switch {
		case n.decoder.err != nil:
			return Orderly, n.decoder.err
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Interrupted. The deadline is lifted before due looks for the
			// order, so that an order given in between interrupts again.
			if err := n.tcp.SetReadDeadline(time.Time{}); err != nil {
				return ByPeer, err
			}
		case errors.Is(err, io.EOF):
			return ByPeer, nil
		default:
			return ByPeer, err
		}
	}
}

// replies writes what a Protocol answers. A client that does not read it cannot
// hold the collector up.
type replies struct{ n *conn }

func (r replies) Write(p []byte) (int, error) {
	if err := r.n.tcp.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	return r.n.stream.Write(p)
}

// take reads once and decodes what came.
func (n *conn) take(buf []byte) error {
	got, err := n.stream.Read(buf)
	n.ended.Bytes += int64(got)
	n.decoder.feed(buf[:got])
	return err
}

// room returns how many of size bytes may be read before the limit.
func (n *conn) room(size int) int {
	if n.limit < 0 {
		return size
	}
	return int(min(int64(size), n.limit-n.ended.Bytes))
}

// due waits while reading is paused, and reports whether the connection is to
// be ended.
func (n *conn) due() (How, bool) {
	for {
		n.collector.mu.Lock()
		order, resume := n.order, n.collector.resume
		n.collector.mu.Unlock()
		switch {
		case order != nil:
			return *order, true
		case n.limit >= 0 && n.ended.Bytes >= n.limit:
			return n.how, true
		case resume == nil:
			return 0, false
		}
		select {
		case <-resume:
		case <-n.wake:
		}
	}
}

// interrupt makes the goroutine look for an order or a pause. It is called
// without a lock.
func (n *conn) interrupt() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
	_ = n.tcp.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed conn
}

func (n *conn) message(msg []byte) {
	n.ended.Messages++
	if n.collector.cfg.OnMessage != nil {
		n.collector.cfg.OnMessage(msg)
	}
}
