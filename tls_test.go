package everconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cenkalti/backoff/v4"

	"github.com/everconn/everconn/wire"
)

// startTLSPeer shakes hands, reads to the end, and tells the names in the
// clients' certificates.
func startTLSPeer(t *testing.T, cfg *tls.Config) (addr string, names chan string) {
	names = make(chan string, 1000)
	peer := startPeer(t, func(_ int, tc *net.TCPConn) {
		conn := tls.Server(tc, cfg)
		defer conn.Close()
		if conn.Handshake() != nil {
			return
		}
		name := ""
		if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
			name = certs[0].Subject.CommonName
		}
		names <- name
		io.Copy(io.Discard, conn)
	})
	return peer.addr, names
}

func TestWrongAuthority(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	addr, _ := startTLSPeer(t, &tls.Config{Certificates: []tls.Certificate{theirs.issue(t, "server")}})
	o := Options{TLS: &tls.Config{RootCAs: ours.pool}, Backoff: quick}

	// Dial does not wait for its ctx, which has far to go.
	c, err := Dial(patient(t), addr, &o)
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) || c != nil {
		t.Errorf("Dial: %v, %v; want a certificate error", c, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial waited for its ctx: %v", err)
	}

	// New goes on trying.
	c, log := start(t, addr, o)
	for range 2 {
		e := log.await(t, EventAttemptFailed)
		var ce *ConnError
		if !errors.As(e.Cause, &ce) || ce.Op != "handshake" || ce.By != ByTLS || !errors.As(e.Cause, &refused) {
			t.Errorf("cause %v, want a certificate error of the handshake", e.Cause)
		}
	}
	if err := c.Err(); err != nil {
		t.Errorf("Err: %v without StopOnTLSError", err)
	}
}

func TestStopOnTLSError(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{theirs.issue(t, "server")}}
	a, _ := startTLSPeer(t, server)
	b, _ := startTLSPeer(t, server)
	c, log := start(t, a+","+b, Options{TLS: &tls.Config{RootCAs: ours.pool}, StopOnTLSError: true})
	if err := c.Send(t.Context(), []byte("kept")); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	within(t, c.Done(), "the stop")
	var refused *tls.CertificateVerificationError
	if err := c.Err(); !errors.As(err, &refused) {
		t.Errorf("Err: %v, want a certificate error", err)
	}
	if e := log.await(t, EventClosed); !errors.As(e.Cause, &refused) {
		t.Errorf("EventClosed: %v, want a certificate error", e.Cause)
	}
	if n := c.Stats().Attempts; n != 2 {
		t.Errorf("%d attempts, want one for each endpoint", n)
	}
	if err := c.Send(t.Context(), []byte("late")); !errors.Is(err, ErrClosed) || !errors.As(err, &refused) {
		t.Errorf("Send: %v, want ErrClosed and why", err)
	}
}

// TestClientCertificateRefused: under TLS 1.3 the peer says so only after the
// handshake.
func TestClientCertificateRefused(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			a, other := newAuthority(t), newAuthority(t)
			addr, _ := startTLSPeer(t, &tls.Config{
				Certificates: []tls.Certificate{a.issue(t, "server")}, MaxVersion: version,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
			})
			stray := other.issue(t, "stray")
			c, _ := start(t, addr, Options{StopOnTLSError: true, TLS: &tls.Config{RootCAs: a.pool,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stray, nil }}})
			within(t, c.Done(), "the stop")
			if err := c.Err(); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("Err: %v, want the alert about our certificate", err)
			}
		})
	}
}

