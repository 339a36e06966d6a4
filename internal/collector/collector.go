// Package collector is a TCP collector that is broken on purpose: for tests,
// for the demonstration, and to compare clients on the same faults.
//
// It reads framed messages, hands each whole one on, and can be told at any
// time to misbehave. How a connection ends decides what can be lost at the
// level Kernel, so there are two kinds of ending. A safe one refuses whatever
// comes later before it reads the rest: what the kernel has acknowledged has
// been read. A destructive one closes on unread data, after writing down what
// it destroys. See [How].
//
// [Ledger] checks on the collector's side, message by message, what became of
// numbered messages.
package collector

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/everconn/everconn/wire"
)

// ErrClosed is returned by methods of a collector that was closed.
var ErrClosed = errors.New("collector: closed")

// Config configures a [Collector]. The zero value reads raw bytes over plain
// TCP and tells nobody.
type Config struct {
	// Framing is what the producer frames its messages with. With wire.Raw,
	// OnMessage is given the bytes as they come.
	Framing wire.Framing
	// Protocol, if not nil, stands in for Framing: it is called for each
	// connection before anything is read, may greet the client, and returns what
	// cuts the stream into messages and answers the client. A nil token is no
	// message. Another one, whose replies go nowhere, looks at unread bytes.
	Protocol func(reply io.Writer) bufio.SplitFunc
	// MaxMessage bounds one message, in bytes. 0 means 1 MiB. A longer one ends
	// the connection.
	MaxMessage int
	// TLS, if not nil, makes every connection a TLS server connection.
	TLS *tls.Config
	// ReadBuffer, if not 0, is the kernel's receive buffer of each connection in
	// bytes (SO_RCVBUF; Linux doubles it): a small one makes a collector that
	// does not read felt soon.
	ReadBuffer int
	// Ordered reads the connections one after another, in the order in which
	// they were accepted. For a single producer this is the order in which it
	// wrote: the rest of an old connection comes before the replay on the next.
	// Without it connections are read at the same time.
	Ordered bool

	// OnMessage, if not nil, is given each whole message, without its framing,
	// also those read while a connection is being ended. msg is valid until it
	// returns. It runs on the connection's goroutine, so with Ordered never
	// twice at a time, and must not call End or Close.
	OnMessage func(msg []byte)
	// OnEnd, if not nil, is told how each connection ended, on the connection's
	// goroutine, after its last message. The same limits hold.
	OnEnd func(Ended)
}

// Collector accepts connections and reads messages until it is closed. All
// methods are safe for concurrent use.
type Collector struct {
	cfg    Config
	addr   string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept loops and connections

	mu sync.Mutex // guards the following
	// listener is nil while connections are refused.
	listener *net.TCPListener
	accepted int
	// turn ends with the connection accepted last.
	turn    <-chan struct{}
	live    map[*conn]struct{}
	changed chan struct{} // closed and replaced when live changes
	resume  chan struct{} // not nil while reading is paused
	scripts []script      // for the connections to come, first one first
}

// script is an ending laid down for a connection before it is accepted.
type script struct {
	after int64
	how   How
}

// Listen starts a collector on addr, a host:port; port 0 picks a free one.
func Listen(addr string, cfg Config) (*Collector, error) {
	if !cfg.Framing.Valid() {
		return nil, fmt.Errorf("collector: Config.Framing is %v; allowed: the framings of package wire", cfg.Framing)
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	close(first)
	c := &Collector{
		cfg: cfg, addr: addr, ctx: ctx, cancel: cancel,
		turn: first, live: map[*conn]struct{}{}, changed: make(chan struct{}),
	}
	if err := c.Reopen(); err != nil {
		cancel()
		return nil, err
	}
	return c, nil
}

// Addr returns the host:port that the collector listens on, also while it
// refuses connections.
func (c *Collector) Addr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addr
}

// Refuse closes the listener: attempts to connect are refused until Reopen.
// Connections that are up stay up. The kernel resets what it had established
// and nobody had accepted, so call it while the producer is connected
// ([Collector.WaitLive]) or not there.
func (c *Collector) Refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener != nil {
		_ = c.listener.Close() // nothing to be done about it
		c.listener = nil
	}
}

