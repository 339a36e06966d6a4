//go:build linux

package everconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

// smallWindow listens with a receive buffer that a few messages fill.
func smallWindow(t *testing.T) *net.TCPListener {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10)
		})
		return errors.Join(err, cerr)
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln.(*net.TCPListener)
}

// keepSending sends until the test ends, so that a death meets a busy client.
func keepSending(t *testing.T, c *Client) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		msg := make([]byte, 1000)
		for c.Send(ctx, msg) == nil {
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestDeaths(t *testing.T) {
	tests := []struct {
		name string
		die  func(*net.TCPConn)
		want error
	}{
		{"reset", reset, syscall.ECONNRESET},
		{"fin", func(c *net.TCPConn) { c.CloseWrite(); io.Copy(io.Discard, c); c.Close() }, io.EOF},
	}
	for _, test := range tests {
		for _, busy := range []bool{false, true} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/busy=%v/tls=%v", test.name, busy, secure), func(t *testing.T) {
					t.Parallel()
					o, server := secured(t, secure)
					kill := make(chan struct{})
					peer := startPeer(t, func(n int, tc *net.TCPConn) {
						conn := serverConn(tc, server)
						if n > 0 {
							io.Copy(io.Discard, conn)
							return
						}
						go func() { <-kill; test.die(tc) }()
						io.Copy(io.Discard, conn)
					})
					c, log := start(t, peer.addr, o)
					log.await(t, EventConnected)
					if busy {
						keepSending(t, c)
						await(t, func() bool { return c.Confirmed() > 1000 }, "1000 confirmed")
					}
					close(kill)
					e := log.await(t, EventDisconnected)
					if !errors.Is(e.Cause, test.want) {
						t.Errorf("cause %v, want %v", e.Cause, test.want)
					}
					var ce *ConnError
					if !errors.As(e.Cause, &ce) || ce.Op != "connection" || ce.Endpoint != peer.addr {
						t.Errorf("cause %#v: want a *ConnError about connection %s", e.Cause, peer.addr)
					}
					log.await(t, EventConnected)
				})
			}
		}
	}
}

func TestHalfOpenKeepsSending(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 1)
	fin := make(chan struct{})
	peer := startPeer(t, func(_ int, conn *net.TCPConn) {
		conn.CloseWrite()
		close(fin)
		b, _ := io.ReadAll(conn)
		got <- b
		conn.Close()
	})
	c, log := start(t, peer.addr, Options{Framing: wire.LF, Liveness: Liveness{AllowHalfOpen: true}})
	log.await(t, EventConnected)
	<-fin
	ctx := patient(t)
	want := ""
	for i := range 200 {
		m := fmt.Sprintf("message %d", i)
		want += m + "\n"
		if err := c.Send(ctx, []byte(m)); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Reconnects != 0 || s.Attempts != 1 {
		t.Errorf("reconnects %d, attempts %d: want the one connection", s.Reconnects, s.Attempts)
	}
	if b := <-got; string(b) != want {
		t.Errorf("got %d bytes, want %d", len(b), len(want))
	}
}

// TestFloodIsDrained: what the peer sends, and nobody reads, neither stops the
// peer nor the client.
func TestFloodIsDrained(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			t.Parallel()
			const flood = 16 << 20
			o, server := secured(t, secure)
			flooded := make(chan error, 1)
			peer := startPeer(t, func(_ int, tc *net.TCPConn) {
				conn := serverConn(tc, server)
				go io.Copy(io.Discard, conn)
				_, err := conn.Write(make([]byte, flood))
				flooded <- err
			})
			c, log := start(t, peer.addr, o)
			log.await(t, EventConnected)
			ctx := patient(t)
			for range 50 {
				if err := c.Send(ctx, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				if err := c.Flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-flooded:
				if err != nil {
					t.Error(err)
				}
			case <-ctx.Done():
				t.Fatal("the flood is not drained")
			}
			if s := c.Stats(); s.State != Connected || s.Reconnects != 0 {
				t.Errorf("state %v after %d reconnects", s.State, s.Reconnects)
			}
		})
	}
}

// TestStalledPeerIsNotKilled: a peer that does not read is alive, for longer
// than DeadAfter, and everything arrives once it reads.
func TestStalledPeerIsNotKilled(t *testing.T) {
	t.Parallel()
	needPath(t)
	read := make(chan struct{})
	total := make(chan int64, 1)
	peer := servePeer(t, smallWindow(t), func(_ int, conn *net.TCPConn) {
		<-read
		n, _ := io.Copy(io.Discard, conn)
		total <- n
		conn.Close()
	})
	resume := func() {
		select {
		case <-read:
		default:
			close(read)
		}
	}
	t.Cleanup(resume)
	liveness := Liveness{DeadAfter: 3 * time.Second}
	c, log := start(t, peer.addr, Options{Liveness: liveness, Framing: wire.LF, Buffer: Buffer{MaxBytes: 32 << 20}})
	ctx := patient(t)
	for range 16 {
		if err := c.Send(ctx, make([]byte, 1<<20-1)); err != nil {
			t.Fatal(err)
		}
	}
	if e := log.await(t, EventStalled); e.State != Stalled {
		t.Errorf("state %v with EventStalled", e.State)
	}
	if c.State() != Stalled {
		t.Errorf("state %v, want stalled", c.State())
	}
	killed := time.NewTimer(liveness.DeadAfter + time.Second)
	defer killed.Stop()
	select {
	case e := <-log.ch:
		t.Fatalf("event %v: %v; want none while the peer does not read", e.Kind, e.Cause)
	case <-killed.C:
	}
	resume()
	log.await(t, EventResumed)
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if n := <-total; n != 16<<20 {
		t.Errorf("%d bytes arrived, want %d", n, 16<<20)
	}
	if s := c.Stats(); s.Reconnects != 0 || s.Resent.Messages != 0 {
		t.Errorf("reconnects %d, resent %d", s.Reconnects, s.Resent.Messages)
	}
}

