package everconn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

var allFramings = []wire.Framing{wire.Raw, wire.LF, wire.OctetCounting, wire.NUL, wire.Uint32}

// letters is what messages are cut from, at different places.
var letters = func() []byte {
	b := make([]byte, 4*segmentSize)
	for i := range b {
		b[i] = byte('a' + (i*7+i>>8)%26)
	}
	return b
}()

// A choice draws a number from 0 to n-1: from a random generator or from the
// bytes of the fuzzer.
type choice func(n int) int

// modelMessage is a message as the model keeps it.
type modelMessage struct {
	seq   uint64
	msg   []byte
	frame []byte
	begun int
}

// An outboxModel does what the outbox should, on plain slices, and compares.
type outboxModel struct {
	t    testing.TB
	pick choice
	ob   outbox
	max  int64

	begun, waiting []modelMessage
	part           int      // bytes of the last of begun that are written; 0: all
	wireBytes      uint64   // written on this connection
	offset         uint64   // of begun[0] on this connection
	confirmed      uint64   // argument of the last confirm
	bufs           [][]byte // lent
	lentCopy       []byte   // their bytes when they were lent
	lent           int      // messages in them
	untold         []drop
	seq            uint64

	accepted, done, dropped, resent Count
	written                         Count
}

func newOutboxModel(t testing.TB, f wire.Framing, max int64, pick choice) *outboxModel {
	return &outboxModel{t: t, pick: pick, ob: newOutbox(f, max), max: max}
}

func (m *outboxModel) step() {
	switch m.pick(12) {
	case 0, 1, 2:
		m.accept()
	case 3, 4:
		m.take()
	case 5, 6:
		m.wrote()
	case 7, 8:
		m.confirm()
	case 9:
		if m.pick(4) == 0 {
			m.rewind()
		}
	case 10:
		if m.pick(2) == 0 {
			m.dropOldest()
		} else {
			m.dropWaiting()
		}
	case 11:
		m.tell()
	}
	m.check()
}

func (m *outboxModel) size() int {
	switch m.pick(16) {
	case 0:
		return 2*segmentSize + m.pick(segmentSize)
	case 1:
		return segmentSize - 4 + m.pick(8)
	case 2, 3, 4:
		return 1 + m.pick(9000)
	case 5: // exactly what is left of the segment, or nearly
		return max(1, segmentSize-m.ob.tailOff-m.pick(6))
	}
	return 1 + m.pick(40)
}

func (m *outboxModel) accept() {
	msg := append([]byte(nil), letters[int(m.seq)*37%1009:][:m.size()]...)
	if m.ob.framing.Check(msg) != nil {
		m.t.Fatalf("a message of %d lower-case letters is refused", len(msg))
	}
	frame := m.ob.framing.Append(nil, msg)
	if got, want := m.ob.cost(len(msg)), int64(len(frame)+entrySize); got != want {
		m.t.Fatalf("cost(%d) = %d, want %d", len(msg), got, want)
	}
	m.seq++
	m.accepted.add(uint32(len(frame)))
	if !m.ob.fits(m.ob.cost(len(msg))) {
		if m.pick(2) == 0 {
			m.seq--
			m.accepted.sub(uint32(len(frame)))
			return
		}
		if seq := m.ob.refuse(msg); seq != m.seq {
			m.t.Fatalf("refuse returned %d, want %d", seq, m.seq)
		}
		m.dropped.add(uint32(len(frame)))
		return
	}
	if seq := m.ob.accept(msg, 0); seq != m.seq {
		m.t.Fatalf("accept returned %d, want %d", seq, m.seq)
	}
	if bound := m.ob.maxSegs + len(frame)/segmentSize + 2; m.ob.segs > bound {
		m.t.Fatalf("%d segments, bound %d", m.ob.segs, bound)
	}
	m.waiting = append(m.waiting, modelMessage{seq: m.seq, msg: msg, frame: frame})
}

