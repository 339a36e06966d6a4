package everconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

// deadEnd is a DialContext that never connects.
func deadEnd(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// accounted checks that every accepted message is confirmed, dropped, or handed
// back.
func accounted(t *testing.T, c *Client, accepted uint64) {
	t.Helper()
	left := uint64(0)
	for range c.Undelivered() {
		left++
	}
	s := c.Stats()
	if s.Accepted.Messages != accepted {
		t.Errorf("Stats counts %d accepted, Send %d", s.Accepted.Messages, accepted)
	}
	if sum := s.Confirmed.Messages + s.Dropped.Total().Messages + left; sum != accepted {
		t.Errorf("confirmed %d + dropped %d + undelivered %d = %d, accepted %d",
			s.Confirmed.Messages, s.Dropped.Total().Messages, left, sum, accepted)
	}
	if n := s.Queued.Messages + s.InFlight.Messages; n != left {
		t.Errorf("Stats has %d left, Undelivered %d", n, left)
	}
	var u *UndeliveredError
	err := c.Close()
	switch {
	case left == 0 && err != nil:
		t.Errorf("Close: %v with nothing left", err)
	case left > 0 && (!errors.As(err, &u) || u.Messages != left):
		t.Errorf("Close: %v, want %d messages", err, left)
	}
}

// callEverything calls one method at random and returns the messages that it
// made the client accept.
func callEverything(ctx context.Context, c *Client, msg []byte) (accepted uint64) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
	defer cancel()
	count := func(err error) {
		if err == nil {
			accepted++
		}
	}
	switch rand.IntN(14) {
	case 0, 1, 2:
		count(c.Send(ctx, msg))
	case 3:
		count(c.TrySend(msg))
	case 4:
		seq, err := c.SendSeq(ctx, msg)
		count(err)
		c.WaitConfirmed(ctx, seq)
	case 5:
		c.Flush(ctx)
	case 6:
		if rand.IntN(10) == 0 {
			c.Reconnect()
		}
	case 7:
		c.State()
		c.Err()
	case 8:
		c.Stats()
	case 9:
		c.Confirmed()
	case 10:
		c.WaitConnected(ctx)
	case 11:
		for range c.Undelivered() {
		}
	case 12:
		select {
		case <-c.Done():
		default:
		}
	case 13:
		count(c.TrySend(msg))
	}
	return accepted
}

// TestEndRacesEverything ends a client, twice at once and in every way, while a
// hundred goroutines, OnEvent and OnDrop call its methods.
func TestEndRacesEverything(t *testing.T) {
	ends := map[string]func(context.Context, *Client) error{
		"close":    func(_ context.Context, c *Client) error { return c.Close() },
		"shutdown": func(ctx context.Context, c *Client) error { return c.Shutdown(ctx) },
		"shutdown that is given up": func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return c.Shutdown(ctx)
		},
	}
	for name, end := range ends {
		for _, overflow := range []Overflow{Block, Reject, DropOldest, DropNewest} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v/tls=%v", name, overflow, secure), func(t *testing.T) {
					raceEnd(t, end, overflow, secure)
				})
			}
		}
	}
}

