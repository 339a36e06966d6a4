package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

// receiver is a running "everconn recv --json".
type receiver struct {
	*process
	address string
	out     string // its --out file
	seen    int    // index of the next line of stderr to look at
}

func startRecv(t *testing.T, args ...string) *receiver {
	t.Helper()
	r := &receiver{out: filepath.Join(t.TempDir(), "out")}
	args = append([]string{"recv", "--json", "--out", r.out, "127.0.0.1:0"}, args...)
	r.process = startEverconn(t, args...)
	var up struct{ Address string }
	r.seen = r.waitEvent(0, "listening", &up)
	r.address = up.Address
	return r
}

func (r *receiver) dial() *net.TCPConn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func (r *receiver) nextEnded() session {
	r.t.Helper()
	var s session
	r.seen = r.waitEvent(r.seen, "ended", &s)
	return s
}

// stop ends the receiver and returns its total and what it wrote.
func (r *receiver) stop(code int) (totals, string) {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	r.wantExit(code)
	var total totals
	r.lastJSON(&total)
	out, err := os.ReadFile(r.out)
	if err != nil {
		r.t.Fatal(err)
	}
	return total, string(out)
}

func write(t *testing.T, w io.Writer, data string) {
	t.Helper()
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
}

func TestRecvReportsHowConnectionsEnd(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	end := func(data string, finish func(*net.TCPConn)) session {
		conn := r.dial()
		write(t, conn, data)
		finish(conn)
		return r.nextEnded()
	}
	fin := func(c *net.TCPConn) { c.Close() }
	reset := func(c *net.TCPConn) {
		// The reset would overtake data that was not read yet.
		waitFile(t, r.out, func(out []byte) bool { return bytes.Contains(out, []byte("to be reset\n")) })
		c.SetLinger(0)
		c.Close()
	}
	if s := end("one\ntwo\n", fin); s.End != endFIN || s.Messages != 2 || s.Bytes != 8 || s.Incomplete != 0 {
		t.Errorf("after a FIN: %+v", s)
	}
	if s := end("whole\nto", fin); s.End != endFIN || s.Messages != 1 || s.Incomplete != 2 {
		t.Errorf("after a FIN inside a message: %+v", s)
	}
	if s := end("to be reset\ntor", reset); s.End != endReset || s.Messages != 1 || s.Incomplete != 3 {
		t.Errorf("after a reset: %+v", s)
	}
	held := r.dial()
	write(t, held, "held\npart")
	total, out := r.stop(exitOK)
	if s := r.nextEnded(); s.End != endStopped || s.Messages != 1 || s.Incomplete != 4 {
		t.Errorf("of a connection that was up: %+v", s)
	}
	if want := "one\ntwo\nwhole\nto be reset\nheld\n"; out != want {
		t.Errorf("wrote %q, want %q", out, want)
	}
	if total.Connections != 4 || total.Messages != 5 || total.Torn != 3 || total.Incomplete != 9 ||
		total.Ended[endFIN] != 2 || total.Ended[endReset] != 1 || total.Ended[endStopped] != 1 {
		t.Errorf("total: %+v", total)
	}
}

func TestEndingOf(t *testing.T) {
	t.Parallel()
	opError := func(err error) error {
		return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)}
	}
	for _, c := range []struct {
		err      error
		stopping bool
		want     ending
	}{
		{nil, false, endFIN},
		{nil, true, endStopped},
		{opError(syscall.ECONNRESET), false, endReset},
		{opError(syscall.ECONNRESET), true, endStopped},
		{opError(syscall.ETIMEDOUT), false, endTimedOut},
		{opError(syscall.EHOSTUNREACH), false, endUnreachable},
		{opError(syscall.ENETUNREACH), false, endUnreachable},
		{io.ErrUnexpectedEOF, false, endTruncated},
		{io.ErrUnexpectedEOF, true, endStopped},
		{fmt.Errorf("wire: %w", wire.ErrLength), false, endFraming},
		{fmt.Errorf("wire: %w", wire.ErrMalformed), true, endFraming},
		{fmt.Errorf("%w: no cipher", errHandshake), false, endHandshake},
		{errors.New("else"), false, endOther},
	} {
		if got := endingOf(c.err, c.stopping); got != c.want {
			t.Errorf("endingOf(%v, %v) = %s, want %s", c.err, c.stopping, got, c.want)
		}
	}
}

