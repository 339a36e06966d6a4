package everconn

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"
)

// A Client keeps one connection to a collector alive and sends messages over
// it. Make one with [New] or [Dial]; end it with [Client.Shutdown] or
// [Client.Close]. All methods may be called by any number of goroutines at the
// same time, and from OnEvent and OnDrop.
type Client struct {
	opts      Options // with defaults; not changed
	endpoints []string
	born      time.Time // zero of the client's clock, which is monotonic
	events    notifier
	beat      []byte   // the framed heartbeat
	watcher   *watcher // of run; nil until a connection is a socket

	wake     chan struct{} // tells run to look again
	refusing chan struct{} // closed when no more messages are accepted
	closing  chan struct{} // closed when run must end now
	stopped  chan struct{} // closed when run has ended
	done     chan struct{} // closed when all goroutines have
	running  sync.WaitGroup

	mu       sync.Mutex // guards the following; never held across I/O or user code
	ob       outbox
	senders  list.List      // of *roomWaiter
	confirms confirmWaiters // a heap
	phase    phase
	err      error         // why it stopped by itself, or why Shutdown gave up
	asleep   bool          // run waits for messages
	dozing   bool          // run waits, and its readings are rare
	hurry    bool          // Flush wants a reading
	again    bool          // Reconnect was called
	live     *live         // the connection that is up
	changed  chan struct{} // closed at the next change of state
	status   status
}

// phase is how far a client has come.
type phase uint8

const (
	phaseOpen    phase = iota
	phaseDrain         // Shutdown: no more messages are accepted
	phaseClosing       // run is ending
	phaseStopped       // run has ended; the outbox does not change any more
)

// status is the part of Stats that run writes.
type status struct {
	state      State
	level      Level
	endpoint   string
	reconnects uint64
	attempts   uint64
	lastCause  error
	hopeless   error // every endpoint's last answer will not change by waiting
}

// New returns a client for the collector at addr and connects in the
// background; Send works at once. addr is host:port, or several of them with
// commas between, which are tried in order (see Options.Shuffle). A nil o means
// the defaults. The error is about the arguments.
func New(addr string, o *Options) (*Client, error) {
	if o == nil {
		o = &Options{}
	}
	opts := o.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	endpoints, err := parseEndpoints(addr, opts.DialContext != nil)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts:      opts,
		endpoints: endpoints,
		born:      time.Now(),
		wake:      make(chan struct{}, 1),
		refusing:  make(chan struct{}),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
		done:      make(chan struct{}),
		changed:   make(chan struct{}),
		ob:        newOutbox(opts.Framing, opts.Buffer.MaxBytes),
		status:    status{level: opts.Confirm},
	}
	c.events.c = c
	if opts.Heartbeat.Interval > 0 {
		c.beat = opts.Framing.Append(nil, opts.Heartbeat.Payload)
	}
	c.running.Add(1)
	go c.run()
	return c, nil
}

// Dial is New, and waits for the first connection. If ctx ends before that, or
// if a certificate is refused, the client is closed and the error wraps the
// last cause.
func Dial(ctx context.Context, addr string, o *Options) (*Client, error) {
	c, err := New(addr, o)
	if err != nil {
		return nil, err
	}
	if err := c.waitConnected(ctx, true); err != nil {
		c.Close()
		if cause := c.Stats().LastCause; cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return nil, err
	}
	return c, nil
}

// Send accepts a copy of msg; it does not wait until that is written. It
// returns nil if the message was accepted, and then the message is confirmed,
// counted as dropped, or handed back by Undelivered. An error, or a ctx that
// has ended, never accepts. The errors are those of the framing (package wire),
// ErrTooLarge, ErrFull, one that wraps ErrClosed, and ctx's.
func (c *Client) Send(ctx context.Context, msg []byte) error {
	_, err := c.send(ctx, msg, true)
	return err
}

// SendSeq is Send and also returns the message's number: 1 for the first, and
// one more for each. See Confirmed and WaitConfirmed.
func (c *Client) SendSeq(ctx context.Context, msg []byte) (seq uint64, err error) {
	return c.send(ctx, msg, true)
}

// TrySend is Send without waiting: where Send would wait it returns ErrFull.
func (c *Client) TrySend(msg []byte) error {
	_, err := c.send(context.Background(), msg, false)
	return err
}

func (c *Client) send(ctx context.Context, msg []byte, wait bool) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := c.opts.Framing.Check(msg); err != nil {
		return 0, err
	}
	cost := c.ob.cost(len(msg))
	if cost > c.opts.Buffer.MaxBytes {
		return 0, fmt.Errorf("%w: %d bytes cost %d of %d (Buffer.MaxBytes)", ErrTooLarge, len(msg), cost, c.opts.Buffer.MaxBytes)
	}
	c.mu.Lock()
	if c.phase != phaseOpen {
		defer c.mu.Unlock()
		return 0, c.closedError()
	}
	if c.senders.Len() > 0 || !c.ob.fits(cost) {
		return c.sendFull(ctx, msg, cost, wait)
	}
	return c.acceptUnlock(msg), nil
}

// acceptUnlock accepts a message for which there is room, and wakes run if it
// sleeps. Client.mu is held, and unlocked.
func (c *Client) acceptUnlock(msg []byte) uint64 {
	var at uint32
	if c.opts.Buffer.MaxAge > 0 {
		at = c.clock()
	}
	seq := c.ob.accept(msg, at)
	rouse := c.asleep
	c.asleep = false
	c.mu.Unlock()
	if rouse {
		c.rouse()
	}
	return seq
}

