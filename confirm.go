package everconn

import (
	"container/heap"
	"context"
	"time"
)

// A confirmer says what a reading means at its level.
type confirmer interface {
	// confirmed returns how many of the outbox bytes written on the connection
	// are confirmed; ok is false if that cannot be told. final marks the last
	// reading, taken after every writer has ended and before the descriptor is
	// closed.
	confirmed(r reading, final bool) (n uint64, ok bool)
}

// kernelConfirmer is the level Kernel.
type kernelConfirmer struct{}

func (kernelConfirmer) confirmed(r reading, _ bool) (uint64, bool) { return r.acked, r.ok }

// writtenConfirmer is the level Written.
type writtenConfirmer struct{ l *live }

func (w writtenConfirmer) confirmed(reading, bool) (uint64, bool) { return w.l.sent, true }

const (
	readEvery   = 256 << 10 // bytes written between two readings
	readFirst   = 200 * time.Microsecond
	readLongest = 50 * time.Millisecond
)

// A schedule says when the next reading is due. While nothing is outstanding
// none is, and an idle client costs nothing.
type schedule struct {
	first time.Duration // the delay after a write: the round trip, or readFirst
	delay time.Duration // the present one
	due   time.Time     // of the next reading; zero: none
	bytes int           // written since the last one
}

// wrote asks for a reading after a write.
func (s *schedule) wrote(n int, now time.Time) {
	if s.bytes += n; s.bytes >= readEvery {
		s.due = now
		return
	}
	if s.due.IsZero() || s.delay > s.first {
		s.restart(now)
	}
}

// restart asks for a reading soon.
func (s *schedule) restart(now time.Time) {
	s.delay = s.first
	s.due = now.Add(s.delay)
}

// hasten brings the next reading forward, if one is due at all.
func (s *schedule) hasten(now time.Time) {
	if s.due.Sub(now) > readFirst { // never if it is zero
		s.delay = readFirst
		s.due = now.Add(readFirst)
	}
}

// read notes a reading: what it left outstanding, whether it brought anything,
// and whether a sender waits for room.
func (s *schedule) read(outstanding, progress, pressed bool, now time.Time) {
	s.bytes = 0
	switch {
	case !outstanding:
		s.due, s.delay = time.Time{}, s.first
		return
	case pressed:
		s.delay = readFirst
	case progress:
		s.delay = s.first
	default:
		s.delay = min(2*s.delay, readLongest)
	}
	s.due = now.Add(s.delay)
}

// A confirmWaiter waits until all messages up to seq are confirmed or dropped.
type confirmWaiter struct {
	seq   uint64
	index int // in the heap; -1: no longer there
	ready chan struct{}
}

// confirmWaiters is a heap, the smallest number first.
type confirmWaiters []*confirmWaiter

func (h confirmWaiters) Len() int           { return len(h) }
func (h confirmWaiters) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h confirmWaiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *confirmWaiters) Push(x any) {
	w := x.(*confirmWaiter)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *confirmWaiters) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.index = -1
	return w
}

// release wakes all who wait for a number up to seq.
func (h *confirmWaiters) release(seq uint64) {
	for len(*h) > 0 && (*h)[0].seq <= seq {
		close(heap.Pop(h).(*confirmWaiter).ready)
	}
}

// Confirmed returns the position up to which every message is confirmed at the
// client's level, or dropped and counted. A file tailer may commit the offset
// of the message with that number. 0 means none.
func (c *Client) Confirmed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ob.confirmedSeq()
}

// WaitConfirmed waits until every message up to seq (see SendSeq) is confirmed
// at the client's level, or dropped and counted. It returns ctx's error if that
// ends first, and an error wrapping ErrClosed if the client closes first.
func (c *Client) WaitConfirmed(ctx context.Context, seq uint64) error {
	c.mu.Lock()
	if c.ob.confirmedSeq() >= seq {
		c.mu.Unlock()
		return nil
	}
	if c.phase == phaseStopped {
		defer c.mu.Unlock()
		return c.closedError()
	}
	w := &confirmWaiter{seq: seq, ready: make(chan struct{})}
	heap.Push(&c.confirms, w)
	c.mu.Unlock()

	select {
	case <-w.ready:
	case <-c.stopped:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&c.confirms, w.index)
	}
	switch {
	case c.ob.confirmedSeq() >= seq:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return c.closedError()
}

// Flush waits until every message accepted before it is confirmed at the
// client's level, or dropped and counted. Its errors are those of
// WaitConfirmed.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	seq := c.ob.seq
	c.hurry = true
	c.mu.Unlock()
	c.poke()
	return c.WaitConfirmed(ctx, seq)
}
