package collector

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leaked(5 * time.Second); left != "" {
			fmt.Fprintln(os.Stderr, "goroutines left behind:\n"+left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits until no goroutine but the caller's runs code of this package,
// and returns the stacks of those that still do.
func leaked(wait time.Duration) string {
	for deadline := time.Now().Add(wait); ; runtime.Gosched() {
		buf := make([]byte, 1<<20)
		all := string(buf[:runtime.Stack(buf, true)])
		_, others, _ := strings.Cut(all, "\n\n") // the first is the caller's
		if !strings.Contains(others, "internal/collector") {
			return ""
		}
		if time.Now().After(deadline) {
			return others
		}
	}
}

// record collects what a collector tells.
type record struct {
	Ledger
	mu       sync.Mutex
	messages []string
	ended    chan Ended
}

// start starts a collector whose producer sends numbered lines.
func start(t *testing.T, cfg Config) (*Collector, *record) {
	t.Helper()
	r := &record{ended: make(chan Ended, 64)}
	cfg.OnMessage = func(msg []byte) {
		r.Receive(msg)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.messages = append(r.messages, string(msg))
	}
	cfg.OnEnd = func(e Ended) {
		r.End(e)
		r.ended <- e
	}
	c, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, r
}

func dial(t *testing.T, c *Collector) *net.TCPConn {
	t.Helper()
	conn, err := tryDial(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func tryDial(t *testing.T, c *Collector) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn), nil
}

func frames(f wire.Framing, first, last uint64) (b []byte) {
	for n := first; n <= last; n++ {
		b = f.Append(b, line(n))
	}
	return b
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReadsWholeMessages(t *testing.T) {
	t.Parallel()
	for _, f := range []wire.Framing{wire.LF, wire.OctetCounting, wire.NUL, wire.Uint32} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/tls=%v", f, secure), func(t *testing.T) {
				t.Parallel()
				cfg := Config{Framing: f}
				if secure {
					cfg.TLS = serverTLS(t)
				}
				c, r := start(t, cfg)
				conn := secured(t, c, secure)
				stream := frames(f, 1, 500)
				write(t, conn, stream)
				write(t, conn, f.Append(nil, line(501))[:7])
				_ = conn.Close()
				for n := uint64(1); n <= 500; n++ {
					r.Accept(n)
				}
				ended := <-r.ended
				if ended.How != ByPeer || ended.Messages != 500 || ended.Bytes != int64(len(stream)+7) || ended.Err != nil {
					t.Errorf("ended %+v", ended)
				}
				want := Report{Accepted: 500, Received: 500}
				if f == wire.LF || f == wire.NUL {
					want.Torn = 1
				} else {
					want.Incomplete = 1
				}
				if got := r.Report(); got != want {
					t.Errorf("report %+v, want %+v", got, want)
				}
			})
		}
	}
}

func TestMalformedStreamEndsTheConnection(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.OctetCounting})
	conn := dial(t, c)
	write(t, conn, append(frames(wire.OctetCounting, 1, 1), "no count"...))
	ended := <-r.ended
	if ended.Rest != Malformed || !errors.Is(ended.Err, wire.ErrMalformed) || ended.Messages != 1 {
		t.Errorf("ended %+v", ended)
	}
}

func TestMaxMessage(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF, MaxMessage: 100})
	write(t, dial(t, c), make([]byte, 200))
	if ended := <-r.ended; ended.Rest != Malformed || !errors.Is(ended.Err, wire.ErrLength) {
		t.Errorf("ended %+v", ended)
	}
}

// Every place in a stream can be the end of a connection, and what was read is
// a prefix of what was written.
func TestEndAfter(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			t.Parallel()
			cfg := Config{Framing: wire.Uint32}
			if secure {
				cfg.TLS = serverTLS(t)
			}
			c, r := start(t, cfg)
			stream := frames(wire.Uint32, 1, 5)
			first := len(frames(wire.Uint32, 1, 1))
			for _, k := range []int{0, 1, 3, 4, 5, first - 1, first, first + 1, first + 4, len(stream) - 1, len(stream)} {
				for _, how := range []How{Orderly, Reset} {
					c.EndAfter(int64(k), how)
					tcp, err := tryDial(t, c)
					switch {
					case err == nil:
						conn := securedOver(t, tcp, secure)
						write(t, conn, stream[:k]) // so no more can be read
						_, err = io.Copy(io.Discard, conn)
						_ = conn.Close()
					case k == 0 && errors.Is(err, syscall.EPIPE): // ended before connect(2) had returned
					default:
						t.Fatal(err)
					}
					if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !secure {
						t.Errorf("k=%d %v: the producer sees %v", k, how, err)
					}
					ended := <-r.ended
					if ended.How != how || ended.Bytes != int64(k) || ended.Err != nil && !secure {
						t.Errorf("k=%d %v: ended %+v", k, how, ended)
					}
				}
			}
			if got := r.Report(); got.Torn+got.Malformed+got.OutOfOrder != 0 || got.Received != 5 {
				t.Errorf("report %+v", got)
			}
		})
	}
}

