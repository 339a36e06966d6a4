package everconn

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of a test: beyond it something hangs.
const patience = 20 * time.Second

// quick is a backoff that does not slow a test down.
var quick = Backoff{Base: time.Millisecond, Cap: 5 * time.Millisecond}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A testPeer is the other end: a loopback listener and a goroutine for each
// connection, all ended with the test.
type testPeer struct {
	addr string

	mu    sync.Mutex // guards the following
	ln    *net.TCPListener
	conns []*net.TCPConn
	ended bool
	wg    sync.WaitGroup
}

// startPeer serves connection number n, from 0, with serve(n, conn).
func startPeer(t *testing.T, serve func(n int, conn *net.TCPConn)) *testPeer {
	return startPeerAt(t, "127.0.0.1:0", serve)
}

func startPeerAt(t *testing.T, addr string, serve func(n int, conn *net.TCPConn)) *testPeer {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return servePeer(t, ln.(*net.TCPListener), serve)
}

func servePeer(t *testing.T, ln *net.TCPListener, serve func(n int, conn *net.TCPConn)) *testPeer {
	p := &testPeer{addr: ln.Addr().String(), ln: ln}
	p.wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.ended {
				p.mu.Unlock()
				conn.Close()
				return
			}
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			p.wg.Go(func() { serve(n, conn) })
		}
	})
	t.Cleanup(p.end)
	return p
}

// drain closes the listener, and waits until the connections have ended by
// themselves.
func (p *testPeer) drain() {
	p.ln.Close()
	p.wg.Wait()
}

// end closes the listener and all connections, and waits for the goroutines.
func (p *testPeer) end() {
	p.mu.Lock()
	p.ended = true
	p.ln.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// closedPort returns an address that refuses.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// readAll is a peer that reads everything, until the end.
func readAll(_ int, conn *net.TCPConn) { io.Copy(io.Discard, conn); conn.Close() }

// reset ends a connection with RST.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// An eventLog takes events for a test to wait for.
type eventLog struct{ ch chan Event }

func newEventLog() *eventLog { return &eventLog{make(chan Event, 4096)} }

func (l *eventLog) on(e Event) { l.ch <- e }

// await returns the next event of a kind and discards those before it.
func (l *eventLog) await(t *testing.T, kind EventKind) Event {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e := <-l.ch:
			if e.Kind == kind {
				return e
			}
		case <-limit:
			t.Fatalf("no event %v within %v", kind, patience)
		}
	}
}

// start makes a client that is closed with the test.
func start(t *testing.T, addr string, o Options) (*Client, *eventLog) {
	t.Helper()
	log := newEventLog()
	if o.OnEvent == nil {
		o.OnEvent = log.on
	}
	if o.Backoff == (Backoff{}) {
		o.Backoff = quick
	}
	c, err := New(addr, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finished(t, c) })
	return c, log
}

// finished closes a client and waits for all its goroutines.
func finished(t *testing.T, c *Client) {
	t.Helper()
	done := make(chan struct{})
	go func() { c.Close(); <-c.Done(); close(done) }()
	within(t, done, "Close and Done")
}

func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		panic(t.Name() + ": " + what + " hangs") // with all stacks
	}
}

// await waits for a condition that nothing announces.
func await(t *testing.T, ok func() bool, what string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// serverConn is the server's side of TLS, or conn itself if cfg is nil.
func serverConn(conn *net.TCPConn, cfg *tls.Config) net.Conn {
	if cfg == nil {
		return conn
	}
	return tls.Server(conn, cfg)
}

// octets decodes an octet-counted stream. torn reports that it ends within a
// message.
func octets(b []byte) (msgs []string, torn bool, err error) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, ' ')
		if i < 0 {
			return msgs, true, nil
		}
		n, err := strconv.Atoi(string(b[:i]))
		if err != nil {
			return msgs, false, fmt.Errorf("not a count: %.20q", b)
		}
		if len(b) < i+1+n {
			return msgs, true, nil
		}
		msgs = append(msgs, string(b[i+1:i+1+n]))
		b = b[i+1+n:]
	}
	return msgs, false, nil
}

// An authority issues certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