func raceEnd(t *testing.T, end func(context.Context, *Client) error, overflow Overflow, secure bool) {
	o, server := secured(t, secure)
	peer := startPeer(t, func(n int, tc *net.TCPConn) {
		defer tc.Close()
		io.CopyN(io.Discard, serverConn(tc, server), int64(1+n*50_000))
	})
	msg := make([]byte, 300)
	var accepted atomic.Uint64
	var client atomic.Pointer[Client]
	inside := func() {
		if c := client.Load(); c != nil {
			accepted.Add(callEverything(context.Background(), c, msg))
		}
	}
	depth := atomic.Int32{}
	o.Buffer = Buffer{MaxBytes: 8 << 10, Overflow: overflow}
	o.OnEvent = func(Event) { inside() }
	o.OnDrop = func(uint64, []byte, DropReason) {
		if depth.Add(1) == 1 { // a Send inside may drop, and come here again
			inside()
		}
		depth.Add(-1)
	}
	c, _ := start(t, peer.addr, o)
	client.Store(c)

	ctx := patient(t)
	enough := make(chan struct{})
	var calls atomic.Int32
	var callers, enders sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			for ctx.Err() == nil {
				accepted.Add(callEverything(ctx, c, msg))
				if calls.Add(1) == 2000 {
					close(enough)
				}
				select {
				case <-c.Done():
					return
				default:
				}
			}
		})
	}
	within(t, enough, "2000 calls")
	results := make([]error, 2)
	for i := range results {
		enders.Go(func() { results[i] = end(ctx, c) })
	}
	done := make(chan struct{})
	go func() { enders.Wait(); callers.Wait(); <-c.Done(); close(done) }()
	within(t, done, "the end")
	if fmt.Sprint(results[0]) != fmt.Sprint(results[1]) {
		t.Errorf("two ends: %v and %v, want the same", results[0], results[1])
	}
	accounted(t, c, accepted.Load())
	if err := c.Send(t.Context(), msg); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after the end: %v, want ErrClosed", err)
	}
	if c.State() != Closed {
		t.Errorf("state %v after the end", c.State())
	}
}

// TestCloseInsideCallbacks ends a client from OnEvent and from OnDrop.
func TestCloseInsideCallbacks(t *testing.T) {
	t.Parallel()
	for _, end := range []func(*Client) error{
		(*Client).Close,
		func(c *Client) error { return c.Shutdown(context.Background()) },
	} {
		var client atomic.Pointer[Client]
		ready := make(chan struct{})
		closed := make(chan error, 1)
		peer := startPeer(t, readAll)
		c, _ := start(t, peer.addr, Options{OnEvent: func(e Event) {
			<-ready
			if e.Kind == EventConnected {
				closed <- end(client.Load())
			}
		}})
		client.Store(c)
		close(ready)
		within(t, c.Done(), "an end from OnEvent")
		if err := <-closed; err != nil {
			t.Error(err)
		}

		var once sync.Once
		ctx := patient(t)
		d, _ := start(t, "nowhere", Options{DialContext: deadEnd,
			Buffer: Buffer{MaxBytes: 4 << 10, Overflow: DropOldest},
			OnDrop: func(uint64, []byte, DropReason) {
				once.Do(func() { client.Load().Close() })
			}})
		client.Store(d)
		n := uint64(0)
		for d.Send(ctx, make([]byte, 1000)) == nil {
			n++
		}
		within(t, d.Done(), "an end from OnDrop")
		accounted(t, d, n)
	}
}

// A dropLog takes what OnDrop is told.
type dropLog struct {
	mu   sync.Mutex // guards the following
	seqs []uint64
	msgs []string
	why  map[DropReason]uint64
}

func (l *dropLog) on(seq uint64, msg []byte, reason DropReason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.why = make(map[DropReason]uint64)
	}
	l.seqs = append(l.seqs, seq)
	l.msgs = append(l.msgs, string(msg))
	l.why[reason]++
}

