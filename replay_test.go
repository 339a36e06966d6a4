package everconn

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

// A cutPeer reads exactly cuts[n] bytes of connection n, then ends it without
// losing a byte that its kernel has acknowledged: it shuts both sides, and
// counts what it still finds as received. Later connections it reads to their
// end.
type cutPeer struct {
	cuts []int
	tls  *tls.Config

	mu       sync.Mutex // guards the following
	received map[int][]byte
}

func (p *cutPeer) serve(n int, tc *net.TCPConn) {
	defer tc.Close()
	conn := serverConn(tc, p.tls)
	var got bytes.Buffer
	if n < len(p.cuts) {
		io.CopyN(&got, conn, int64(p.cuts[n]))
		tc.CloseRead()
		tc.CloseWrite()
	}
	io.Copy(&got, conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received[n] = got.Bytes()
}

// replay sends msgs to a peer that cuts, and checks what the peer got. It
// returns the whole messages that arrived a second time.
func replay(t *testing.T, p *cutPeer, o Options, msgs []string) (twice int) {
	t.Helper()
	p.received = make(map[int][]byte)
	peer := startPeer(t, p.serve)
	var mu sync.Mutex
	var unconfirmed Count
	o.Framing = wire.OctetCounting
	o.OnEvent = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		unconfirmed.addCount(e.Unconfirmed)
	}
	c, _ := start(t, peer.addr, o)
	ctx := patient(t)
	for _, m := range msgs {
		if err := c.Send(ctx, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Fatalf("Shutdown: %v; %+v", err, c.Stats())
	}
	within(t, c.Done(), "Done")
	peer.drain()

	mu.Lock()
	defer mu.Unlock()
	s := c.Stats()
	if s.Resent != unconfirmed {
		t.Errorf("resent %+v, but unconfirmed were %+v", s.Resent, unconfirmed)
	}
	if n := uint64(len(msgs)); s.Accepted.Messages != n || s.Confirmed != s.Accepted || s.Dropped != (Drops{}) {
		t.Errorf("%d messages sent: accepted %+v, confirmed %+v, dropped %+v", n, s.Accepted, s.Confirmed, s.Dropped)
	}
	return arrivals(t, p.received, msgs)
}

// arrivals checks that every message arrived, whole, first arrivals in order,
// and that each connection goes on where none before it had a gap.
func arrivals(t *testing.T, received map[int][]byte, msgs []string) (twice int) {
	t.Helper()
	next := 0 // all before it have arrived
	for n := range len(received) {
		got, torn, err := octets(received[n])
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		if torn && n == len(received)-1 {
			t.Errorf("the last connection ends within a message")
		}
		if len(got) == 0 {
			continue
		}
		first := next
		for first > 0 && (first == len(msgs) || msgs[first] != got[0]) {
			first--
		}
		twice += min(next-first, len(got))
		for i, m := range got {
			if first+i >= len(msgs) || m != msgs[first+i] {
				t.Fatalf("connection %d: message %d of it is %.30q, want number %d", n, i, m, first+i)
			}
		}
		next = max(next, first+len(got))
	}
	if next != len(msgs) {
		t.Errorf("%d of %d messages arrived", next, len(msgs))
	}
	return twice
}

// numbered makes n distinct messages of up to size bytes.
func numbered(r *rand.Rand, n, size int) (msgs []string, ends []int) {
	end := 0
	for i := range n {
		m := fmt.Sprintf("%d:%s", i, strings.Repeat(string(rune('a'+i%26)), r.IntN(size)))
		msgs = append(msgs, m)
		end += len(wire.OctetCounting.Append(nil, []byte(m)))
		ends = append(ends, end)
	}
	return msgs, ends
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestReplayExactly cuts the first connection everywhere around the boundaries
// of messages.
func TestReplayExactly(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			t.Parallel()
			r := seeded(t)
			msgs, ends := numbered(r, 60, 3000)
			o, server := secured(t, secure)
			cuts := []int{0, 1}
			for i := 0; i < len(ends)-1; i += 6 {
				cuts = append(cuts, ends[i]-1, ends[i], ends[i]+1, ends[i]+2+r.IntN(100))
			}
			for _, k := range cuts {
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					twice := replay(t, &cutPeer{cuts: []int{k}, tls: server}, o, msgs)
					if twice > 0 && !secure && runtime.GOOS == "linux" {
						t.Errorf("%d messages arrived twice, though the kernel had told", twice)
					}
				})
			}
		})
	}
}

// TestReplayAcrossManyDeaths cuts connection after connection, with messages
// larger than a segment and more of them than the socket buffers hold.
func TestReplayAcrossManyDeaths(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			t.Parallel()
			r := seeded(t)
			o, server := secured(t, secure)
			msgs, ends := numbered(r, 150, 150_000)
			p := &cutPeer{tls: server}
			for range 12 {
				p.cuts = append(p.cuts, r.IntN(ends[len(ends)-1]/10))
			}
			t.Logf("cuts %v", p.cuts)
			replay(t, p, o, msgs)
		})
	}
}

// TestReplayAfterReconnect: the client itself ends connections in the middle.
func TestReplayAfterReconnect(t *testing.T) {
	t.Parallel()
	msgs, _ := numbered(seeded(t), 3000, 3000)
	p := &cutPeer{received: make(map[int][]byte)}
	peer := startPeer(t, p.serve)
	c, _ := start(t, peer.addr, Options{Framing: wire.OctetCounting})
	ctx := patient(t)
	if err := c.WaitConnected(ctx); err != nil { // before that there is nothing to end
		t.Fatal(err)
	}
	for i, m := range msgs {
		if i%300 == 0 {
			c.Reconnect()
		}
		if err := c.Send(ctx, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	peer.drain()
	if c.Stats().Reconnects == 0 {
		t.Error("Reconnect did not reconnect")
	}
	arrivals(t, p.received, msgs)
}

// secured returns options and a server's configuration, with TLS or without.
func secured(t *testing.T, secure bool) (Options, *tls.Config) {
	t.Helper()
	if !secure {
		return Options{}, nil
	}
	a := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "server")}}
	return Options{TLS: &tls.Config{RootCAs: a.pool}}, server
}