func (m *outboxModel) take() {
	if m.bufs != nil {
		return
	}
	limit := []int{0, 1, 1 + m.pick(2000), 1 << 20}[m.pick(4)]
	room := []int{1, 2, 3, 64}[m.pick(4)]
	got := m.ob.take(make([][]byte, 0, room), limit)
	if len(got) > room {
		m.t.Fatalf("%d pieces, room for %d", len(got), room)
	}
	lent := bytes.Join(got, nil)
	for _, b := range got {
		if len(b) == 0 {
			m.t.Fatal("an empty piece was lent")
		}
	}
	m.checkLent(lent, limit, room)
	if len(got) > 0 {
		m.bufs, m.lentCopy = got, lent
	}
}

// checkLent compares what was lent with the stream, and moves what was begun.
func (m *outboxModel) checkLent(lent []byte, limit, room int) {
	rest, before := lent, 0
	follow := func(want []byte) {
		n := min(len(rest), len(want))
		if !bytes.Equal(rest[:n], want[:n]) {
			m.t.Fatalf("other bytes were lent than those of message %d", m.begun[len(m.begun)-1].seq)
		}
		if n < len(want) && m.lent > 0 {
			m.t.Fatal("only the head of a message was lent that is not the only one")
		}
		m.lent++
		before = len(lent) - len(rest)
		rest = rest[n:]
	}
	if m.part > 0 {
		if len(lent) == 0 {
			m.t.Fatal("the rest of a partly written message was not lent")
		}
		follow(m.begun[len(m.begun)-1].frame[m.part:])
	}
	for len(rest) > 0 {
		if len(m.waiting) == 0 {
			m.t.Fatalf("%d bytes too many were lent", len(rest))
		}
		w := m.waiting[0]
		m.waiting = m.waiting[1:]
		if w.begun++; w.begun > 1 {
			m.resent.add(uint32(len(w.frame)))
		}
		m.begun = append(m.begun, w)
		follow(w.frame)
	}
	if m.lent > 1 && before >= limit {
		m.t.Fatalf("the last message was lent although %d bytes before it reach the limit %d", before, limit)
	}
	if room == 64 && len(m.waiting) > 0 && len(lent) < limit && m.lent < room/4 {
		m.t.Fatalf("%d bytes were lent of limit %d, and more wait", len(lent), limit)
	}
}

func (m *outboxModel) wrote() {
	if m.bufs == nil {
		m.ob.wrote(0)
		return
	}
	if !bytes.Equal(bytes.Join(m.bufs, nil), m.lentCopy) {
		m.t.Fatal("bytes changed while they were lent")
	}
	n := len(m.lentCopy)
	if m.pick(2) == 0 {
		n = m.pick(n + 1)
	}
	m.ob.wrote(n)
	m.wireBytes += uint64(n)
	first, left := len(m.begun)-m.lent, n
	at := first
	for ; at < len(m.begun); at++ {
		need := len(m.begun[at].frame)
		if at == first {
			need -= m.part
		}
		if left < need {
			break
		}
		left -= need
		m.written.add(uint32(len(m.begun[at].frame)))
		if at == first {
			m.part = 0
		}
	}
	if at < len(m.begun) && at == first && m.part > 0 {
		left += m.part
	}
	if at < len(m.begun) {
		m.part = left
		if left > 0 {
			at++ // it stays begun
		}
	}
	for i := len(m.begun) - 1; i >= at; i-- {
		w := m.begun[i]
		if w.begun--; w.begun > 0 {
			m.resent.sub(uint32(len(w.frame)))
		}
		m.waiting = append([]modelMessage{w}, m.waiting...)
	}
	m.begun = m.begun[:at]
	m.bufs, m.lentCopy, m.lent = nil, nil, 0
}

// busy is how many of begun are lent or partly written.
func (m *outboxModel) busy() int {
	if m.part > 0 {
		return max(1, m.lent)
	}
	return m.lent
}

func (m *outboxModel) confirm() {
	n := m.wireBytes
	switch m.pick(4) {
	case 0:
		n = m.confirmed // nothing new
	case 1:
		n += uint64(m.pick(1 << 18)) // a caller's mistake
	case 2:
		n = m.confirmed + uint64(m.pick(int(m.wireBytes-min(m.wireBytes, m.confirmed))+1))
	}
	m.confirmed = min(max(m.confirmed, n), m.wireBytes)
	freed := false
	for len(m.begun) > m.busy() && m.offset+uint64(len(m.begun[0].frame)) <= n {
		m.offset += uint64(len(m.begun[0].frame))
		m.done.add(uint32(len(m.begun[0].frame)))
		m.begun = m.begun[1:]
		freed = true
	}
	if got := m.ob.confirm(n); got != freed {
		m.t.Fatalf("confirm(%d) = %v, want %v", n, got, freed)
	}
}

