package everconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
	"time"
)

// abandonAfter is how long a function of the user's may go on after its ctx has
// ended before run goes on without it.
const abandonAfter = time.Second

// A result is what an attempt brings.
type result struct {
	l    *live
	cerr *ConnError
}

// attempt makes one attempt to connect: dial, TLS handshake, OnConnect. It
// happens on a goroutine that ends, so that the stack it needs is not kept by
// an idle client.
func (m *manager) attempt(endpoint string) (*live, *ConnError) {
	c := m.c
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.ConnectTimeout)
	defer cancel()
	results, abandoned := make(chan result), make(chan struct{})
	c.running.Go(func() {
		l, cerr := c.establish(ctx, endpoint)
		select {
		case results <- result{l, cerr}:
		case <-abandoned:
			if l != nil {
				l.link.close(false)
			}
		}
	})
	defer close(abandoned)
	l, cerr := m.await(ctx, cancel, results, endpoint)
	if l == nil {
		return nil, cerr
	}
	if err := m.adopt(l); err != nil {
		l.link.close(false)
		return nil, &ConnError{Op: "dial", Endpoint: endpoint, Cause: err, By: ByDial}
	}
	return l, nil
}

// await waits for the result, and cancels the attempt when the client is to
// end. A function of the user's that does not return then is left behind.
func (m *manager) await(ctx context.Context, cancel func(), results chan result, endpoint string) (*live, *ConnError) {
	c := m.c
	over := ctx.Done()
	var left <-chan time.Time
	expiry := time.NewTimer(longWait)
	defer expiry.Stop()
	for {
		c.mu.Lock()
		c.expire()
		c.mu.Unlock()
		if at := c.nextExpiry(); !at.IsZero() {
			expiry.Reset(time.Until(at))
		}
		select {
		case <-expiry.C:
		case r := <-results:
			return r.l, r.cerr
		case <-c.closing:
			cancel()
			if c.userDials() {
				return nil, &ConnError{Op: "dial", Endpoint: endpoint, Cause: context.Canceled, By: ByClient}
			}
			r := <-results
			if r.l != nil {
				r.l.link.close(false)
			}
			return nil, &ConnError{Op: "dial", Endpoint: endpoint, Cause: context.Canceled, By: ByClient}
		case <-over:
			over = nil
			if c.userDials() {
				timer := time.NewTimer(abandonAfter)
				defer timer.Stop()
				left = timer.C
			}
		case <-left:
			return nil, &ConnError{Op: "dial", Endpoint: endpoint, Cause: ctx.Err(), By: ByDial}
		case <-c.wake: // nothing to write on yet; Shutdown with nothing left ends here
			if c.ending() {
				cancel()
			}
		}
	}
}

// userDials reports whether an attempt may be inside a function of the user's.
func (c *Client) userDials() bool {
	return c.opts.DialContext != nil || c.opts.OnConnect != nil || c.opts.TLS != nil
}

// establish dials, shakes hands and greets.
func (c *Client) establish(ctx context.Context, endpoint string) (*live, *ConnError) {
	fail := func(op string, by By, err error) (*live, *ConnError) {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = errors.Join(ctx.Err(), err)
		}
		return nil, &ConnError{Op: op, Endpoint: endpoint, Cause: err, By: by}
	}
	conn, err := c.dial(ctx, endpoint)
	if err != nil {
		return fail("dial", ByDial, err)
	}
	if err := c.tune(conn); err != nil {
		conn.Close()
		return fail("dial", ByDial, err)
	}
	slot := &causeSlot{}
	link, upper := openLink(conn, c.tlsFor(endpoint), slot)
	l := &live{c: c, endpoint: endpoint, link: link, slot: slot, tls: c.opts.TLS != nil}
	if s, ok := link.(*stream); ok {
		c.running.Go(s.writer)
	}
	// A function that ignores ctx is woken by the end of its conn.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if t, ok := upper.(*tls.Conn); ok && l.tls {
		if err := t.HandshakeContext(ctx); err != nil {
			link.close(false)
			return fail("handshake", ByTLS, err)
		}
	}
	if hello := c.opts.OnConnect; hello != nil {
		err := hello(ctx, upper)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			link.close(false)
			return fail("on-connect", ByOnConnect, err)
		}
	}
	if !stop() {
		link.close(false)
		return fail("dial", ByDial, ctx.Err())
	}
	_ = upper.SetDeadline(time.Time{})
	return l, nil
}