// clock is the client's age in milliseconds. It wraps around after 49 days.
func (c *Client) clock() uint32 { return uint32(time.Since(c.born).Milliseconds()) }

// rouse makes a sleeping run look again.
func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// poke is rouse, and also reaches a run that waits in a write.
func (c *Client) poke() {
	c.mu.Lock()
	l := c.live
	c.mu.Unlock()
	c.rouse()
	if l != nil {
		l.link.interrupt()
	}
}

// Writer returns a writer whose every Write is one Send without a deadline. It
// must be given whole messages, as log packages do.
func (c *Client) Writer() io.Writer { return clientWriter{c} }

type clientWriter struct{ c *Client }

func (w clientWriter) Write(p []byte) (int, error) {
	if err := w.c.Send(context.Background(), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Shutdown refuses new messages, waits until all accepted ones are confirmed,
// half-closes the connection, waits for the peer to end its side (at most
// Liveness.DeadAfter), and closes. If ctx ends first it closes at once. It
// returns an *UndeliveredError if anything was left, or nil. A second call, or
// one during Close, waits likewise and returns the same.
func (c *Client) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	if c.phase == phaseOpen {
		c.phase = phaseDrain
		close(c.refusing)
	}
	c.mu.Unlock()
	c.poke()
	select {
	case <-c.stopped:
	case <-ctx.Done():
		c.stop(endOf(ctx))
		<-c.stopped
	}
	return c.result()
}

// endOf is why ctx ended: its error and, if it was given one, its cause.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

// Close closes at once. It waits for the client's goroutines, but not for one
// that is inside a function of yours: its ctx is cancelled, its conn is closed,
// and it ends when the function returns; see Done. It returns an
// *UndeliveredError if any accepted message was neither confirmed nor dropped,
// or nil; the messages are in Undelivered. It may be called again, and returns
// the same.
func (c *Client) Close() error {
	c.stop(nil)
	<-c.stopped
	return c.result()
}

// stop makes run end now, because of err if it is not nil.
func (c *Client) stop(err error) {
	c.mu.Lock()
	if c.phase >= phaseClosing {
		c.mu.Unlock()
		return
	}
	if c.phase == phaseOpen {
		close(c.refusing)
	}
	c.phase = phaseClosing
	c.err = err
	close(c.closing)
	c.mu.Unlock()
	c.poke()
}

func (c *Client) result() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.ob.left(); left.Messages > 0 {
		return &UndeliveredError{Messages: left.Messages, Bytes: left.Bytes, Cause: c.err}
	}
	return nil
}

// closedError is ErrClosed with its reason. Client.mu is held.
func (c *Client) closedError() error {
	if c.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, c.err)
	}
	return ErrClosed
}

// Done returns a channel that is closed when the client has closed and all its
// goroutines have ended, those inside functions of yours included.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the client closed by itself: an error of OnConnect or
// DialContext wrapped by backoff.Permanent, or a refused certificate with
// StopOnTLSError. It returns ctx's error if the end of Shutdown's ctx closed
// it, and nil if it is open or was closed by Close.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Undelivered yields, once the client has closed, every message that was
// accepted and is neither confirmed nor dropped, as it was given to Send, the
// oldest first. The slices are copies. It may be called again. Before the
// client has closed it yields nothing.
func (c *Client) Undelivered() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		select {
		case <-c.stopped:
			c.ob.each(yield) // nothing changes it any more
		default:
		}
	}
}

// WaitConnected waits until a connection is up. It returns ctx's error if that
// ends first, and an error wrapping ErrClosed if the client closes first.
func (c *Client) WaitConnected(ctx context.Context) error { return c.waitConnected(ctx, false) }

func (c *Client) waitConnected(ctx context.Context, orHopeless bool) error {
	for {
		c.mu.Lock()
		state, changed, hopeless, closed := c.status.state, c.changed, c.status.hopeless, c.closedError()
		c.mu.Unlock()
		switch {
		case state == Connected || state == Stalled:
			return nil
		case state == Closed:
			return closed
		case orHopeless && hopeless != nil:
			return hopeless
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Reconnect ends the connection, if there is one, and opens a new one without
// waiting; one that is being opened at the call is ended likewise. What is not
// confirmed is sent again.
func (c *Client) Reconnect() {
	c.mu.Lock()
	c.again = true
	c.mu.Unlock()
	c.poke()
}

// State returns what the client is doing about its connection.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.state
}

// Stats returns one consistent snapshot.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, s := &c.ob.stats, &c.status
	return Stats{
		State:       s.state,
		Level:       s.level,
		Endpoint:    s.endpoint,
		Accepted:    o.accepted,
		Written:     o.written,
		Confirmed:   o.confirmed,
		Resent:      o.resent,
		Dropped:     o.dropped,
		Queued:      o.queued,
		InFlight:    o.inFlight,
		Reconnects:  s.reconnects,
		Attempts:    s.attempts,
		HeadReplays: c.ob.headReplays(),
		LastCause:   s.lastCause,
	}
}

// setStatus changes the status and tells those who wait for a change.
func (c *Client) setStatus(change func(*status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
	close(c.changed)
	c.changed = make(chan struct{})
}
