package main

import (
	"bytes"
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRecvReadsWhatItsKernelAcknowledged: producers write as fast as they can
// while the receiver is told to stop; each byte that the kernel acknowledged to
// a producer has been read.
func TestRecvReadsWhatItsKernelAcknowledged(t *testing.T) {
	t.Parallel()
	const rounds, producers = 3, 4
	for range rounds {
		r := startRecv(t)
		acknowledged := make(map[string]uint64)
		var mu sync.Mutex // guards acknowledged
		var wg sync.WaitGroup
		flowing := make(chan struct{}, producers)
		for range producers {
			conn := r.dial()
			wg.Go(func() {
				n := writeUntilDead(t, conn, flowing)
				mu.Lock()
				defer mu.Unlock()
				acknowledged[conn.LocalAddr().String()] = n
			})
		}
		for range producers {
			<-flowing
		}
		r.signal(syscall.SIGTERM)
		wg.Wait()
		for range producers {
			s := r.nextEnded()
			if want := acknowledged[s.Peer]; s.Bytes < want || want == 0 {
				t.Errorf("%s: the kernel acknowledged %d bytes, %d were read", s.Peer, want, s.Bytes)
			}
		}
		r.wantExit(exitOK)
	}
}

// writeUntilDead returns how many bytes the peer's kernel has acknowledged:
// those written less those in the send-queue, read before the socket is closed.
func writeUntilDead(t *testing.T, conn *net.TCPConn, flowing chan<- struct{}) uint64 {
	line := append(bytes.Repeat([]byte("x"), 999), '\n')
	var written uint64
	for i := 0; ; i++ {
		n, err := conn.Write(line)
		written += uint64(n)
		if err != nil {
			break
		}
		if i == 1000 {
			flowing <- struct{}{}
		}
	}
	queued := socketInt(t, conn, func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return written - uint64(queued)
}

func socketInt(t *testing.T, conn *net.TCPConn, get func(fd int) (int, error)) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var callErr error
	if err := raw.Control(func(fd uintptr) { value, callErr = get(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if callErr != nil {
		t.Fatal(callErr)
	}
	return value
}

// TestRecvSetsKeepAlive reads back what the kernel took on an accepted
// connection.
func TestRecvSetsKeepAlive(t *testing.T) {
	t.Parallel()
	keepAlive, err := keepAliveFor(12 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(t.Context())
	c := &collector{listener: listener, limit: 100, keepAlive: keepAlive, told: jsonCollectorLog{t.Output()}}
	done := make(chan totals)
	go func() {
		total, _ := c.run(stop, t.Context())
		done <- total
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write(t, conn, "x")

	accepted := c.firstOpen(t)
	for _, o := range []struct {
		name          string
		level, option int
		want          int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 6},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 2},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		get := func(fd int) (int, error) { return unix.GetsockoptInt(fd, o.level, o.option) }
		if got := socketInt(t, accepted, get); got != o.want {
			t.Errorf("%s is %d, want %d", o.name, got, o.want)
		}
	}
	cancel()
	if total := <-done; total.Connections != 1 || total.Bytes != 1 {
		t.Errorf("total %+v", total)
	}
}

// firstOpen waits until a connection is open and being read.
func (c *collector) firstOpen(t *testing.T) *net.TCPConn {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(time.Millisecond); ; {
		select {
		case <-deadline:
			t.Fatal("no connection was accepted")
		case <-tick:
			c.mu.Lock()
			conns := c.openConns()
			c.mu.Unlock()
			for _, conn := range conns {
				return conn
			}
		}
	}
}
