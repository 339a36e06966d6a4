package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/everconn/everconn/wire"
)

// session is what one connection brought.
type session struct {
	Peer string `json:"peer"`
	// End says how it ended; Cause is the error, if there was one.
	End   ending `json:"end"`
	Cause string `json:"cause,omitempty"`
	// Messages counts whole messages, Bytes all bytes, framing included.
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// Incomplete is how many bytes at the end belong to no whole message.
	Incomplete uint64 `json:"incomplete"`
	// Unwritten counts messages (under raw framing: bytes) that could not be
	// written to the output.
	Unwritten uint64  `json:"unwritten"`
	Seconds   float64 `json:"seconds"`
}

const (
	readSize         = 64 << 10
	handshakeTimeout = 10 * time.Second
)

// read reads one connection to its end.
func (c *collector) read(conn *net.TCPConn) session {
	began := time.Now()
	s := session{Peer: conn.RemoteAddr().String()}
	if err := conn.SetKeepAliveConfig(c.keepAlive); err != nil {
		c.told.trouble("keepalive on "+s.Peer, err)
	}
	err := c.readMessages(conn, &s)
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	s.End = endingOf(err, stopping)
	if err != nil && s.End != endFIN && s.End != endStopped {
		s.Cause = err.Error()
	}
	s.Seconds = time.Since(began).Seconds()
	return s
}

// readMessages returns the error that ended the reading; nil means EOF.
func (c *collector) readMessages(conn *net.TCPConn, s *session) error {
	src := &source{r: conn}
	if c.tls != nil {
		secure := tls.Server(conn, c.tls)
		conn.SetDeadline(time.Now().Add(handshakeTimeout))
		if err := secure.Handshake(); err != nil {
			return fmt.Errorf("%w: %w", errHandshake, err)
		}
		conn.SetDeadline(time.Time{})
		src.r = secure
	}
	batch := &batch{c: c, s: s}
	src.beforeRead = batch.flush

	var consumed uint64
	scanner := bufio.NewScanner(bufio.NewReaderSize(src, readSize))
	scanner.Buffer(make([]byte, 0, readSize), c.limit+framePrefix)
	split := c.framing.Split(c.limit)
	scanner.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		n, token, err := split(data, atEOF)
		consumed += uint64(n)
		return n, token, err
	})
	for scanner.Scan() {
		batch.add(scanner.Bytes())
	}
	batch.flush()
	s.Bytes = src.bytes
	s.Incomplete = src.bytes - consumed
	if src.err != nil && src.err != io.EOF {
		return src.err
	}
	if err := scanner.Err(); src.err == nil {
		return err // the stream does not follow the framing
	}
	return nil
}

// framePrefix is the room that wire.Framing.Split wants beside a message.
const framePrefix = 11

// source counts what is read and keeps the first error.
type source struct {
	r          io.Reader
	beforeRead func()
	bytes      uint64
	err        error
}

func (s *source) Read(p []byte) (int, error) {
	s.beforeRead()
	n, err := s.r.Read(p)
	s.bytes += uint64(n)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// batch gathers messages for the output until the connection has to be waited
// for, so that nothing is ever held back while nothing arrives.
type batch struct {
	c        *collector
	s        *session
	data     []byte
	messages uint64
}

// add takes one message.
func (b *batch) add(msg []byte) {
	raw := b.c.framing == wire.Raw
	if !raw {
		b.s.Messages++
	}
	if b.c.out == nil {
		return
	}
	b.data = append(b.data, msg...)
	if raw {
		b.messages += uint64(len(msg))
	} else {
		b.data = append(b.data, '\n')
		b.messages++
	}
	if len(b.data) >= readSize {
		b.flush()
	}
}

// flush writes the batch by one Write: writes to an os.File from several
// goroutines do not mix.
func (b *batch) flush() {
	if len(b.data) == 0 {
		return
	}
	if _, err := b.c.out.Write(b.data); err != nil {
		b.s.Unwritten += b.messages
		b.c.fail(fmt.Errorf("--out: %w", err))
	}
	b.data, b.messages = b.data[:0], 0
}
