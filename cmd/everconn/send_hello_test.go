package main

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

func TestSendPreambleComesFirstOnEachConnection(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, "--preamble", "HELLO me", r.address)
	write(t, s.stdin, "one\n")
	waitFile(t, r.out, func(b []byte) bool { return string(b) == "HELLO me\none\n" })
	r.stop(exitOK)
	again := startRecvAt(t, r.address)
	write(t, s.stdin, "two\n")
	if got := s.finish(exitOK); got.Accepted != 2 || got.Reconnects < 1 {
		t.Errorf("result %+v", got)
	}
	if _, out := again.stop(exitOK); out != "HELLO me\ntwo\n" && out != "HELLO me\none\ntwo\n" {
		t.Errorf("arrived: %q", out)
	}
}

func TestSendPreambleReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reply string
		code  int
	}{{"OK welcome\r\n", exitOK}, {"NO go away\n", exitStopped}} {
		address := replyOnce(t, "LOGIN me", c.reply)
		s := startSend(t, "--preamble", "LOGIN me", "--preamble-reply", "OK", address)
		write(t, s.stdin, "line\n")
		got := s.finish(c.code)
		if c.code == exitStopped && (!strings.Contains(got.Error, "NO go away") || got.Undelivered+got.Refused != 1) {
			t.Errorf("result %+v", got)
		}
	}
}

// replyOnce serves one connection: it expects a line, answers, and reads on.
func replyOnce(t *testing.T, expect, reply string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if line, err := readLine(conn); line != expect {
			t.Errorf("preamble %q, %v; want %q", line, err, expect)
		}
		io.WriteString(conn, reply)
		io.Copy(io.Discard, conn)
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func TestSendTLS(t *testing.T) {
	t.Parallel()
	certs := newCertificates(t)
	r := startRecv(t, "--tls-cert", certs.server.cert, "--tls-key", certs.server.key, "--tls-client-ca", certs.ca)
	s := startSend(t, "--tls-ca", certs.ca, "--tls-cert", certs.client.cert, "--tls-key", certs.client.key, r.address)
	lines := numbered(1, 3000)
	write(t, s.stdin, lines)
	if got := s.finish(exitOK); got.Confirmed != 3000 || got.Level != "kernel" {
		t.Errorf("result %+v", got)
	}
	if _, out := r.stop(exitOK); out != lines {
		t.Errorf("%d bytes arrived, want %d", len(out), len(lines))
	}
}

// TestSendTLSRefused: a certificate that nobody vouches for is retried, unless
// --stop-on-tls-error is given.
func TestSendTLSRefused(t *testing.T) {
	t.Parallel()
	certs, others := newCertificates(t), newCertificates(t)
	r := startRecv(t, "--tls-cert", certs.server.cert, "--tls-key", certs.server.key)
	args := []string{"--tls-ca", others.ca, r.address}

	s := startSend(t, append(args, "--stop-on-tls-error")...)
	write(t, s.stdin, "line\n")
	if got := s.finish(exitStopped); !strings.Contains(got.Error, "certificate") {
		t.Errorf("result %+v", got)
	}
	s = startSend(t, append(args, "--drain-timeout", "50ms")...)
	write(t, s.stdin, "line\n")
	var failed struct{ Cause string }
	s.waitEvent(0, "attempt-failed", &failed)
	if !strings.Contains(failed.Cause, "certificate") {
		t.Errorf("cause %q", failed.Cause)
	}
	if got := s.finish(exitLoss); got.Undelivered != 1 {
		t.Errorf("result %+v", got)
	}
}

// TestSendRenewsItsCertificate: the files are read again for each connection.
func TestSendRenewsItsCertificate(t *testing.T) {
	t.Parallel()
	certs, others := newCertificates(t), newCertificates(t)
	r := startRecv(t, "--tls-cert", certs.server.cert, "--tls-key", certs.server.key, "--tls-client-ca", certs.ca)
	// A certificate of another authority, which the receiver refuses at first.
	mine := certificate{cert: copyFile(t, others.client.cert), key: copyFile(t, others.client.key)}
	s := startSend(t, "--tls-ca", certs.ca, "--tls-cert", mine.cert, "--tls-key", mine.key, r.address)
	write(t, s.stdin, "line\n")
	if e := r.nextEnded(); e.End != endHandshake {
		t.Fatalf("session %+v", e)
	}
	replaceFile(t, mine.key, certs.client.key)
	replaceFile(t, mine.cert, certs.client.cert)
	if got := s.finish(exitOK); got.Confirmed != 1 {
		t.Errorf("result %+v", got)
	}
}

func copyFile(t *testing.T, file string) string {
	t.Helper()
	copied := t.TempDir() + "/copy.pem"
	replaceFile(t, copied, file)
	return copied
}

func replaceFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}
