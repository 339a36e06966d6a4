package everconn

import (
	"slices"

	"github.com/everconn/everconn/wire"
)

// An outbox holds the accepted messages that are not yet confirmed, framed, in
// order. It has three cursors, confirmed ≤ written ≤ accepted, which divide it
// in two: messages begun on the live connection, and messages waiting to be. A
// lost connection puts the former before the latter; no byte is copied and no
// entry moves.
//
// An outbox is not safe for concurrent use: Client.mu guards it. The bytes that
// take returns are lent until wrote is called, also without the lock.
type outbox struct {
	framing wire.Framing
	max     int64
	maxSegs int // bound on memory pinned by few messages in many segments

	begun     entryQueue // begun on the live connection, the oldest first
	waiting   entryQueue // no byte written on the live connection
	part      uint32     // bytes of begun.back() already written; 0: all of them
	lent      int        // messages at the back of begun that take has lent out
	lentBytes int64      // their bytes not yet written
	offset    uint64     // of begun.front() in the live connection's outbox bytes

	charge  int64 // of all entries, and of the room reserved
	tail    *segment
	tailOff int
	segs    int // segments held

	seq   uint64 // of the last message accepted
	stats outboxStats
}

// outboxStats are the outbox's part of Stats, under the same names.
type outboxStats struct {
	accepted, written, confirmed, resent, queued, inFlight Count
	dropped                                                Drops
}

func newOutbox(f wire.Framing, maxBytes int64) outbox {
	return outbox{framing: f, max: maxBytes, maxSegs: int(2*maxBytes/segmentSize) + 4}
}

// cost is what a message of n bytes is charged.
func (o *outbox) cost(n int) int64 {
	var prefix [16]byte
	frame := len(o.framing.AppendPrefix(prefix[:0], n)) + n
	frame += len(o.framing.AppendSuffix(prefix[:0]))
	return int64(frame) + entrySize
}

// fits reports whether there is room for a message of that cost.
func (o *outbox) fits(cost int64) bool {
	return o.charge+cost <= o.max && o.segs <= o.maxSegs
}

// accept frames and appends a message for which there is room, and returns its
// number. at is the client's clock, for MaxAge.
func (o *outbox) accept(msg []byte, at uint32) uint64 {
	var small [16]byte
	prefix := o.framing.AppendPrefix(small[:0], len(msg))
	suffix := o.framing.AppendSuffix(prefix[len(prefix):])
	o.grow()
	o.seq++
	e := entry{seg: o.tail, seq: o.seq, off: uint32(o.tailOff), at: at}
	e.size = uint32(len(prefix) + len(msg) + len(suffix))
	o.tail.live++
	o.append(prefix)
	o.append(msg)
	o.append(suffix)
	o.waiting.pushBack(e)
	o.charge += int64(e.size) + entrySize
	o.stats.accepted.add(e.size)
	o.stats.queued.add(e.size)
	return o.seq
}

// append copies bytes of the message being accepted behind the last ones.
func (o *outbox) append(p []byte) {
	for len(p) > 0 {
		if o.tailOff == segmentSize {
			o.grow()
			o.tail.live++
		}
		n := copy(o.tail.buf[o.tailOff:], p)
		o.tailOff += n
		p = p[n:]
	}
}

// grow makes sure that the tail segment has room for a byte.
func (o *outbox) grow() {
	if o.tail != nil && o.tailOff < segmentSize {
		return
	}
	s := segments.Get().(*segment)
	if o.tail != nil {
		o.tail.next = s
	}
	o.tail, o.tailOff = s, 0
	o.segs++
}

// refuse counts a message that Overflow DropNewest gives up on arrival.
func (o *outbox) refuse(msg []byte) uint64 {
	o.seq++
	size := uint32(o.cost(len(msg)) - entrySize)
	o.stats.accepted.add(size)
	o.stats.dropped.Newest.add(size)
	return o.seq
}

// confirmedSeq is the number up to which every message is confirmed or dropped.
func (o *outbox) confirmedSeq() uint64 {
	switch {
	case o.begun.n > 0:
		return o.begun.front().seq - 1
	case o.waiting.n > 0:
		return o.waiting.front().seq - 1
	}
	return o.seq
}