// TestOverflow fills an outbox that holds 40 messages with 100.
func TestOverflow(t *testing.T) {
	t.Parallel()
	const room, sent = 40, 100
	message := func(seq uint64) string { return fmt.Sprintf("%068d", seq) } // costs 100 of 4096
	tests := []struct {
		overflow    Overflow
		accepted    uint64
		drops       Drops
		reason      DropReason
		first, last uint64 // dropped
	}{
		{Block, room, Drops{}, 0, 1, 0},
		{Reject, room, Drops{}, 0, 1, 0},
		{DropOldest, sent, Drops{Oldest: Count{60, 60 * 68}}, DroppedOldest, 1, 60},
		{DropNewest, sent, Drops{Newest: Count{60, 60 * 68}}, DroppedNewest, 41, 100},
	}
	for _, test := range tests {
		t.Run(test.overflow.String(), func(t *testing.T) {
			var log dropLog
			c, _ := start(t, "nowhere", Options{DialContext: deadEnd, OnDrop: log.on,
				Buffer: Buffer{MaxBytes: 4 << 10, Overflow: test.overflow}})
			for seq := range uint64(sent) {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if test.overflow == Block && seq >= room {
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
				}
				err := c.Send(ctx, []byte(message(seq+1)))
				cancel()
				var want error
				switch {
				case seq >= room && test.overflow == Block:
					want = context.DeadlineExceeded
				case seq >= room && test.overflow == Reject:
					want = ErrFull
				}
				if !errors.Is(err, want) {
					t.Fatalf("Send number %d: %v, want %v", seq+1, err, want)
				}
			}
			if test.overflow == Block {
				if err := c.TrySend([]byte(message(1))); !errors.Is(err, ErrFull) {
					t.Errorf("TrySend: %v, want ErrFull", err)
				}
			}
			if s := c.Stats(); s.Dropped != test.drops {
				t.Errorf("dropped %+v, want %+v", s.Dropped, test.drops)
			}
			finished(t, c)
			accounted(t, c, test.accepted)
			var seqs []uint64
			for seq := test.first; seq <= test.last; seq++ {
				seqs = append(seqs, seq)
			}
			if !slices.Equal(log.seqs, seqs) || log.why[test.reason] != uint64(len(seqs)) {
				t.Errorf("OnDrop: %d, %v; want %d, all %v", log.seqs, log.why, seqs, test.reason)
			}
			for i, m := range log.msgs {
				if m != message(log.seqs[i]) {
					t.Errorf("OnDrop: number %d is %q", log.seqs[i], m)
				}
			}
		})
	}
}

// TestBlockedSendEnds: Close and Shutdown wake senders that wait for room.
func TestBlockedSendEnds(t *testing.T) {
	t.Parallel()
	c, _ := start(t, "nowhere", Options{DialContext: deadEnd, Buffer: Buffer{MaxBytes: 4 << 10}})
	ctx := patient(t)
	if err := c.Send(ctx, make([]byte, 4000)); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 50)
	for range cap(errs) {
		go func() { errs <- c.Send(ctx, make([]byte, 4000)) }()
	}
	await(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.senders.Len() == cap(errs)
	}, "50 senders wait")
	finished(t, c)
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
	}
	accounted(t, c, 1)
}

func TestMaxAgeDrops(t *testing.T) {
	t.Parallel()
	var log dropLog
	c, events := start(t, closedPort(t), Options{OnDrop: log.on, Backoff: Backoff{Base: time.Hour, Cap: time.Hour},
		Framing: wire.LF, Buffer: Buffer{MaxAge: 20 * time.Millisecond}})
	events.await(t, EventAttemptFailed)
	ctx := patient(t)
	want := []string{"a", "bc", "def"}
	for _, m := range want {
		if err := c.Send(ctx, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("Flush: %v; a dropped message is what it need not wait for", err)
	}
	finished(t, c)
	if s := c.Stats(); s.Dropped != (Drops{Expired: Count{3, 9}}) {
		t.Errorf("dropped %+v, want 3 messages of 9 bytes expired", s.Dropped)
	}
	if !slices.Equal(log.msgs, want) || log.why[DroppedExpired] != 3 {
		t.Errorf("OnDrop: %q, %v", log.msgs, log.why)
	}
	if e := events.await(t, EventDropped); e.Dropped.Expired.Messages == 0 {
		t.Errorf("EventDropped: %+v", e.Dropped)
	}
	accounted(t, c, 3)
}

// TestMaxAgeDropsWhileDialling: a dial that takes long is no excuse.
func TestMaxAgeDropsWhileDialling(t *testing.T) {
	t.Parallel()
	c, _ := start(t, "nowhere", Options{DialContext: deadEnd, ConnectTimeout: time.Hour,
		Buffer: Buffer{MaxAge: 20 * time.Millisecond}})
	ctx := patient(t)
	if err := c.Send(ctx, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(ctx); err != nil {
		t.Errorf("Flush: %v; want the message dropped", err)
	}
}