func (m *outboxModel) rewind() {
	if m.bufs != nil {
		return // run ends every writer before
	}
	var want Count
	for _, b := range m.begun {
		want.add(uint32(len(b.frame)))
	}
	if got := m.ob.rewind(); got != want {
		m.t.Fatalf("rewind returned %v, want %v", got, want)
	}
	m.waiting = append(m.begun[:len(m.begun):len(m.begun)], m.waiting...)
	m.begun, m.part, m.wireBytes, m.offset, m.confirmed = nil, 0, 0, 0, 0
}

func (m *outboxModel) dropOldest() {
	if len(m.waiting) > 0 {
		d, ok := m.ob.dropOldest(true)
		m.dropFrom(&m.waiting, d, ok, DroppedOldest)
		return
	}
	d, ok := m.ob.dropOldest(true)
	if len(m.begun) <= m.busy() {
		if ok {
			m.t.Fatal("dropOldest dropped a message that is lent or partly written")
		}
		return
	}
	m.offset += uint64(len(m.begun[0].frame))
	m.dropFrom(&m.begun, d, ok, DroppedInFlight)
}

func (m *outboxModel) dropWaiting() {
	if len(m.waiting) > 0 {
		m.dropFrom(&m.waiting, m.ob.dropWaiting(DroppedExpired, true), true, DroppedExpired)
	}
}

func (m *outboxModel) dropFrom(from *[]modelMessage, d drop, ok bool, reason DropReason) {
	w := (*from)[0]
	*from = (*from)[1:]
	if !ok || d.seq != w.seq || d.reason != reason || !bytes.Equal(d.msg, w.msg) {
		m.t.Fatalf("dropped %d (%v, %v, %d bytes), want %d (%v, %d bytes)", d.seq, ok, d.reason, len(d.msg), w.seq, reason, len(w.msg))
	}
	m.dropped.add(uint32(len(w.frame)))
	m.untold = append(m.untold, d)
}

func (m *outboxModel) tell() {
	for _, d := range m.untold {
		m.ob.told(d)
	}
	m.untold = nil
}

func (m *outboxModel) check() {
	s := m.ob.stats
	var queued, inFlight Count
	var charge int64
	for _, w := range m.waiting {
		queued.add(uint32(len(w.frame)))
		charge += int64(len(w.frame)) + entrySize
	}
	for _, b := range m.begun {
		inFlight.add(uint32(len(b.frame)))
		charge += int64(len(b.frame)) + entrySize
	}
	for _, d := range m.untold {
		charge += d.cost
	}
	want := outboxStats{accepted: m.accepted, written: m.written, confirmed: m.done, resent: m.resent,
		queued: queued, inFlight: inFlight, dropped: s.dropped}
	if s != want {
		m.t.Fatalf("stats %+v\nwant  %+v", s, want)
	}
	total := s.confirmed
	total.addCount(s.queued)
	total.addCount(s.inFlight)
	total.addCount(m.dropped)
	if total != s.accepted {
		m.t.Fatalf("Confirmed+Dropped+Queued+InFlight = %v, Accepted = %v", total, s.accepted)
	}
	if d := s.dropped; d.Total() != m.dropped {
		m.t.Fatalf("dropped %+v, want %v", d, m.dropped)
	}
	if m.ob.charge != charge || charge > m.max {
		m.t.Fatalf("charge %d, want %d, at most %d", m.ob.charge, charge, m.max)
	}
	seq := m.seq
	if all := append(m.begun[:len(m.begun):len(m.begun)], m.waiting...); len(all) > 0 {
		seq = all[0].seq - 1
		if got := m.ob.headReplays(); got != max(0, all[0].begun-1) {
			m.t.Fatalf("headReplays %d, want %d", got, max(0, all[0].begun-1))
		}
	} else {
		m.checkIdle()
	}
	if got := m.ob.confirmedSeq(); got != seq {
		m.t.Fatalf("confirmedSeq %d, want %d", got, seq)
	}
	if got, want := m.ob.unwritten(), m.part > 0 || len(m.waiting) > 0; got != want {
		m.t.Fatalf("unwritten %v, want %v", got, want)
	}
}