func TestEndAfterIsForConnectionsToCome(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF, Ordered: true})
	old := dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	c.EndAfter(10, Orderly)
	write(t, old, frames(wire.LF, 1, 100))
	_ = old.Close()
	if ended := <-r.ended; ended.How != ByPeer || ended.Messages != 100 {
		t.Errorf("ended %+v", ended)
	}
	write(t, dial(t, c), []byte("0123456789"))
	if ended := <-r.ended; ended.How != Orderly || ended.Bytes != 10 || ended.Conn != 2 || string(ended.Fragment) != "0123456789" {
		t.Errorf("ended %+v", ended)
	}
}

func TestRefuseAndReopen(t *testing.T) {
	t.Parallel()
	c, _ := start(t, Config{})
	conn := dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	c.Refuse()
	if other, err := net.Dial("tcp", c.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial gives %v, %v, want ECONNREFUSED", other, err)
	}
	write(t, conn, []byte("x")) // what is up stays up
	if c.Live() != 1 {
		t.Errorf("%d live connections, want 1", c.Live())
	}
	for range 2 {
		if err := c.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	dial(t, c)
}

// A paused collector makes the producer's write block; afterwards everything
// arrives.
func TestPause(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF, ReadBuffer: 4 << 10})
	conn := dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	c.Pause()
	c.Pause()
	last := uint64(0)
	for err := error(nil); err == nil; {
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		var n int
		frame := frames(wire.LF, last+1, last+1)
		n, err = conn.Write(frame)
		last++
		r.Accept(last)
		if err != nil {
			_ = conn.SetWriteDeadline(time.Time{})
			c.Resume()
			write(t, conn, frame[n:])
		}
	}
	_ = conn.Close()
	<-r.ended
	if got, want := r.Report(), (Report{Accepted: last, Received: last}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

// With Ordered, the connection that was accepted later waits, though it has
// data and the earlier one has none yet.
func TestOrdered(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF, Ordered: true})
	first := dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	second := dial(t, c)
	write(t, second, frames(wire.LF, 51, 100))
	_ = second.Close()
	write(t, first, frames(wire.LF, 1, 50))
	_ = first.Close()
	<-r.ended
	<-r.ended
	if got, want := r.Report(), (Report{Received: 100, Unknown: 100}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

func TestEndReports(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF})
	if ended := c.End(Orderly); ended != nil {
		t.Errorf("without a connection: %+v", ended)
	}
	for _, how := range []How{Orderly, Reset, CloseUnread, CrashUnread} {
		dial(t, c)
		if err := c.WaitLive(within(t)); err != nil {
			t.Fatal(err)
		}
		c.Pause() // an order is obeyed all the same
		ended := c.End(how)
		c.Resume()
		if len(ended) != 1 || ended[0].How != how {
			t.Errorf("%v: ended %+v", how, ended)
		}
		if err := c.WaitIdle(within(t)); err != nil {
			t.Fatal(err)
		}
		<-r.ended
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	c, _ := start(t, Config{Framing: wire.LF, Ordered: true})
	first, second := dial(t, c), dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	c.Pause()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range []net.Conn{first, second} {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes from a closed collector", n)
		}
	}
	if err := c.Reopen(); !errors.Is(err, ErrClosed) {
		t.Errorf("Reopen after Close: %v", err)
	}
	if err := c.WaitLive(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("WaitLive after Close: %v", err)
	}
}

func TestListenRefusesAnUnknownFraming(t *testing.T) {
	if _, err := Listen("127.0.0.1:0", Config{Framing: 99}); err == nil {
		t.Error("no error")
	}
}

// secured dials plain or with TLS.
func secured(t *testing.T, c *Collector, secure bool) net.Conn {
	t.Helper()
	return securedOver(t, dial(t, c), secure)
}

func securedOver(t *testing.T, conn net.Conn, secure bool) net.Conn {
	t.Helper()
	if !secure {
		return conn
	}
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the test's own peer
	if err := client.HandshakeContext(within(t)); err != nil {
		t.Fatal(err)
	}
	return client
}

// serverTLS makes a certificate for the test.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
