package everconn

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// provenAfter is how long a connection must have lived, at least, for the
// backoff to begin anew. That the peer's kernel acknowledged bytes proves
// nothing: most connections that are accepted and closed at once have some.
const provenAfter = 2 * time.Second

// A manager is run's: it owns the connection, the backoff and the state.
type manager struct {
	c       *Client
	backoff *backoff.ExponentialBackOff
	targets targets
	outage  outage
	waited  time.Duration // before the present attempt
	reader  chan struct{} // closed when the last connection's reader has ended
}

// run is the client's goroutine: dial, greet, replay, write, back off. It alone
// writes, and it alone closes a connection.
func (c *Client) run() {
	defer c.running.Done()
	m := &manager{c: c, backoff: newBackoff(c.opts.Backoff), targets: newTargets(c)}
	err := m.loop()
	m.stop(err)
}

// newBackoff is full jitter: with RandomizationFactor 1 a wait is drawn between
// 0 and twice the interval.
func newBackoff(b Backoff) *backoff.ExponentialBackOff {
	e := backoff.NewExponentialBackOff()
	e.RandomizationFactor = 1
	e.Multiplier = 2
	e.InitialInterval = b.Base / 2
	e.MaxInterval = b.Cap / 2
	e.MaxElapsedTime = 0 // never stop
	e.Reset()
	return e
}

// loop keeps a connection up until the client is to close. It returns why the
// client stops by itself, or nil.
func (m *manager) loop() error {
	for {
		l, err := m.connect()
		if l == nil {
			return err
		}
		if m.serve(l) {
			return nil
		}
	}
}

// connect tries until a connection is up. It returns nil when the client is to
// close, with the reason if it stops by itself.
func (m *manager) connect() (*live, error) {
	c := m.c
	for {
		if c.ending() {
			return nil, nil
		}
		c.mu.Lock()
		c.again = false // this attempt is what Reconnect asked for
		c.mu.Unlock()
		endpoint := m.targets.next()
		c.setStatus(func(s *status) {
			s.state, s.endpoint = Connecting, endpoint
			s.attempts++
		})
		c.tell(Event{Kind: EventConnecting})
		l, cerr := m.attempt(endpoint)
		if cerr == nil {
			return l, nil
		}
		if errors.Is(cerr, context.Canceled) && c.ending() {
			return nil, nil
		}
		certificate := certificateError(cerr)
		c.setStatus(func(s *status) { s.hopeless = m.targets.hopeless(endpoint, cerr, certificate) })
		if m.targets.refusedByAll(c.opts.StopOnTLSError) {
			m.failed(EventAttemptFailed, cerr, 0, Count{})
			return nil, cerr
		}
		m.wait(EventAttemptFailed, cerr, certificate, Count{})
	}
}

// serve uses a connection until it is over, and waits before the next one. It
// reports whether the client is to close.
func (m *manager) serve(l *live) (done bool) {
	c := m.c
	m.announce(l)
	orderly := l.serve()
	_, eof, cause := l.slot.get()
	var reason error
	switch {
	case orderly && c.ending():
		reason = ErrClosed
		l.finish(c.opts.Liveness.DeadAfter, true)
	case orderly:
		reason = ErrConnAge
		l.finish(c.opts.Liveness.DeadAfter, false)
	case eof && !strongCause(cause):
		l.finish(finWait, false)
	}
	cerr, unconfirmed := l.end(reason)
	m.reader = l.readerEnded
	c.poisoned()
	lived := time.Since(l.born)
	if lived >= max(provenAfter, m.waited) {
		m.backoff.Reset()
		m.targets.proven()
	}
	if c.ending() {
		m.failed(EventDisconnected, cerr, 0, unconfirmed)
		return true
	}
	if errors.Is(cerr, ErrReconnect) || errors.Is(cerr, ErrConnAge) {
		m.waited = 0
		m.failed(EventDisconnected, cerr, 0, unconfirmed)
		return false
	}
	certificate := certificateError(cerr)
	if certificate { // a client certificate is refused after the handshake (TLS 1.3)
		c.setStatus(func(s *status) { s.hopeless = m.targets.hopeless(l.endpoint, cerr, true) })
		if m.targets.refusedByAll(c.opts.StopOnTLSError) {
			m.failed(EventDisconnected, cerr, 0, unconfirmed)
			c.stop(cerr)
			return true
		}
	}
	m.wait(EventDisconnected, cerr, certificate, unconfirmed)
	return false
}

// announce tells everybody that a connection is up.
func (m *manager) announce(l *live) {
	c := m.c
	c.mu.Lock()
	c.live = l
	c.mu.Unlock()
	c.setStatus(func(s *status) {
		if m.outage.connected {
			s.reconnects++
		}
		s.state, s.level = Connected, l.level
		s.hopeless = nil
	})
	down := m.outage.over(c, l)
	if l.level != c.opts.Confirm {
		c.tell(Event{Kind: EventLevel})
	}
	c.tell(Event{Kind: EventConnected, Down: down})
}

// wait sleeps before the next attempt: a wait drawn from the backoff, or from
// its cap after a certificate was refused, cut short by Reconnect and by the
// end.
func (m *manager) wait(kind EventKind, cerr *ConnError, atCap bool, unconfirmed Count) {
	c := m.c
	m.waited = m.backoff.NextBackOff()
	if atCap {
		m.waited = rand.N(c.opts.Backoff.Cap)
	}
	m.failed(kind, cerr, m.waited, unconfirmed)
	timer := time.NewTimer(m.waited)
	defer timer.Stop()
	expiry := time.NewTimer(longWait)
	defer expiry.Stop()
	for {
		c.mu.Lock()
		c.expire()
		stop := c.again || c.phase >= phaseClosing || c.drained()
		c.again = false
		c.mu.Unlock()
		if stop {
			return
		}
		if at := c.nextExpiry(); !at.IsZero() {
			expiry.Reset(time.Until(at))
		}
		select {
		case <-timer.C:
			return
		case <-expiry.C:
		case <-c.wake:
		}
	}
}

// failed tells everybody that an attempt or a connection has failed.
func (m *manager) failed(kind EventKind, cerr *ConnError, wait time.Duration, unconfirmed Count) {
	c := m.c
	c.setStatus(func(s *status) {
		s.state = Waiting
		if cerr.By != ByClient { // our own doing is no failure
			s.lastCause = cerr
		}
	})
	m.outage.failure(c, cerr, wait, unconfirmed)
	c.tell(Event{Kind: kind, Cause: cerr, Wait: wait, Unconfirmed: unconfirmed})
}

// stop ends run: nothing changes the outbox after it.
func (m *manager) stop(err error) {
	c := m.c
	c.stop(err)
	if c.watcher != nil {
		releaseWatcher()
	}
	c.mu.Lock()
	c.phase = phaseStopped
	err = c.err
	c.mu.Unlock()
	c.setStatus(func(s *status) { s.state = Closed })
	c.logClosed(err)
	c.tell(Event{Kind: EventClosed, Cause: err})
	close(c.stopped)
	go func() {
		c.running.Wait()
		close(c.done)
	}()
}

// ending reports whether run must end.
func (c *Client) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase >= phaseClosing || c.drained()
}

// tell queues an event, with the state as it is.
func (c *Client) tell(e Event) {
	c.mu.Lock()
	s := c.status
	c.mu.Unlock()
	e.State, e.Level, e.Endpoint, e.Attempt = s.state, s.level, s.endpoint, s.attempts
	c.events.event(e)
}
