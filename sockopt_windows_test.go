package everconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// TestErrnoOfWindows: errors.Is with a POSIX number holds for what Windows
// reports instead, and for nothing else.
func TestErrnoOfWindows(t *testing.T) {
	t.Parallel()
	for posix, own := range ofPOSIX {
		for _, code := range own {
			cause := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("wsarecv", code)}
			err := &ConnError{Op: "connection", Endpoint: "a:1", Cause: cause}
			nested := fmt.Errorf("outer: %w", &ConnError{Cause: err})
			if !errors.Is(err, posix) || !errors.Is(nested, posix) || !errors.Is(err, code) {
				t.Errorf("%d is not %v", int(code), posix)
			}
			if errors.Is(err, syscall.EXDEV) || errors.Is(err, io.EOF) {
				t.Errorf("%d is anything", int(code))
			}
			if posix != syscall.ECONNRESET && errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%d is ECONNRESET", int(code))
			}
			if weak := posix == syscall.EPIPE; strongCause(cause) == weak {
				t.Errorf("%d is a strong cause: %v", int(code), !weak)
			}
		}
	}
}

// loopback returns the two ends of a connection, and a function that runs f
// with the descriptor of the first.
func loopback(t *testing.T) (client, server *net.TCPConn, control func(f func(fd uintptr))) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = c.(*net.TCPConn), s.(*net.TCPConn)
	t.Cleanup(func() { client.Close(); server.Close() })
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return client, server, func(f func(fd uintptr)) {
		if err := raw.Control(f); err != nil {
			t.Fatal(err)
		}
	}
}

func underWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// awaitReadiness polls until the socket says something.
func awaitReadiness(t *testing.T, control func(func(uintptr))) (r readiness) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r == 0 && t.Context().Err() == nil {
		<-tick.C
		control(func(fd uintptr) {
			var err error
			if r, err = pollSocket(fd); err != nil {
				t.Fatal(err)
			}
		})
	}
	return r
}

func TestSocketOfWindows(t *testing.T) {
	buf := make([]byte, 8)
	t.Run("silent", func(t *testing.T) {
		_, _, control := loopback(t)
		control(func(fd uintptr) {
			if r, err := pollSocket(fd); r != 0 || err != nil {
				t.Errorf("pollSocket = %b, %v", r, err)
			}
			if n, err := recvNonblock(fd, buf); n != 0 || err != errWouldBlock {
				t.Errorf("recvNonblock = %d, %v", n, err)
			}
			if err := soError(fd); err != nil {
				t.Errorf("soError = %v", err)
			}
		})
	})
	t.Run("data", func(t *testing.T) {
		_, server, control := loopback(t)
		if _, err := server.Write([]byte("0123456789")); err != nil {
			t.Fatal(err)
		}
		if r := awaitReadiness(t, control); r != readable {
			t.Errorf("pollSocket = %b, want readable", r)
		}
		control(func(fd uintptr) {
			for _, want := range []string{"01234567", "89"} {
				if n, err := recvNonblock(fd, buf); string(buf[:n]) != want || err != nil {
					t.Errorf("recvNonblock = %q, %v; want %q", buf[:n], err, want)
				}
			}
			if _, err := recvNonblock(fd, buf); err != errWouldBlock {
				t.Errorf("recvNonblock of nothing: %v", err)
			}
		})
	})
	t.Run("FIN", func(t *testing.T) {
		_, server, control := loopback(t)
		server.CloseWrite()
		if r := awaitReadiness(t, control); r != readable|peerClosed {
			t.Errorf("pollSocket = %b, want readable and peerClosed", r)
		}
		control(func(fd uintptr) {
			for range 2 { // EOF stays
				if _, err := recvNonblock(fd, buf); err != io.EOF {
					t.Errorf("recvNonblock = %v, want EOF", err)
				}
			}
		})
	})
	t.Run("reset", func(t *testing.T) {
		_, server, control := loopback(t)
		server.SetLinger(0)
		server.Close()
		if r := awaitReadiness(t, control); r&readable == 0 || r&(failed|peerClosed) == 0 {
			t.Errorf("pollSocket = %b, want readable, and failed or peerClosed", r)
		}
		control(func(fd uintptr) {
			pending := soError(fd)
			_, err := recvNonblock(fd, buf)
			cause := &ConnError{Cause: errors.Join(pending, err)}
			if underWine() && err == io.EOF {
				t.Skip("Wine forgets the reason of a reset that comes while nobody reads")
			}
			if !errors.Is(cause, syscall.ECONNRESET) {
				t.Errorf("the cause is %v, want ECONNRESET", cause)
			}
		})
	})
}

func TestKeepAliveOfWindows(t *testing.T) {
	t.Parallel()
	client, _, control := loopback(t)
	want := KeepAlive{Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
	if err := setKeepAlive(client, want); err != nil {
		t.Fatal(err)
	}
	control(func(fd uintptr) {
		if got, err := keepAliveOf(fd); got != want && !errors.Is(err, windows.WSAENOPROTOOPT) {
			t.Errorf("keepAliveOf = %+v, %v; want %+v, or WSAENOPROTOOPT", got, err, want)
		}
		if err := setSendTimeout(fd, 30*time.Second); err != nil && !errors.Is(err, windows.WSAENOPROTOOPT) {
			t.Errorf("setSendTimeout = %v", err)
		}
	})
	if err := setKeepAlive(client, KeepAlive{Disable: true}); err != nil {
		t.Fatal(err)
	}
	control(func(fd uintptr) {
		if got, err := keepAliveOf(fd); !got.Disable || err != nil {
			t.Errorf("keepAliveOf = %+v, %v; want it disabled", got, err)
		}
	})
}