// Reopen listens again on the same port after Refuse. It does nothing if the
// collector listens already.
func (c *Collector) Reopen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	if c.listener != nil {
		return nil
	}
	lc := net.ListenConfig{Control: readBufferControl(c.cfg.ReadBuffer)}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(c.ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	listener := l.(*net.TCPListener)
	c.listener = listener
	c.addr = l.Addr().String()
	c.wg.Go(func() { c.accept(listener) })
	return nil
}

// accept takes connections until the listener is closed. It never waits for a
// connection, so that none is left to a listener that is about to close.
func (c *Collector) accept(l *net.TCPListener) {
	for {
		tcp, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, or a connection gone before it was taken.
			time.Sleep(time.Millisecond)
			continue
		}
		c.mu.Lock()
		c.accepted++
		done := make(chan struct{})
		n := &conn{
			collector: c, tcp: tcp, number: c.accepted,
			turn: c.turn, done: done, wake: make(chan struct{}, 1),
		}
		c.turn = done
		c.mu.Unlock()
		c.wg.Go(n.run)
	}
}

// EndAfter lays down the end of a connection to come: it is read for exactly
// n bytes (plaintext under TLS), and then ended. Calls add up: the first is
// for the next connection whose reading begins, the second for the one after
// it. EndAfter(0, Orderly) accepts and closes at once.
func (c *Collector) EndAfter(n int64, how How) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scripts = append(c.scripts, script{after: n, how: how})
}

// End ends the live connections, waits until they have ended, and reports how.
// It returns nil if none is live.
func (c *Collector) End(how How) []Ended {
	c.mu.Lock()
	conns := make([]*conn, 0, len(c.live))
	for n := range c.live {
		n.order = &how
		conns = append(conns, n)
	}
	c.mu.Unlock()
	var all []Ended
	for _, n := range conns {
		n.interrupt()
	}
	for _, n := range conns {
		<-n.done
		all = append(all, n.ended)
	}
	return all
}

// Pause stops reading on all connections, those to come included, until
// Resume. What arrives fills the kernel's buffer, and then closes the window.
func (c *Collector) Pause() {
	c.mu.Lock()
	if c.resume == nil {
		c.resume = make(chan struct{})
	}
	conns := make([]*conn, 0, len(c.live))
	for n := range c.live {
		conns = append(conns, n)
	}
	c.mu.Unlock()
	for _, n := range conns {
		n.interrupt()
	}
}

// Resume reads again after Pause.
func (c *Collector) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resume != nil {
		close(c.resume)
		c.resume = nil
	}
}

// Live returns the number of connections that are up and being read.
func (c *Collector) Live() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.live)
}

// WaitLive waits until a connection is up and being read, or ctx ends.
func (c *Collector) WaitLive(ctx context.Context) error {
	return c.waitLive(ctx, func(n int) bool { return n > 0 })
}

// WaitIdle waits until no connection is being read, or ctx ends. With Ordered,
// a connection whose turn is next counts only once its turn has come.
func (c *Collector) WaitIdle(ctx context.Context) error {
	return c.waitLive(ctx, func(n int) bool { return n == 0 })
}

func (c *Collector) waitLive(ctx context.Context, enough func(int) bool) error {
	for {
		c.mu.Lock()
		n, changed := len(c.live), c.changed
		c.mu.Unlock()
		if enough(n) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// Close stops listening, ends the live connections by Orderly and waits for
// every goroutine. Calling it again does nothing.
func (c *Collector) Close() error {
	c.Refuse()
	c.cancel() // no Reopen from here on, and no wait outlives it
	c.Refuse()
	c.Resume()
	c.End(Orderly)
	c.wg.Wait()
	return nil
}

// begin makes n live and takes the script that waits for it.
func (c *Collector) begin(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.limit = -1
	if len(c.scripts) > 0 {
		n.limit, n.how = c.scripts[0].after, c.scripts[0].how
		c.scripts = c.scripts[1:]
	}
	if c.ctx.Err() != nil {
		how := Orderly
		n.order = &how
	}
	c.live[n] = struct{}{}
	c.announce()
}

func (c *Collector) finish(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, n)
	c.announce()
}

// announce must be called with mu held.
func (c *Collector) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}
