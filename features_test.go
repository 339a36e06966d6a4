package everconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everconn/everconn/internal/collector"
	"github.com/everconn/everconn/wire"
)

// listen starts a collector that counts into a ledger.
func listen(t *testing.T, cfg collector.Config) (*collector.Collector, *collector.Ledger) {
	t.Helper()
	var l collector.Ledger
	cfg.Framing, cfg.Ordered, cfg.OnMessage, cfg.OnEnd = wire.OctetCounting, true, l.Receive, l.End
	c, err := collector.Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, &l
}

// sendLines sends the numbered lines from first to last.
func sendLines(t *testing.T, c *Client, l *collector.Ledger, first, last uint64) {
	t.Helper()
	for n := first; n <= last; n++ {
		if err := c.Send(patient(t), collector.AppendLine(nil, n)); err != nil {
			t.Fatal(err)
		}
		l.Accept(n)
	}
}

// settleUp ends the client and checks that all arrived, whole and in order.
func settleUp(t *testing.T, c *Client, coll *collector.Collector, ledgers ...*collector.Ledger) {
	t.Helper()
	if err := c.Shutdown(patient(t)); err != nil {
		t.Error(err)
	}
	<-c.Done()
	if err := coll.WaitIdle(patient(t)); err != nil {
		t.Error(err)
	}
	coll.Close()
	for _, l := range ledgers {
		if r := l.Report(); r.Lost+r.Torn+r.OutOfOrder+r.Malformed != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// A connection ends at its age in good order, under load too: nothing is sent
// twice.
func TestMaxConnAgeRotatesInGoodOrder(t *testing.T) {
	t.Parallel()
	coll, l := listen(t, collector.Config{})
	c, err := New(coll.Addr(), &Options{Framing: wire.OctetCounting, MaxConnAge: time.Second, Backoff: quick})
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for c.Stats().Reconnects < 2 {
		sendLines(t, c, l, n+1, n+50)
		n += 50
		if err := c.Flush(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	settleUp(t, c, coll, l)
	if r := l.Report(); r.Duplicates != 0 || c.Stats().Resent.Messages != 0 || c.Stats().LastCause != nil {
		t.Errorf("%+v, resent %+v, cause %v", r, c.Stats().Resent, c.Stats().LastCause)
	}
}

// A message that ends every connection on which it arrives blocks the others
// only until MaxReplays.
func TestMaxReplaysGivesUpAPoisonedMessage(t *testing.T) {
	t.Parallel()
	const poison = "the peer resets on this"
	received := make(chan string, 8)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			// The kernel must not acknowledge the whole message, or it is confirmed:
			// a peer with a small window that reads its head and resets.
			head := make([]byte, len(poison))
			if _, err := io.ReadFull(conn, head); err == nil && string(head) == poison {
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				continue
			}
			rest, _ := io.ReadAll(conn)
			conn.Close()
			received <- string(head) + string(rest)
		}
	}()
	dropped := make(chan DropReason, 8)
	c, err := New(ln.Addr().String(), &Options{
		Backoff: quick, MaxReplays: 2, Buffer: Buffer{MaxBytes: 64 << 20},
		OnDrop: func(seq uint64, msg []byte, reason DropReason) {
			if seq != 1 || len(msg) != 32<<20 {
				t.Errorf("dropped message %d of %d bytes", seq, len(msg))
			}
			dropped <- reason
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	poisoned := make([]byte, 32<<20) // more than any send and receive buffer
	copy(poisoned, poison)
	if err := c.Send(patient(t), poisoned); err != nil {
		t.Fatal(err)
	}
	after := "what came after it, and is not to wait for ever"
	if err := c.Send(patient(t), []byte(after)); err != nil {
		t.Fatal(err)
	}
	if reason := <-dropped; reason != DroppedReplays {
		t.Errorf("reason %v", reason)
	}
	if err := c.Shutdown(patient(t)); err != nil {
		t.Error(err)
	}
	if got := <-received; got != after {
		t.Errorf("received %q", got)
	}
	s := c.Stats()
	if s.Dropped.Replays.Messages != 1 || s.Resent.Messages < 2 || s.Confirmed.Messages != 1 {
		t.Errorf("%+v", s)
	}
	ln.Close()
	<-ended
	<-c.Done()
}

// The endpoints are tried in order; when the live one goes, the next takes over
// and nothing is lost; when it goes, the first is tried again.
func TestEndpointsTakeOver(t *testing.T) {
	t.Parallel()
	for _, shuffle := range []bool{false, true} {
		t.Run(fmt.Sprintf("shuffle=%v", shuffle), func(t *testing.T) {
			t.Parallel()
			a, la := listen(t, collector.Config{})
			b, lb := listen(t, collector.Config{})
			c, err := New(a.Addr()+","+b.Addr(), &Options{Framing: wire.OctetCounting, Shuffle: shuffle, Backoff: quick})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.WaitConnected(patient(t)); err != nil {
				t.Fatal(err)
			}
			first, other, lf, lo := a, b, la, lb
			if c.Stats().Endpoint == b.Addr() {
				if !shuffle {
					t.Error("the second endpoint was tried first")
				}
				first, other, lf, lo = b, a, lb, la
			}
			sendLines(t, c, lf, 1, 100)
			if err := c.Flush(patient(t)); err != nil {
				t.Fatal(err)
			}
			first.Refuse()
			first.End(collector.Reset)
			sendLines(t, c, lo, 101, 200)
			if err := c.Flush(patient(t)); err != nil {
				t.Fatal(err)
			}
			if got := c.Stats().Endpoint; got != other.Addr() {
				t.Errorf("connected to %s, want %s", got, other.Addr())
			}
			settleUp(t, c, other, lf, lo)
		})
	}
}

// The preamble comes first on every connection.
func TestOnConnectSpeaksFirst(t *testing.T) {
	t.Parallel()
	var greeted atomic.Int32
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lines := make(chan string, 16)
	go func() {
		defer close(lines)
		for range 3 {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "welcome")
			s := bufio.NewScanner(conn)
			for range 2 {
				if s.Scan() {
					lines <- s.Text()
				}
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}()
	c, err := New(ln.Addr().String(), &Options{Framing: wire.LF, Backoff: quick,
		OnConnect: func(_ context.Context, conn net.Conn) error {
			greeted.Add(1)
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			if _, err := io.ReadFull(conn, make([]byte, len("welcome\n"))); err != nil {
				return err
			}
			_, err := io.WriteString(conn, "hello\n")
			return err
		}})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range lines {
		if seen%2 == 0 {
			if line != "hello" {
				t.Errorf("%q came first", line)
			}
			if err := c.Send(patient(t), []byte("message")); err != nil {
				t.Fatal(err)
			}
		}
		seen++
	}
	if seen < 6 || greeted.Load() < 3 {
		t.Errorf("%d lines, %d greetings", seen, greeted.Load())
	}
	c.Close()
	<-c.Done()
}

// Receive reads what the peer sends; nil discards from then on, an error
// reconnects.
func TestReceive(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	peer := startPeer(t, func(n int, conn *net.TCPConn) {
		defer conn.Close()
		fmt.Fprintf(conn, "connection %d\n", n)
		_, _ = conn.Write(make([]byte, 1<<20)) // and a flood that nobody wants
		_, _ = io.Copy(io.Discard, conn)
	})
	read := make(chan string, 4)
	var calls atomic.Int32
	c, log := start(t, peer.addr, Options{Framing: wire.LF, Backoff: quick,
		Receive: func(r io.Reader) error {
			line, err := bufio.NewReaderSize(r, 16).ReadString('\n')
			if err != nil {
				return err
			}
			read <- line
			if calls.Add(1) == 1 {
				return enough
			}
			return nil
		}})
	if first := <-read; first != "connection 0\n" {
		t.Errorf("%q", first)
	}
	if e := log.await(t, EventDisconnected); !errors.Is(e.Cause, enough) {
		t.Errorf("cause %v", e.Cause)
	}
	if second := <-read; second != "connection 1\n" {
		t.Errorf("%q", second)
	}
	if err := c.Send(patient(t), []byte("goes on")); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(patient(t)); err != nil {
		t.Error(err)
	}
}

// tuned returns a connection with the socket options of o.
func tuned(t *testing.T, o Liveness) (*net.TCPConn, syscall.RawConn) {
	t.Helper()
	coll, _ := listen(t, collector.Config{})
	c := &Client{opts: Options{Liveness: o}.withDefaults()}
	conn, err := c.dial(t.Context(), coll.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := c.tune(conn); err != nil {
		t.Fatal(err)
	}
	return rawOf(conn)
}

// What the options promise is what the kernel has.
func TestSocketOptionsAreRead(t *testing.T) {
	t.Parallel()
	tc, raw := tuned(t, Liveness{DeadAfter: 12 * time.Second})
	if multipath, err := tc.MultipathTCP(); multipath || err != nil {
		t.Errorf("MPTCP: %v, %v", multipath, err)
	}
	var got KeepAlive
	var err error
	if cerr := raw.Control(func(fd uintptr) { got, err = keepAliveOf(fd) }); cerr != nil || err != nil {
		t.Skipf("keepalive cannot be read back here: %v", errors.Join(cerr, err))
	}
	if want := (KeepAlive{Idle: 6 * time.Second, Interval: 2 * time.Second, Count: 3}); got != want {
		t.Errorf("keepalive %+v, want %+v", got, want)
	}
}

// A heartbeat on a socket is answered, framed, and neither counted nor replayed.
func TestHeartbeatOnASocket(t *testing.T) {
	t.Parallel()
	var beats atomic.Int32
	silent := make(chan struct{})
	peer := startPeer(t, func(_ int, conn *net.TCPConn) {
		defer conn.Close()
		s := wire.LF.Scanner(conn, 1<<10)
		for s.Scan() {
			if s.Text() != "ping" {
				continue
			}
			beats.Add(1)
			select {
			case <-silent:
			default:
				fmt.Fprintln(conn, "pong")
			}
		}
	})
	c, log := start(t, peer.addr, Options{Framing: wire.LF, Backoff: quick,
		Heartbeat: Heartbeat{Payload: []byte("ping"), Interval: 20 * time.Millisecond, Timeout: 300 * time.Millisecond}})
	ctx := patient(t)
	for beats.Load() < 5 {
		if err := c.Send(ctx, []byte("message")); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s := c.Stats()
	if s.Accepted != s.Confirmed || s.Resent.Messages != 0 || s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
	close(silent)
	e := log.await(t, EventDisconnected)
	if !errors.Is(e.Cause, ErrHeartbeat) || errors.Is(e.Cause, syscall.ETIMEDOUT) {
		t.Errorf("cause %v", e.Cause)
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// A heartbeat that is due while a write waits does not make run spin: it is sent
// after the write, or its silence ends the connection.
func TestADueHeartbeatDoesNotSpin(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := &live{c: &Client{opts: Options{Heartbeat: Heartbeat{Interval: time.Second, Timeout: time.Minute}}}, born: now}
	l.nextBeat = now.Add(-time.Second)
	if wait := time.Until(l.nextDue()); wait < 50*time.Second {
		t.Errorf("the next tick is due in %v, want the end of the heartbeat's patience", wait)
	}
	l.nextBeat = now.Add(time.Second)
	if wait := time.Until(l.nextDue()); wait > time.Second {
		t.Errorf("the next tick is due in %v, want the next heartbeat", wait)
	}
}
