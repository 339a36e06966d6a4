package everconn

import "sync"

// segmentSize is the room for bytes in one segment: a segment with its header
// is 64 KiB, so that the allocator wastes nothing.
const segmentSize = 64<<10 - 16

// A segment holds the bytes of consecutive messages. A message that does not
// fit goes on in the next segment.
type segment struct {
	next *segment // the segment in which the last message goes on
	live int      // messages with a byte in here
	buf  [segmentSize]byte
}

// segments and chunks are shared by all clients of the process, so that a
// burst of one leaves its memory to the others.
var (
	segments = sync.Pool{New: func() any { return new(segment) }}
	chunks   = sync.Pool{New: func() any { return new(chunk) }}
)

// An entry is a message's place in the outbox: 32 bytes, which is what a
// message is charged beyond its length.
type entry struct {
	seg   *segment // where its first byte is
	seq   uint64
	off   uint32 // of its first byte in seg
	size  uint32 // framed
	at    uint32 // when it was accepted, in ms of the client's clock; only with MaxAge
	begun uint32 // connections on which it was begun
}

const entrySize = 32

// A chunk holds consecutive entries, e[lo:hi].
type chunk struct {
	next, prev *chunk
	lo, hi     int
	e          [255]entry
}

// An entryQueue is a double-ended queue of entries in linked chunks. The zero
// value is empty and holds nothing.
type entryQueue struct {
	first, last *chunk
	n           int
}

// front returns the oldest entry, valid until it is popped.
func (q *entryQueue) front() *entry { return &q.first.e[q.first.lo] }

// back returns the youngest entry, valid until it is popped.
func (q *entryQueue) back() *entry { return &q.last.e[q.last.hi-1] }

func (q *entryQueue) pushBack(e entry) {
	if q.last == nil || q.last.hi == len(q.last.e) {
		q.linkBack(chunks.Get().(*chunk))
	}
	q.last.e[q.last.hi] = e
	q.last.hi++
	q.n++
}

func (q *entryQueue) pushFront(e entry) {
	if q.first == nil || q.first.lo == 0 {
		c := chunks.Get().(*chunk)
		c.lo, c.hi = len(c.e), len(c.e)
		q.linkFront(c)
	}
	q.first.lo--
	q.first.e[q.first.lo] = e
	q.n++
}

func (q *entryQueue) popFront() entry {
	c := q.first
	e := c.e[c.lo]
	c.e[c.lo].seg = nil
	c.lo++
	q.n--
	if c.lo == c.hi {
		q.unlink(c)
	}
	return e
}

func (q *entryQueue) popBack() entry {
	c := q.last
	c.hi--
	e := c.e[c.hi]
	c.e[c.hi].seg = nil
	q.n--
	if c.lo == c.hi {
		q.unlink(c)
	}
	return e
}

func (q *entryQueue) linkBack(c *chunk) {
	c.prev = q.last
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
}

func (q *entryQueue) linkFront(c *chunk) {
	c.next = q.first
	if q.first == nil {
		q.last = c
	} else {
		q.first.prev = c
	}
	q.first = c
}

func (q *entryQueue) unlink(c *chunk) {
	if c.prev == nil {
		q.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev, c.lo, c.hi = nil, nil, 0, 0
	chunks.Put(c)
}

// prepend puts all entries of p before those of q by linking their chunks, and
// leaves p empty. No entry moves.
func (q *entryQueue) prepend(p *entryQueue) {
	switch {
	case p.n == 0:
		return
	case q.n == 0:
		*q, *p = *p, entryQueue{}
		return
	}
	p.last.next, q.first.prev = q.first, p.last
	q.first = p.first
	q.n += p.n
	*p = entryQueue{}
}

// each calls f for the entries in order, until it returns false.
func (q *entryQueue) each(f func(*entry) bool) bool {
	for c := q.first; c != nil; c = c.next {
		for i := c.lo; i < c.hi; i++ {
			if !f(&c.e[i]) {
				return false
			}
		}
	}
	return true
}