func TestMaxStallGivesUp(t *testing.T) {
	t.Parallel()
	needPath(t)
	peer := servePeer(t, smallWindow(t), func(n int, conn *net.TCPConn) {
		if n > 0 {
			readAll(n, conn)
		}
	})
	c, log := start(t, peer.addr, Options{Liveness: Liveness{DeadAfter: 3 * time.Second, MaxStall: time.Second}})
	ctx := patient(t)
	for range 6 {
		if err := c.Send(ctx, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if e := log.await(t, EventDisconnected); !errors.Is(e.Cause, ErrStalled) {
		t.Errorf("cause %v, want ErrStalled", e.Cause)
	}
	if err := c.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// TestPortClosedThenReopened: refused while nobody listens, connected as soon
// as somebody does, and nothing of what was sent meanwhile is lost.
func TestPortClosedThenReopened(t *testing.T) {
	addr := closedPort(t)
	c, log := start(t, addr, Options{Framing: wire.LF})
	ctx := patient(t)
	if err := c.Send(ctx, []byte("early")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if e := log.await(t, EventAttemptFailed); !errors.Is(e.Cause, syscall.ECONNREFUSED) || e.State != Waiting {
			t.Errorf("%v in state %v, want ECONNREFUSED and waiting", e.Cause, e.State)
		}
	}
	got := make(chan string, 1)
	startPeerAt(t, addr, func(_ int, conn *net.TCPConn) {
		b, _ := io.ReadAll(conn)
		got <- string(b)
		conn.Close()
	})
	log.await(t, EventConnected)
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if s := <-got; s != "early\n" {
		t.Errorf("got %q", s)
	}
}

func TestUnresolvable(t *testing.T) {
	t.Parallel()
	c, log := start(t, "not..a.name:1", Options{}) // no name server is asked
	e := log.await(t, EventAttemptFailed)
	var dns *net.DNSError
	if !errors.As(e.Cause, &dns) {
		t.Errorf("cause %v, want a *net.DNSError", e.Cause)
	}
	if s := c.Stats(); s.Attempts == 0 || s.LastCause == nil {
		t.Errorf("attempts %d, last cause %v", s.Attempts, s.LastCause)
	}
}

// TestDropOldestInFlight: when all that is left is in flight, its copies go,
// and the wire keeps its order and its framing.
func TestDropOldestInFlight(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	got := make(chan []byte, 1)
	peer := servePeer(t, smallWindow(t), func(_ int, conn *net.TCPConn) {
		select {
		case <-read:
		case <-t.Context().Done():
		}
		b, _ := io.ReadAll(conn)
		got <- b
		conn.Close()
	})
	var log dropLog
	c, events := start(t, peer.addr, Options{Framing: wire.OctetCounting, OnDrop: log.on,
		Buffer: Buffer{MaxBytes: 8 << 10, Overflow: DropOldest}})
	events.await(t, EventConnected)
	ctx := patient(t)
	sent := uint64(0)
	for c.Stats().Dropped.InFlight.Messages < 10 {
		m := fmt.Sprintf("%d:%01000d", sent, 0)
		sent++
		if err := c.Send(ctx, []byte(m)); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return c.Stats().Queued.Messages == 0 }, "all is in flight")
	}
	close(read)
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	msgs, torn, err := octets(<-got)
	if err != nil || torn || uint64(len(msgs)) != sent {
		t.Errorf("%d of %d messages arrived, torn %v, %v", len(msgs), sent, torn, err)
	}
	s := c.Stats()
	if n := s.Dropped.InFlight.Messages; log.why[DroppedInFlight] != n || s.Dropped.Total().Messages != n {
		t.Errorf("dropped %+v, OnDrop %v", s.Dropped, log.why)
	}
	accounted(t, c, sent)
}

// needPath skips a test where the kernel does not tell about the path: outside
// Linux, and under an emulator, whose TCP_INFO is short.
func needPath(t *testing.T) {
	t.Helper()
	ours, _ := socketPair(t)
	_, raw := rawOf(ours)
	known := false
	if err := raw.Control(func(fd uintptr) { known = pathOf(fd).known }); err != nil {
		t.Fatal(err)
	}
	if !known {
		t.Skip("TCP_INFO is missing or short here, so a stalled peer cannot be told from a dead one")
	}
}