func TestRecvFramings(t *testing.T) {
	t.Parallel()
	for _, f := range []wire.Framing{wire.LF, wire.OctetCounting, wire.NUL, wire.Uint32} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			r := startRecv(t, "--frame", f.String())
			conn := r.dial()
			var stream []byte
			for _, msg := range []string{"first", "second message", "third"} {
				stream = f.Append(stream, []byte(msg))
			}
			write(t, conn, string(stream))
			conn.Close()
			if s := r.nextEnded(); s.Messages != 3 || s.Bytes != uint64(len(stream)) || s.Incomplete != 0 {
				t.Errorf("session %+v", s)
			}
			if _, out := r.stop(exitOK); out != "first\nsecond message\nthird\n" {
				t.Errorf("wrote %q", out)
			}
		})
	}
}

func TestRecvRawCountsBytes(t *testing.T) {
	t.Parallel()
	r := startRecv(t, "--frame", "raw")
	conn := r.dial()
	write(t, conn, "no\nmessages\x00here")
	conn.Close()
	if s := r.nextEnded(); s.Messages != 0 || s.Bytes != 16 || s.Incomplete != 0 {
		t.Errorf("session %+v", s)
	}
	if _, out := r.stop(exitOK); out != "no\nmessages\x00here" {
		t.Errorf("wrote %q", out)
	}
}

func TestRecvRefusesABrokenStream(t *testing.T) {
	t.Parallel()
	r := startRecv(t, "--frame", "octet", "--max-message", "100B")
	for stream, says := range map[string]string{"5 hello nonsense": "count", "101 x": "limit is 100"} {
		conn := r.dial()
		write(t, conn, stream)
		if s := r.nextEnded(); s.End != endFraming || !strings.Contains(s.Cause, says) {
			t.Errorf("after %q: %+v", stream, s)
		}
	}
	r.stop(exitOK)
}

// TestRecvWritesInTime: what has arrived is in the file while the connection
// stays open and silent.
func TestRecvWritesInTime(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	write(t, r.dial(), "now\n")
	waitFile(t, r.out, func(out []byte) bool { return string(out) == "now\n" })
}

func TestRecvDiskFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	p := startEverconn(t, "recv", "--json", "--out", "/dev/full", "127.0.0.1:0")
	var up struct{ Address string }
	p.waitEvent(0, "listening", &up)
	conn, err := net.Dial("tcp", up.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write(t, conn, "a\nb\nc\n")
	p.wantExit(exitLoss)
	var total totals
	p.lastJSON(&total)
	if total.Messages != 3 || total.Unwritten != 3 {
		t.Errorf("total %+v", total)
	}
	if said := p.stderr.tail(1); !strings.Contains(said, "no space left on device") {
		t.Errorf("stderr ends with %q", said)
	}
}

func TestRecvTLS(t *testing.T) {
	t.Parallel()
	certs := newCertificates(t)
	r := startRecv(t, "--tls-cert", certs.server.cert, "--tls-key", certs.server.key, "--tls-client-ca", certs.ca)
	plain := r.dial()
	write(t, plain, "this is no handshake\n")
	if s := r.nextEnded(); s.End != endHandshake {
		t.Errorf("without TLS: %+v", s)
	}
	pair, err := tls.LoadX509KeyPair(certs.client.cert, certs.client.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, _ := os.ReadFile(certs.ca)
	pool.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{pair}}

	secure := tls.Client(r.dial(), config)
	write(t, secure, "secret\n")
	secure.Close()
	if s := r.nextEnded(); s.End != endFIN || s.Messages != 1 || s.Bytes != 7 {
		t.Errorf("over TLS: %+v", s)
	}
	below := r.dial()
	write(t, tls.Client(below, config), "cut\n")
	write(t, below, "\x17\x03\x03") // the beginning of a record
	below.Close()
	if s := r.nextEnded(); s.End != endTruncated || s.Messages != 1 {
		t.Errorf("cut inside a TLS record: %+v", s)
	}
	if _, out := r.stop(exitOK); out != "secret\ncut\n" {
		t.Errorf("wrote %q", out)
	}
}

func TestKeepAliveFor(t *testing.T) {
	t.Parallel()
	for budget := 3 * time.Second; budget <= 9*time.Hour; budget += 7 * time.Second {
		k, err := keepAliveFor(budget)
		sum := k.Idle + time.Duration(k.Count)*k.Interval
		if err != nil || sum != budget || k.Idle < time.Second || k.Interval < time.Second {
			t.Fatalf("keepAliveFor(%v) = %+v, %v", budget, k, err)
		}
		for _, d := range []time.Duration{k.Idle, k.Interval} {
			if d%time.Second != 0 || d > 32767*time.Second {
				t.Fatalf("keepAliveFor(%v) = %+v", budget, k)
			}
		}
	}
}