// TestCertificateRotation: each handshake asks for the certificate anew.
func TestCertificateRotation(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	addr, names := startTLSPeer(t, &tls.Config{
		Certificates: []tls.Certificate{a.issue(t, "server")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: a.pool,
	})
	var current atomic.Pointer[tls.Certificate]
	renew := func(name string) {
		cert := a.issue(t, name)
		current.Store(&cert)
	}
	renew("old")
	c, _ := start(t, addr, Options{TLS: &tls.Config{RootCAs: a.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current.Load(), nil }}})
	if name := <-names; name != "old" {
		t.Errorf("certificate of %q, want old", name)
	}
	renew("new")
	c.Reconnect()
	if name := <-names; name != "new" {
		t.Errorf("certificate of %q, want new", name)
	}
	if err := c.Shutdown(patient(t)); err != nil {
		t.Error(err)
	}
}

// TestPipeConfirmsAtWritten: a conn that is no socket.
func TestPipeConfirmsAtWritten(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	got := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(theirs)
		got <- string(b)
	}()
	t.Cleanup(func() { theirs.Close() })
	var dialled atomic.Bool
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		if address != "the pipe" || dialled.Swap(true) {
			return nil, errors.New("one pipe only")
		}
		return ours, nil
	}
	c, log := start(t, "the pipe", Options{DialContext: dial, Framing: wire.LF})
	if e := log.await(t, EventLevel); e.Level != Written {
		t.Errorf("EventLevel: %v, want written", e.Level)
	}
	ctx := patient(t)
	seq, err := c.SendSeq(ctx, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WaitConfirmed(ctx, seq); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Level != Written || s.Confirmed.Messages != 1 {
		t.Errorf("level %v, confirmed %d", s.Level, s.Confirmed.Messages)
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if s := <-got; s != "hello\n" {
		t.Errorf("got %q", s)
	}
}

func TestKernelStrictRefusesDialContext(t *testing.T) {
	t.Parallel()
	if _, err := New("x", &Options{KernelStrict: true, DialContext: deadEnd}); err == nil || !strings.Contains(err.Error(), "KernelStrict") {
		t.Errorf("New: %v, want an error that names KernelStrict", err)
	}
}

// TestPermanentStops: only when every endpoint has said so.
func TestPermanentStops(t *testing.T) {
	t.Parallel()
	why := errors.New("account closed")
	var second atomic.Bool // whether the second endpoint refuses for good, too
	var first, retries atomic.Int64
	dial := func(_ context.Context, _, address string) (net.Conn, error) {
		switch {
		case address == "first":
			first.Add(1)
			return nil, backoff.Permanent(why)
		case second.Load():
			return nil, backoff.Permanent(why)
		}
		retries.Add(1)
		return nil, errors.New("not now")
	}
	c, _ := start(t, "first,second", Options{DialContext: dial})
	await(t, func() bool { return retries.Load() >= 5 }, "5 retries of the second endpoint")
	if err := c.Err(); err != nil {
		t.Errorf("Err: %v while one endpoint may still answer", err)
	}
	if n := first.Load(); n != 1 {
		t.Errorf("the endpoint that refused for good was tried %d times", n)
	}
	second.Store(true)
	within(t, c.Done(), "the stop")
	if err := c.Err(); !errors.Is(err, why) {
		t.Errorf("Err: %v, want %v", err, why)
	}
	if err := c.TrySend([]byte("x")); !errors.Is(err, ErrClosed) || !errors.Is(err, why) {
		t.Errorf("TrySend: %v, want ErrClosed and why", err)
	}
}

// TestPermanentFromOnConnect: a login that is refused for good.
func TestPermanentFromOnConnect(t *testing.T) {
	t.Parallel()
	why := errors.New("bad password")
	peer := startPeer(t, readAll)
	o := Options{OnConnect: func(context.Context, net.Conn) error { return backoff.Permanent(why) }}
	c, _ := start(t, peer.addr, o)
	within(t, c.Done(), "the stop")
	var ce *ConnError
	if err := c.Err(); !errors.Is(err, why) || !errors.As(err, &ce) || ce.Op != "on-connect" {
		t.Errorf("Err: %v, want an on-connect error that wraps %v", err, why)
	}
	if _, err := Dial(patient(t), peer.addr, &o); !errors.Is(err, why) {
		t.Errorf("Dial: %v, want %v", err, why)
	}
}
