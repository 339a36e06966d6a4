package everconn

import (
	"sync"
	"time"
)

// maxEvents is how many events wait for OnEvent before repeats are merged.
const maxEvents = 256

// A notifier tells OnEvent, and OnDrop what run has dropped, in order. Its
// goroutine is there only while there is something to tell.
type notifier struct {
	c *Client

	mu      sync.Mutex // guards the following
	queue   []notice
	events  int  // in queue
	drops   bool // an EventDropped is in queue
	telling bool

	told Drops // as of the last EventDropped; of tell
}

// A notice is an event, or a drop to be told.
type notice struct {
	event Event
	drop  *drop
}

// event queues an event.
func (n *notifier) event(e Event) {
	if n.c.opts.OnEvent == nil {
		return
	}
	e.Time = time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events >= maxEvents && e.Kind != EventClosed && n.merge(e) {
		return
	}
	n.events++
	n.push(notice{event: e})
}

// merge puts e in the place of the last queued event of its kind.
func (n *notifier) merge(e Event) bool {
	for i := len(n.queue) - 1; i >= 0; i-- {
		if q := &n.queue[i]; q.drop == nil && q.event.Kind == e.Kind {
			e.Missed = q.event.Missed + 1
			q.event = e
			return true
		}
	}
	return false
}

// dropped queues an EventDropped, unless one is waiting already.
func (n *notifier) dropped() {
	if n.c.opts.OnEvent == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.drops {
		return
	}
	n.drops = true
	n.events++
	n.push(notice{event: Event{Kind: EventDropped, Time: time.Now()}})
}

// drop queues a message that run has dropped, for OnDrop. Until it is told it
// stays charged against MaxBytes, which bounds the queue.
func (n *notifier) drop(d drop) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.push(notice{drop: &d})
}

// push appends a notice and sees to it that somebody tells it. n.mu is held.
func (n *notifier) push(x notice) {
	n.queue = append(n.queue, x)
	if !n.telling {
		n.telling = true
		n.c.running.Go(n.tell)
	}
}

func (n *notifier) tell() {
	for {
		n.mu.Lock()
		if len(n.queue) == 0 {
			n.queue, n.telling = nil, false
			n.mu.Unlock()
			return
		}
		x := n.queue[0]
		n.queue = n.queue[1:]
		if x.drop == nil {
			n.events--
			n.drops = n.drops && x.event.Kind != EventDropped
		}
		n.mu.Unlock()
		n.deliver(x)
	}
}

func (n *notifier) deliver(x notice) {
	c := n.c
	if d := x.drop; d != nil {
		c.opts.OnDrop(d.seq, d.msg, d.reason)
		c.mu.Lock()
		c.ob.told(*d)
		c.settle()
		c.mu.Unlock()
		return
	}
	if x.event.Kind == EventDropped {
		s := c.Stats()
		x.event.State, x.event.Level, x.event.Endpoint = s.State, s.Level, s.Endpoint
		x.event.Dropped = s.Dropped.since(n.told)
		n.told = s.Dropped
		if x.event.Dropped == (Drops{}) {
			return
		}
	}
	c.opts.OnEvent(x.event)
}