// left is what is neither confirmed nor dropped.
func (o *outbox) left() Count {
	q, f := o.stats.queued, o.stats.inFlight
	return Count{q.Messages + f.Messages, q.Bytes + f.Bytes}
}

// unwritten reports whether there is something to write.
func (o *outbox) unwritten() bool { return o.waiting.n > 0 || o.part > 0 }

// take lends up to limit bytes to be written next, in at most cap(bufs) pieces:
// the rest of a message that is partly written, then waiting ones, the last of
// them whole even if it exceeds the limit. With limit 0 it lends only that
// rest. Only the head of a message is lent if it needs more pieces than there
// are. wrote ends the loan.
func (o *outbox) take(bufs [][]byte, limit int) [][]byte {
	p := pieces{bufs: bufs[:0]}
	if o.part > 0 {
		e := o.begun.back()
		o.lent, o.lentBytes = 1, int64(e.size-o.part)
		p.add(e, o.part)
	}
	var taken, again Count
	for o.waiting.n > 0 && o.lentBytes < int64(limit) {
		e := o.waiting.front()
		if o.lent > 0 && !p.roomFor(e) {
			break
		}
		p.add(e, 0)
		if e.begun > 0 {
			again.add(e.size)
		}
		e.begun++
		taken.add(e.size)
		o.lent++
		o.lentBytes += int64(e.size)
		o.begun.pushBack(*e)
		o.waiting.popFront()
	}
	o.stats.resent.addCount(again)
	o.stats.queued.subCount(taken)
	o.stats.inFlight.addCount(taken)
	return p.bufs
}

// wrote ends the loan of take: the first n bytes of it have been written. It
// moves the cursor written, and gives back messages of which nothing was.
func (o *outbox) wrote(n int) {
	if o.lent == 0 {
		return
	}
	before, rest := o.part, o.lentBytes-int64(n)
	for o.lent > 0 && rest >= int64(o.begun.back().size) {
		rest -= int64(o.begun.back().size)
		o.unbegin()
		o.lent--
	}
	whole := uint64(o.lent)
	if o.lent > 0 {
		o.part = 0
		if rest > 0 {
			o.part = o.begun.back().size - uint32(rest)
			whole--
		}
	}
	after := o.part
	if o.lent == 0 {
		before, after = 0, 0
	}
	o.stats.written.addCount(Count{whole, uint64(before) + uint64(n) - uint64(after)})
	o.lent, o.lentBytes = 0, 0
}

// unbegin gives the youngest lent message back.
func (o *outbox) unbegin() {
	e := o.begun.popBack()
	e.begun--
	if e.begun > 0 {
		o.stats.resent.sub(e.size)
	}
	o.waiting.pushFront(e)
	o.stats.inFlight.sub(e.size)
	o.stats.queued.add(e.size)
}

// confirm moves the cursor confirmed: of the outbox bytes of the live
// connection, the first n are confirmed. It frees the messages that end there
// and reports whether there were any.
func (o *outbox) confirm(n uint64) bool {
	var done Count
	for o.begun.n > o.lent && o.offset+uint64(o.begun.front().size) <= n {
		if o.part > 0 && o.begun.n == 1 {
			break // a caller's mistake must not free a message in the middle
		}
		e := o.begun.popFront()
		o.offset += uint64(e.size)
		done.add(e.size)
		o.release(&e)
		o.charge -= int64(e.size) + entrySize
	}
	o.stats.confirmed.addCount(done)
	o.stats.inFlight.subCount(done)
	return done.Messages > 0
}

// rewind is the loss of the connection: written = confirmed. It returns what
// had been begun and will be sent again.
func (o *outbox) rewind() Count {
	lost := o.stats.inFlight
	o.waiting.prepend(&o.begun)
	o.part, o.lent, o.lentBytes, o.offset = 0, 0, 0, 0
	o.stats.queued.addCount(lost)
	o.stats.inFlight = Count{}
	return lost
}

// headReplays is how many times the oldest message was begun again.
func (o *outbox) headReplays() int {
	switch {
	case o.begun.n > 0:
		return max(0, int(o.begun.front().begun)-1)
	case o.waiting.n > 0:
		return max(0, int(o.waiting.front().begun)-1)
	}
	return 0
}

