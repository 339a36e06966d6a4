//go:build linux

package everconn

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These are the rules of accounting, each judged by what the kernel at the
// other end of a real connection says it has.

// eventually waits for a condition of the kernel, of which nobody tells.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after 20 s still not: %s", what)
		}
	}
}

// ioctlOf asks a socket for a number.
func ioctlOf(t *testing.T, conn syscall.Conn, request uint) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n uint32 // not IoctlGetInt: see sendQueue
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetUint32(int(fd), request) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return int(n)
}

// A peerConn is the collector's end. It reads only when it is told to.
type peerConn struct {
	t    *testing.T
	conn *net.TCPConn

	mu   sync.Mutex // guards read, and covers reading with its count
	read uint64
}

// has is how many bytes of the stream the peer's kernel has, or has handed on.
func (p *peerConn) has() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read + uint64(ioctlOf(p.t, p.conn, unix.SIOCINQ))
}

// readN reads up to n bytes of what is there or comes.
func (p *peerConn) readN(n int) error {
	buf := make([]byte, min(n, 32<<10))
	for n > 0 {
		if err := p.readOnce(buf[:min(n, len(buf))], &n); err != nil {
			return err
		}
	}
	return nil
}

func (p *peerConn) readOnce(buf []byte, left *int) error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		k, err := unix.Read(int(fd), buf)
		if err == unix.EAGAIN {
			return false
		}
		if rerr = err; err == nil && k == 0 {
			rerr = io.EOF
		}
		if k > 0 {
			p.read += uint64(k)
			*left -= k
		}
		return true
	})
	if err != nil {
		return err
	}
	return rerr
}

// A slowListener has connections with a small receive buffer.
type slowListener struct{ *net.TCPListener }

func listenSlow(t *testing.T) slowListener {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10) })
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return slowListener{ln.(*net.TCPListener)}
}

func (l slowListener) accept(t *testing.T) *peerConn {
	t.Helper()
	l.SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peerConn{t: t, conn: conn}
}

// oneDial is a DialContext that connects once, hands out the conn, and from
// then on waits for its end.
func oneDial(conns chan<- *net.TCPConn) func(context.Context, string, string) (net.Conn, error) {
	var once sync.Once
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		err := net.ErrClosed
		var conn net.Conn
		once.Do(func() {
			d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10) })
			}}
			d.SetMultipathTCP(false)
			if conn, err = d.DialContext(ctx, network, addr); err == nil {
				conns <- conn.(*net.TCPConn)
			}
		})
		if conn == nil {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return conn, err
	}
}

// socketWritten is what the client has counted of bytes written to its socket.
func socketWritten(c *Client) uint64 {
	c.mu.Lock()
	l := c.live
	c.mu.Unlock()
	if l == nil {
		return 0
	}
	switch k := l.link.(type) {
	case *sock:
		return k.total()
	case *tlsLink:
		return k.total()
	}
	return 0
}

// selfSigned returns the two sides' configurations.
func selfSigned(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

// countedConn is the peer's transport under TLS: crypto/tls reads through it.
type countedConn struct {
	*net.TCPConn
	p *peerConn
}

func (c countedConn) Read(b []byte) (int, error) {
	left := len(b)
	err := c.p.readOnce(b, &left)
	return len(b) - left, err
}

// TestRule1WrittenIsCountedByEachWrite: with one message that is far larger
// than the buffers, and a peer that does not read, what is counted as written
// is at each standstill what the two kernels hold, and the count follows the
// peer's reading before the message has ended.
func TestRule1WrittenIsCountedByEachWrite(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			t.Parallel()
			ln := listenSlow(t)
			conns := make(chan *net.TCPConn, 1)
			o := &Options{DialContext: oneDial(conns)}
			var serverTLS *tls.Config
			if secure {
				serverTLS, o.TLS = selfSigned(t)
			}
			c, err := New(ln.Addr().String(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			p := ln.accept(t)
			read := p.readN
			if secure {
				conn := tls.Server(countedConn{p.conn, p}, serverTLS)
				if err := conn.HandshakeContext(t.Context()); err != nil {
					t.Fatal(err)
				}
				read = func(n int) error { _, err := io.CopyN(io.Discard, conn, int64(n)); return err }
			}
			local := <-conns
			const size = 4 << 20
			if err := c.Send(t.Context(), make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if err := c.WaitConnected(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := uint64(32 << 10)
			for range 5 {
				eventually(t, "the count stands at what both kernels have", func() bool {
					w := socketWritten(c)
					return w > before && w == p.has()+uint64(ioctlOf(t, local, unix.SIOCOUTQ))
				})
				before = socketWritten(c)
				if s := c.Stats(); s.Written.Messages != 0 || before >= size {
					t.Fatalf("%d bytes written, %v whole: the test wants a standstill inside the message", before, s.Written)
				}
				if err := read(512 << 10); err != nil {
					t.Fatal(err)
				}
			}
			if err := read(size - 5*512<<10); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the message is written and confirmed", func() bool {
				s := c.Stats()
				return s.Written.Messages == 1 && s.Confirmed.Messages == 1
			})
		})
	}
}

