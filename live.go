package everconn

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// finWait bounds how long a connection that the peer has half-closed is
	// kept for the last acknowledgements.
	finWait = time.Second
	// longWait stands for "no timer".
	longWait = time.Hour
)

// A live is one connection that is up. It belongs to run.
type live struct {
	c        *Client
	endpoint string
	link     link
	slot     *causeSlot
	watch    *watch // nil if nobody watches
	confirm  confirmer
	level    Level
	tls      bool
	born     time.Time
	expires  time.Time // of MaxConnAge; zero: never
	sent     uint64    // outbox bytes written

	sched     schedule
	waitSince time.Time // bytes have been outstanding since; zero: none are
	nextJudge time.Time
	stalled   time.Time    // the peer's window has been closed since; zero: it is open
	nextBeat  time.Time    // a heartbeat is due; zero: none
	finishing bool         // we have half-closed: EOF is what we wait for
	limit     time.Time    // of the finishing
	heard     atomic.Int64 // when something was last received, in ns after born

	readerEnded chan struct{} // nil if there is no reader
}

// take lends what is to be written; see outbox.take.
func (l *live) take(bufs [][]byte, limit int) [][]byte {
	if l.full() {
		limit = 0
	}
	l.c.mu.Lock()
	l.c.expire()
	bufs = l.c.ob.take(bufs, limit)
	l.c.mu.Unlock()
	if len(bufs) > 0 && l.waitSince.IsZero() {
		l.waitSince = time.Now()
		l.nextJudge = l.waitSince.Add(l.c.opts.Liveness.checkEvery())
	}
	return bufs
}

// full reports whether the connection has had its last message.
func (l *live) full() bool { return !l.expires.IsZero() && time.Now().After(l.expires) }

// wrote ends the loan.
func (l *live) wrote(n int) {
	l.c.mu.Lock()
	l.c.ob.wrote(n)
	l.c.mu.Unlock()
	if n == 0 {
		return
	}
	l.sent += uint64(n)
	l.sched.wrote(n, time.Now())
	if l.level == Written {
		l.settle(reading{}, false)
	}
}

// serve writes, reads the send-queue and applies the rules, until the
// connection is over. It reports whether the end is in good order: nothing is
// partly written.
func (l *live) serve() (orderly bool) {
	timer := time.NewTimer(longWait)
	defer timer.Stop()
	for {
		wait, err := l.tick()
		if err != nil {
			return false
		}
		if l.ready() {
			if l.complete() {
				return true
			}
			if err := l.step(); err != nil {
				return false
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-l.c.wake:
		case <-timer.C:
		}
	}
}

// ready reports whether there is something to do now. If not, run sleeps.
func (l *live) ready() bool {
	beat := l.beatDue()
	full := l.full()
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep = !(c.ob.unwritten() || beat || full || c.drained())
	return !c.asleep
}

// drained reports whether Shutdown has nothing more to wait for. Client.mu is
// held.
func (c *Client) drained() bool {
	return c.phase == phaseDrain && c.ob.left().Messages == 0
}

// complete reports whether the connection has done its work: its age is reached
// and no message is partly written, or Shutdown has all confirmed.
func (l *live) complete() bool {
	full := l.full()
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.drained() || full && l.c.ob.part == 0
}

// step writes some of what is to be written.
func (l *live) step() error {
	if l.beatDue() && l.atBoundary() {
		l.nextBeat = time.Now().Add(l.c.opts.Heartbeat.Interval)
		return l.link.extra(l.c.beat)
	}
	return l.link.push(l)
}

// atBoundary reports whether no message is partly written.
func (l *live) atBoundary() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.ob.part == 0
}

func (l *live) beatDue() bool { return !l.nextBeat.IsZero() && !time.Now().Before(l.nextBeat) }

// tick does what is due, and returns how long nothing will be, or errOver. It
// is called between writes, and while one waits.
func (l *live) tick() (time.Duration, error) {
	now := time.Now()
	pressed := l.obey(now)
	l.hear(now)
	if l.slot.ended(l.finishing || l.c.opts.Liveness.AllowHalfOpen) || l.late(now) {
		return 0, errOver
	}
	if due := l.sched.due; !due.IsZero() && !now.Before(due) {
		l.read(now, pressed)
	}
	if !l.waitSince.IsZero() && !now.Before(l.nextJudge) {
		if !l.judge(now) {
			return 0, errOver
		}
	}
	return l.nextDue().Sub(now), nil
}

// obey looks at what other goroutines want. It reports whether a sender waits
// for room.
func (l *live) obey(now time.Time) (pressed bool) {
	c := l.c
	c.mu.Lock()
	closing, again, hurry := c.phase >= phaseClosing, c.again, c.hurry
	pressed = c.senders.Len() > 0
	c.again, c.hurry, c.dozing = false, false, !pressed
	c.expire()
	c.mu.Unlock()
	switch {
	case closing:
		l.slot.record(ErrClosed, ByClient)
	case again && !l.finishing:
		l.slot.record(ErrReconnect, ByClient)
	}
	if hurry || pressed {
		l.sched.hasten(now)
	}
	return pressed
}

// late reports whether the finishing has taken too long, or the connection is
// long past its age and cannot even end a message.
func (l *live) late(now time.Time) bool {
	if l.finishing {
		return now.After(l.limit)
	}
	if !l.expires.IsZero() && now.Sub(l.expires) > l.c.opts.Liveness.DeadAfter {
		l.slot.record(ErrConnAge, ByClient)
		return true
	}
	return false
}