// dropOldest drops one message to make room, or reports that there is none that
// may be dropped: every one is partly written, or lent.
func (o *outbox) dropOldest(copied bool) (drop, bool) {
	if o.waiting.n > 0 {
		return o.dropWaiting(DroppedOldest, copied), true
	}
	keep := o.lent
	if o.part > 0 {
		keep = max(keep, 1)
	}
	if o.begun.n <= keep {
		return drop{}, false
	}
	e := o.begun.popFront()
	o.offset += uint64(e.size) // its bytes stay on the wire
	o.stats.inFlight.sub(e.size)
	return o.give(e, DroppedInFlight, copied), true
}

// dropWaiting drops the oldest message of which no byte has been written on the
// live connection. There must be one.
func (o *outbox) dropWaiting(reason DropReason, copied bool) drop {
	e := o.waiting.popFront()
	o.stats.queued.sub(e.size)
	return o.give(e, reason, copied)
}

// expired reports whether the oldest waiting message is older than maxAge.
func (o *outbox) expired(now, maxAge uint32) bool {
	return o.waiting.n > 0 && now-o.waiting.front().at > maxAge
}

// A drop is a message that was given up.
type drop struct {
	seq    uint64
	msg    []byte // a copy, as it was given to Send, if one was asked for
	cost   int64  // still charged; see outbox.told
	reason DropReason
}

// give counts a popped entry as dropped and frees its bytes, but not its
// charge.
func (o *outbox) give(e entry, reason DropReason, copied bool) drop {
	d := drop{seq: e.seq, cost: int64(e.size) + entrySize, reason: reason}
	if copied {
		d.msg = o.message(&e)
	}
	o.release(&e)
	o.stats.dropped.of(reason).add(e.size)
	return d
}

// told ends the charge of a dropped message.
func (o *outbox) told(d drop) { o.charge -= d.cost }

// message returns a copy of a message, as it was given to Send.
func (o *outbox) message(e *entry) []byte {
	frame := make([]byte, 0, e.size)
	p := pieces{bufs: make([][]byte, 0, e.segments())}
	p.add(e, 0)
	for _, b := range p.bufs {
		frame = append(frame, b...)
	}
	return slices.Clip(o.framing.Payload(frame))
}

// each yields a copy of every message left, the oldest first.
func (o *outbox) each(yield func([]byte) bool) {
	f := func(e *entry) bool { return yield(o.message(e)) }
	_ = o.begun.each(f) && o.waiting.each(f)
}

// release lets go of the bytes of an entry that was popped, and frees the
// segments that hold no others.
func (o *outbox) release(e *entry) {
	s := e.seg
	for n := e.segments(); n > 0; n-- {
		next := s.next
		if s.live--; s.live == 0 && s != o.tail {
			o.free(s)
		}
		s = next
	}
	if o.tail.live > 0 {
		return
	}
	o.tailOff = 0
	if o.begun.n+o.waiting.n == 0 {
		o.free(o.tail)
		o.tail = nil
	}
}

func (o *outbox) free(s *segment) {
	s.next = nil
	o.segs--
	segments.Put(s)
}

// segments is the number of segments that hold a byte of e.
func (e *entry) segments() int {
	return (int(e.off)+int(e.size)-1)/segmentSize + 1
}

// pieces gathers the bytes of consecutive messages, joining what is contiguous.
type pieces struct {
	bufs [][]byte
	seg  *segment // in which the last piece is
	off  int      // where it ends
}

// roomFor reports whether all of e is certain to fit.
func (p *pieces) roomFor(e *entry) bool {
	return len(p.bufs)+e.segments() <= cap(p.bufs)
}

// add appends the bytes of e behind its first skip, as far as there are pieces.
func (p *pieces) add(e *entry, skip uint32) {
	seg, off := e.seg, int(e.off)+int(skip)
	for off >= segmentSize {
		seg, off = seg.next, off-segmentSize
	}
	for left := int(e.size - skip); left > 0; {
		n := min(left, segmentSize-off)
		switch {
		case len(p.bufs) > 0 && seg == p.seg && off == p.off:
			last := &p.bufs[len(p.bufs)-1]
			*last = (*last)[:len(*last)+n]
		case len(p.bufs) == cap(p.bufs):
			return
		default:
			p.bufs = append(p.bufs, seg.buf[off:off+n])
		}
		p.seg, p.off = seg, off+n
		seg, off = seg.next, 0
		left -= n
	}
}