// dial opens the transport.
func (c *Client) dial(ctx context.Context, endpoint string) (net.Conn, error) {
	if c.opts.DialContext != nil {
		conn, err := c.opts.DialContext(ctx, "tcp", endpoint)
		if err == nil && conn == nil {
			err = errors.New("DialContext returned no conn and no error")
		}
		return conn, err
	}
	d := net.Dialer{KeepAlive: -1} // tune sets all four values
	// On MPTCP the count of acknowledged bytes falls to 0 after a reset.
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", endpoint)
}

// tlsFor returns the TLS configuration for an endpoint, or nil.
func (c *Client) tlsFor(endpoint string) *tls.Config {
	cfg := c.opts.TLS
	if cfg == nil || cfg.ServerName != "" || cfg.InsecureSkipVerify {
		return cfg
	}
	cfg = cfg.Clone()
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	cfg.ServerName = host
	return cfg
}

// tune sets the socket options, reads back what the kernel made of them, and
// logs a difference.
func (c *Client) tune(conn net.Conn) error {
	tc, raw := rawOf(conn)
	if tc == nil {
		return nil
	}
	o := c.opts.Liveness
	if err := setKeepAlive(tc, o.KeepAlive); err != nil {
		return err
	}
	var err error
	cerr := raw.Control(func(fd uintptr) {
		if got, rerr := keepAliveOf(fd); rerr == nil && got != o.KeepAlive {
			c.logKeepAlive(o.KeepAlive, got)
		}
		if o.UserTimeout > 0 {
			err = setUserTimeout(fd, o.UserTimeout)
		}
		_ = setRTOMax(fd, o.rtoMax()) // where there is one
		_ = setSendTimeout(fd, o.DeadAfter)
	})
	return errors.Join(cerr, err)
}

// adopt makes run the owner of a connection: level, confirmer, watcher, reader.
func (m *manager) adopt(l *live) error {
	c := m.c
	l.born = time.Now()
	l.expires = c.opts.connAge(l.born)
	l.sched.first = readFirst
	if p := l.link.path(); p.srtt > 0 {
		l.sched.first = max(p.srtt, readFirst)
	}
	_, plain := l.link.(*stream)
	l.level = c.opts.Confirm
	if plain && l.level == Kernel {
		if c.opts.KernelStrict {
			return ErrNoSendQueue
		}
		l.level = Written
	}
	l.confirm = kernelConfirmer{}
	if l.level == Written {
		l.confirm = writtenConfirmer{l}
	}
	l.link.arm(l.tick, l.noteHeard)
	if err := m.watch(l); err != nil {
		return err
	}
	l.startReader(m.reader)
	return nil
}

// watch registers a connection that is a socket with the watcher.
func (m *manager) watch(l *live) error {
	c := m.c
	raw := l.link.socket()
	if raw == nil {
		return nil
	}
	if c.watcher == nil {
		w, err := acquireWatcher()
		if err != nil {
			return err
		}
		c.watcher = w
	}
	w := &watch{raw: raw, slot: l.slot, heard: l.noteHeard, wake: c.poke}
	w.drain = !l.tls && c.opts.Receive == nil
	if err := c.watcher.add(w); err != nil {
		return err
	}
	l.watch = w
	return nil
}

// certificateError reports whether a certificate was refused, by us or by the
// peer: waiting does not change that, but time or an operator may.
func certificateError(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	if errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) {
		return true
	}
	return certificateAlert(err)
}

// certificateAlert reports whether the peer has sent an alert about our
// certificate (RFC 8446, section 6.2). The alert's type is not exported: it is
// an unsigned number in a *net.OpError.
func certificateAlert(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return false
	}
	switch v.Uint() {
	case 42, 43, 44, 45, 46, 48, 49, 116: // bad_certificate … certificate_required
		return true
	}
	return false
}
