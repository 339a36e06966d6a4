package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/everconn/everconn/wire"
)

// collector accepts connections and reads each on a goroutine of its own.
type collector struct {
	listener  *net.TCPListener
	framing   wire.Framing
	limit     int // the longest message, in bytes
	keepAlive net.KeepAliveConfig
	tls       *tls.Config // nil: plain TCP
	out       *os.File    // nil: count only
	told      collectorLog

	wg     sync.WaitGroup
	failed sync.Once
	fatal  chan error // why the output failed; holds one

	mu sync.Mutex // guards the following
	// open holds the connections being read.
	open map[*net.TCPConn]struct{}
	// stopping is set once every open connection has been told to end.
	stopping bool
	total    totals
}

func listen(ctx context.Context, address string) (*net.TCPListener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// run collects until stop ends or the output fails, and returns once every
// connection is closed. When force ends it does not wait for them to be read.
func (c *collector) run(stop, force context.Context) (totals, error) {
	c.fatal = make(chan error, 1)
	c.open = make(map[*net.TCPConn]struct{})
	c.total.Ended = make(map[ending]uint64)
	accepted := make(chan error, 1)
	go func() { accepted <- c.accept() }()

	var failure error
	select {
	case <-stop.Done():
	case failure = <-c.fatal:
	case failure = <-accepted:
		accepted <- nil
	}
	// Connections may be waiting in the accept queue, with data that the kernel
	// has acknowledged: go on accepting for a moment, then close.
	c.endAll()
	c.listener.SetDeadline(time.Now().Add(acceptRest))
	err := <-accepted
	c.listener.Close()
	defer context.AfterFunc(force, c.closeAll)()
	c.wg.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case lost := <-c.fatal:
		failure = errors.Join(failure, lost)
	default:
	}
	return c.total, errors.Join(failure, err)
}

// acceptRest is how long a stopping collector empties its accept queue.
const acceptRest = 20 * time.Millisecond

// accept starts the reading of each connection, until the listener's deadline.
func (c *collector) accept() error {
	for {
		conn, err := c.listener.AcceptTCP()
		switch {
		case err == nil:
			c.start(conn)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case temporary(err):
			c.told.trouble("accept", err)
			time.Sleep(50 * time.Millisecond) // out of descriptors, say: let some be closed
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// temporary reports whether accepting may work again; net.Error has no better
// word for it.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (c *collector) start(conn *net.TCPConn) {
	c.mu.Lock()
	c.open[conn] = struct{}{}
	c.total.Connections++
	stopping := c.stopping
	c.mu.Unlock()
	if stopping {
		refuse(conn)
	}
	c.wg.Go(func() {
		s := c.read(conn)
		c.mu.Lock()
		delete(c.open, conn)
		c.total.add(s)
		c.mu.Unlock()
		if s.End == endStopped {
			closeRefused(conn)
		} else {
			conn.Close()
		}
		c.told.ended(s)
	})
}

// endAll ends every connection, those accepted later included.
func (c *collector) endAll() {
	c.mu.Lock()
	c.stopping = true
	conns := c.openConns()
	c.mu.Unlock()
	for _, conn := range conns {
		refuse(conn)
	}
}

// closeAll closes every connection without reading on.
func (c *collector) closeAll() {
	c.mu.Lock()
	conns := c.openConns()
	c.total.Unread += uint64(len(conns))
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

// openConns is called with mu held.
func (c *collector) openConns() []*net.TCPConn {
	conns := make([]*net.TCPConn, 0, len(c.open))
	for conn := range c.open {
		conns = append(conns, conn)
	}
	return conns
}

// fail ends the collecting: err is what made the output unusable.
func (c *collector) fail(err error) {
	c.failed.Do(func() { c.fatal <- err })
}