// hear applies the heartbeat's rule.
func (l *live) hear(now time.Time) {
	h := l.c.opts.Heartbeat
	if h.Interval == 0 {
		return
	}
	heard := l.lastHeard()
	if now.Sub(heard) >= h.Interval+h.Timeout {
		l.slot.record(ErrHeartbeat, ByHeartbeat)
	}
	if due := heard.Add(h.Interval); due.After(l.nextBeat) {
		l.nextBeat = due
	}
}

func (l *live) noteHeard() { l.heard.Store(int64(time.Since(l.born))) }

func (l *live) lastHeard() time.Time { return l.born.Add(time.Duration(l.heard.Load())) }

// read takes a reading.
func (l *live) read(now time.Time, pressed bool) {
	r := l.link.reading(false)
	progress := l.settle(r, false)
	outstanding := r.ok && r.queued > 0
	l.sched.read(outstanding, progress, pressed, now)
	if !outstanding {
		l.waitSince = time.Time{}
		l.resume()
	}
}

// settle moves the cursor confirmed as far as a reading lets it.
func (l *live) settle(r reading, final bool) (progress bool) {
	n, ok := l.confirm.confirmed(r, final)
	if !ok {
		return false
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if progress = l.c.ob.confirm(n); progress {
		l.c.settle()
	}
	return progress
}

// judge applies the stall rule. It reports whether the connection lives.
func (l *live) judge(now time.Time) bool {
	o := &l.c.opts.Liveness
	l.nextJudge = now.Add(o.checkEvery())
	p := l.link.path()
	if !p.known {
		return true
	}
	if p.srtt > 0 {
		l.sched.first = max(p.srtt, readFirst)
	}
	switch o.judge(p, now.Sub(l.waitSince)) {
	case dead:
		// The soft error of a dead path says more than a timeout: it is how the
		// cause becomes EHOSTUNREACH.
		l.link.takeError(ByStallRule)
		l.slot.record(syscall.ETIMEDOUT, ByStallRule)
		return false
	case stalled:
		return l.stall(now)
	}
	l.resume()
	return true
}

// stall notes that the peer does not read. It reports whether that may go on.
func (l *live) stall(now time.Time) bool {
	if l.stalled.IsZero() {
		l.stalled = now
		l.c.setStatus(func(s *status) { s.state = Stalled })
		l.c.tell(Event{Kind: EventStalled})
	}
	if limit := l.c.opts.Liveness.MaxStall; limit > 0 && now.Sub(l.stalled) >= limit {
		l.slot.record(ErrStalled, ByStallRule)
		return false
	}
	return true
}

// resume notes that the peer reads again.
func (l *live) resume() {
	if l.stalled.IsZero() {
		return
	}
	l.stalled = time.Time{}
	l.c.setStatus(func(s *status) { s.state = Connected })
	l.c.tell(Event{Kind: EventResumed})
}

// nextDue is when tick must be called again.
func (l *live) nextDue() time.Time {
	now := time.Now()
	next := now.Add(longWait)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(l.sched.due)
	if !l.waitSince.IsZero() {
		sooner(l.nextJudge)
	}
	if h := l.c.opts.Heartbeat; h.Interval > 0 {
		if l.nextBeat.After(now) { // one that is due waits for the write under way
			sooner(l.nextBeat)
		}
		sooner(l.lastHeard().Add(h.Interval + h.Timeout))
	}
	if l.finishing {
		sooner(l.limit)
	}
	if !l.full() {
		sooner(l.expires)
	}
	sooner(l.c.nextExpiry())
	return next
}

// finish half-closes and waits until the peer has acknowledged everything and,
// if eof is set, ended its side, and until Receive has read the rest; but not
// beyond limit.
func (l *live) finish(limit time.Duration, eof bool) {
	l.finishing, l.limit = true, time.Now().Add(limit)
	if l.link.closeWrite() != nil {
		return
	}
	l.sched.restart(time.Now())
	timer := time.NewTimer(longWait)
	defer timer.Stop()
	for {
		wait, err := l.tick()
		if err != nil {
			return
		}
		if _, ended, _ := l.slot.get(); l.sched.due.IsZero() && (ended || !eof) && !(ended && l.receiving()) {
			return
		}
		timer.Reset(wait)
		select {
		case <-l.c.wake:
		case <-timer.C:
		}
	}
}

// end takes the last reading and closes. It is the only place that does, so
// that the reading cannot be forgotten: whoever could write or read has ended
// before it, and the descriptor is freed after it. It returns why the
// connection ended, which is reason unless the peer gave a stronger one, and
// what was begun on it and is not confirmed.
func (l *live) end(reason error) (*ConnError, Count) {
	c := l.c
	if l.watch != nil {
		c.watcher.remove(l.watch)
	}
	_, _, cause := l.slot.get()
	if cause != nil && !strongCause(cause) {
		l.link.takeError(ByWatcher) // somebody may have left the stronger one behind
	}
	l.link.sever()
	l.settle(l.link.reading(true), true)
	by, _, cause := l.slot.get()
	l.link.close(errors.Is(cause, syscall.ETIMEDOUT) || by == ByStallRule || by == ByHeartbeat)
	if l.readerEnded != nil && c.opts.Receive == nil && c.opts.DialContext == nil {
		<-l.readerEnded
	}
	c.mu.Lock()
	c.live = nil
	unconfirmed := c.ob.rewind()
	c.mu.Unlock()
	if reason != nil && (cause == nil || !strongCause(cause)) {
		cause, by = reason, ByClient
	}
	return &ConnError{Op: "connection", Endpoint: l.endpoint, Cause: cause, By: by}, unconfirmed
}

// connAge draws when a connection is to end.
func (o *Options) connAge(born time.Time) time.Time {
	if o.MaxConnAge == 0 {
		return time.Time{}
	}
	return born.Add(time.Duration(float64(o.MaxConnAge) * (0.9 + 0.2*rand.Float64())))
}