// checkIdle: an empty outbox holds nothing.
func (m *outboxModel) checkIdle() {
	o := &m.ob
	if o.segs != 0 || o.tail != nil || o.begun.first != nil || o.begun.last != nil || o.waiting.first != nil || o.waiting.last != nil {
		m.t.Fatalf("an empty outbox holds %d segments (tail %v), chunks %v %v", o.segs, o.tail != nil, o.begun, o.waiting)
	}
	if len(m.untold) == 0 && o.charge != 0 {
		m.t.Fatalf("an empty outbox is charged %d", o.charge)
	}
}

// checkLeft compares the messages left, as Undelivered yields them.
func (m *outboxModel) checkLeft() {
	all := append(m.begun[:len(m.begun):len(m.begun)], m.waiting...)
	m.ob.each(func(msg []byte) bool {
		if len(all) == 0 || !bytes.Equal(msg, all[0].msg) {
			m.t.Fatalf("each yields a message of %d bytes that is not next", len(msg))
		}
		all = all[1:]
		return true
	})
	if len(all) > 0 {
		m.t.Fatalf("each did not yield %d messages", len(all))
	}
}

// finish empties the outbox the regular way.
func (m *outboxModel) finish() {
	if m.bufs != nil {
		m.wrote()
	}
	m.checkLeft()
	m.rewind()
	m.check()
	m.checkLeft()
	m.pick = func(n int) int { return n - 1 } // no limit, all pieces, all written, all confirmed
	for len(m.waiting) > 0 || m.part > 0 {
		m.take()
		m.wrote()
		m.check()
	}
	m.confirm()
	m.tell()
	m.check()
	if len(m.begun) > 0 {
		m.t.Fatalf("%d messages are left after everything was confirmed", len(m.begun))
	}
}

func TestOutboxModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, f := range allFramings {
		for _, max := range []int64{4 << 10, 100 << 10, 600 << 10, 8 << 20} {
			t.Run(fmt.Sprintf("%v/%d", f, max), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, uint64(f)<<32|uint64(max)))
				for range 2 {
					m := newOutboxModel(t, f, max, r.IntN)
					for range 300 {
						m.step()
					}
					m.finish()
				}
			})
		}
	}
}

// TestOutboxEmptyingByDrops takes the ways to an empty outbox that do not end
// in a confirmation.
func TestOutboxEmptyingByDrops(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, segmentSize, 3 * segmentSize} {
		o := newOutbox(wire.Raw, 8<<20)
		for range 5 {
			o.accept(make([]byte, size), 0)
		}
		n := 0
		for _, b := range o.take(make([][]byte, 0, 64), size+1) {
			n += len(b)
		}
		o.wrote(n)
		for range 5 {
			d, ok := o.dropOldest(false)
			if !ok {
				t.Fatalf("size %d: nothing to drop", size)
			}
			o.told(d)
		}
		if o.charge != 0 || o.segs != 0 || o.tail != nil || o.begun.first != nil || o.waiting.first != nil {
			t.Errorf("size %d: the empty outbox holds %d segments and is charged %d", size, o.segs, o.charge)
		}
	}
}

func FuzzOutbox(f *testing.F) {
	f.Add(uint8(0), false, []byte("0123456789"))
	f.Add(uint8(3), true, bytes.Repeat([]byte{0, 0, 7, 3, 3, 3, 5, 1, 9, 0, 10, 7, 2}, 20))
	f.Fuzz(func(t *testing.T, framing uint8, small bool, ops []byte) {
		max := int64(1 << 20)
		if small {
			max = 4 << 10
		}
		ops = ops[:min(len(ops), 1<<8)]
		next := func(n int) int {
			v := 0
			for span := 1; span < n && len(ops) > 0; span <<= 8 {
				v, ops = v<<8|int(ops[0]), ops[1:]
			}
			return v % n
		}
		m := newOutboxModel(t, allFramings[int(framing)%len(allFramings)], max, next)
		for len(ops) > 0 {
			m.step()
		}
		m.finish()
	})
}