// TestRule2ConfirmedNeverFallsNorRunsAhead: while both ends run, each reading
// of Confirmed is at most what the peer's kernel has a moment later, and not
// less than the one before.
func TestRule2ConfirmedNeverFallsNorRunsAhead(t *testing.T) {
	t.Parallel()
	ln := listenSlow(t)
	conns := make(chan *net.TCPConn, 1)
	c, err := New(ln.Addr().String(), &Options{DialContext: oneDial(conns), Buffer: Buffer{MaxBytes: 256 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := ln.accept(t)
	var running sync.WaitGroup
	const messages, size = 8000, 700
	running.Go(func() {
		msg := make([]byte, size)
		for range messages {
			if err := c.Send(t.Context(), msg); err != nil {
				t.Error(err)
				return
			}
		}
	})
	running.Go(func() {
		if err := p.readN(messages * size); err != nil {
			t.Error(err)
		}
	})
	var last uint64
	samples := 0
	eventually(t, "all is confirmed", func() bool {
		for range 50 {
			now := c.Stats().Confirmed.Bytes
			if has := p.has(); now > has {
				t.Fatalf("%d bytes confirmed, the peer's kernel has %d", now, has)
			}
			if now < last {
				t.Fatalf("confirmed fell from %d to %d", last, now)
			}
			if now > last {
				samples++
			}
			last = now
		}
		return last == messages*size
	})
	running.Wait()
	if samples < 5 {
		t.Errorf("confirmed was seen to move only %d times: the test saw too little", samples)
	}
	if err := p.conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	p.conn.Close()
	eventually(t, "the reset is noticed", func() bool { return c.State() != Connected })
	if now := c.Stats().Confirmed.Bytes; now != last {
		t.Errorf("confirmed went from %d to %d by a reset", last, now)
	}
}

// TestRule2ReadingDuringWrites: a reading while another goroutine writes, as
// crypto/tls does, never says more than the peer's kernel has a moment later.
func TestRule2ReadingDuringWrites(t *testing.T) {
	t.Parallel()
	s, p := sockPair(t)
	const size = 64 << 20
	var running sync.WaitGroup
	running.Go(func() {
		piece := make([]byte, 8<<10)
		for range size / len(piece) {
			if _, err := s.Write(piece); err != nil {
				t.Error(err)
				return
			}
		}
	})
	running.Go(func() {
		if err := p.readN(size); err != nil {
			t.Error(err)
		}
	})
	var last uint64
	for last < size && !t.Failed() {
		r := s.reading(false)
		if has := p.has(); r.acked > has { // less is allowed: a write came in between
			t.Errorf("%d bytes acknowledged, the peer's kernel has %d", r.acked, has)
			s.tc.Close()
		}
		last = r.acked
	}
	running.Wait()
}

// TestRule3LastReading: the peer reads a random number of bytes and resets.
// The client's account is then what the kernel says afterwards, which a
// duplicate of the descriptor keeps: nothing that was acknowledged is missed,
// and nothing else is confirmed.
func TestRule3LastReading(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 30 {
		lastReading(t, r, round)
	}
}

func lastReading(t *testing.T, r *rand.Rand, round int) {
	ln := listenSlow(t)
	conns := make(chan *net.TCPConn, 1)
	lost := make(chan Event, 1)
	c, err := New(ln.Addr().String(), &Options{DialContext: oneDial(conns), OnEvent: func(e Event) {
		if e.Kind == EventDisconnected {
			lost <- e
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := ln.accept(t)
	local := <-conns
	raw, err := local.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	kept := -1
	if err := raw.Control(func(fd uintptr) { kept, err = unix.Dup(int(fd)) }); err != nil || kept < 0 {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	if err := c.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	total := 0
	for range 400 {
		n := 1 + r.IntN(4000)
		sizes, total = append(sizes, n), total+n
		if err := c.Send(t.Context(), bytes.Repeat([]byte{'x'}, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.readN(r.IntN(total) + 1); err != nil {
		t.Fatal(err)
	}
	p.conn.SetLinger(0)
	p.conn.Close()
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Fatalf("round %d: the reset was not noticed", round)
	}
	queued, err := unix.IoctlGetUint32(kept, unix.SIOCOUTQ)
	if err != nil {
		t.Fatal(err)
	}
	info, err := unix.GetsockoptTCPInfo(kept, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	if info.Rto == 0 {
		t.Skip("TCP_INFO is short here, as it is under an emulator: nothing to compare with")
	}
	// The kernel's own count of acknowledged bytes, which counts the SYN too.
	acked := int(info.Bytes_acked) - 1
	want := Count{}
	for _, n := range sizes {
		if int(want.Bytes)+n > acked {
			break
		}
		want.add(uint32(n))
	}
	if got := c.Stats().Confirmed; got != want {
		t.Fatalf("round %d: confirmed %v, want %v: %d bytes acknowledged, %d queued", round, got, want, acked, queued)
	}
}

// TestRule3NoReadingAfterClose: an account of a connection that is closed says
// nothing, and one taken after the reset, before the close, says all, although
// none was taken before.
func TestRule3NoReadingAfterClose(t *testing.T) {
	t.Parallel()
	s, p := sockPair(t)
	src := &bytesSource{p: make([]byte, 10_000)}
	for len(src.p) > 0 {
		if err := s.push(src); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.readN(10_000); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is acknowledged", func() bool { return ioctlOf(t, s.tc, unix.SIOCOUTQ) == 0 })
	p.conn.SetLinger(0)
	p.conn.Close()
	s.Read(make([]byte, 1)) // returns with the reset
	s.sever()
	if r := s.reading(true); !r.ok || r.acked != 10_000 {
		t.Errorf("last reading %+v, want 10000 bytes acknowledged", r)
	}
	s.close(false)
	if r := s.reading(true); r.ok {
		t.Errorf("a reading after the close says %+v", r)
	}
}

// TestRule3NoWriteAfterSever: on a connection that still lives, no write comes
// after the last reading.
func TestRule3NoWriteAfterSever(t *testing.T) {
	t.Parallel()
	s, p := sockPair(t)
	if _, err := s.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.sever()
	if _, err := s.Write([]byte("late")); err == nil || s.total() != 1000 {
		t.Errorf("a write after the last reading: error %v, %d bytes counted", err, s.total())
	}
	s.close(false)
	if err := p.readN(1001); err != io.EOF || p.read != 1000 {
		t.Errorf("the peer has read %d bytes, then %v", p.read, err)
	}
}

// TestRule4OurFINIsNotAByte: after our FIN, which the send-queue counts,
// acknowledged is what the peer's kernel has, neither one less when all is
// there nor one more before.
func TestRule4OurFINIsNotAByte(t *testing.T) {
	t.Parallel()
	s, p := sockPair(t)
	block := &bytesSource{p: make([]byte, 4<<20)}
	s.src = block
	fill := func() bool { // until there is no room
		if err := s.raw.Write(s.once); err != nil || s.err != nil {
			t.Fatal(err, s.err)
		}
		return s.block
	}
	eventually(t, "the send buffer is full", fill)
	if err := s.closeWrite(); err != nil {
		t.Fatal(err)
	}
	written := s.total()
	eventually(t, "the peer's window is closed", func() bool {
		has := p.has()
		return has < written && written+1-uint64(ioctlOf(t, s.tc, unix.SIOCOUTQ)) == has
	})
	if r, has := s.reading(false), p.has(); !r.ok || r.acked != has {
		t.Errorf("before the FIN has arrived: %+v, the peer's kernel has %d of %d", r, has, written)
	}
	var last uint64
	for p.has() < written {
		if err := p.readN(min(10_000, int(written-p.read))); err != nil {
			t.Fatal(err)
		}
		r := s.reading(false)
		if has := p.has(); r.acked > has || r.acked < last {
			t.Fatalf("%d bytes acknowledged after %d, the peer's kernel has %d", r.acked, last, has)
		}
		last = r.acked
	}
	if err := p.readN(int(written - p.read)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "data and FIN are acknowledged", func() bool { return s.reading(false).queued == 0 })
	if r := s.reading(true); r.acked != written {
		t.Errorf("in the end %d bytes acknowledged of %d", r.acked, written)
	}
}

// sockPair returns a link over a real connection, and the peer.
func sockPair(t *testing.T) (*sock, *peerConn) {
	t.Helper()
	ln := listenSlow(t)
	conns := make(chan *net.TCPConn, 1)
	if _, err := oneDial(conns)(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	tc, raw := rawOf(<-conns)
	s := newSock(tc, raw, new(causeSlot))
	s.arm(func() (time.Duration, error) { return time.Second, nil }, func() {})
	t.Cleanup(func() { tc.Close() })
	return s, ln.accept(t)
}
