package collector

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/everconn/everconn/wire"
)

// flood writes numbered lines until the connection fails or the peer closes.
// It returns how many bytes the peer's kernel had acknowledged: written minus
// send-queue.
func flood(conn *net.TCPConn) (acknowledged int64) {
	noticed := make(chan struct{})
	defer func() { <-noticed }()
	go func() {
		defer close(noticed)
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.SetWriteDeadline(time.Unix(1, 0)) // a write to a closed window would not end
	}()
	var written int64
	for n := uint64(1); ; n++ {
		got, err := conn.Write(frames(wire.OctetCounting, n, n))
		written += int64(got)
		if err != nil {
			return written - sendQueue(conn)
		}
		if n%50 == 0 {
			time.Sleep(time.Millisecond) // a rate, so that queues run empty between
		}
	}
}

func sendQueue(conn *net.TCPConn) int64 {
	var queued int32
	err := control(conn, func(fd int) error {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return int64(queued)
}

// What the kernel acknowledged was read (safe endings), or is in the
// collector's own record to the byte (destructive ones).
func TestAcknowledgedIsReadOrRecorded(t *testing.T) {
	t.Parallel()
	for _, how := range []How{Orderly, Reset, CloseUnread, CrashUnread} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			t.Parallel()
			destroyed := 0
			const runs = 10
			for range runs {
				c, r := start(t, Config{Framing: wire.OctetCounting, ReadBuffer: 8 << 10})
				conn := dial(t, c)
				acknowledged := make(chan int64)
				go func() { acknowledged <- flood(conn) }()
				if err := c.WaitLive(within(t)); err != nil {
					t.Fatal(err)
				}
				ended := c.End(how)[0]
				acked := <-acknowledged
				if got := ended.Bytes + int64(ended.DestroyedBytes); got < acked {
					t.Errorf("acknowledged %d bytes, read or recorded only %d: %+v", acked, got, ended)
				}
				if how.Destructive() && !ended.Recorded {
					t.Errorf("no exact record: %+v", ended)
				}
				if report := r.Report(); report.Torn+report.Malformed+report.OutOfOrder+report.Duplicates != 0 {
					t.Errorf("report %+v", report)
				}
				destroyed += len(ended.Destroyed)
				_ = conn.Close()
				_ = c.Close()
			}
			if how.Destructive() && destroyed == 0 {
				t.Error("nothing was destroyed")
			}
		})
	}
}

// Accepting and closing at once, with data that nobody has read.
func TestAcceptAndDestroy(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.LF})
	for n := uint64(1); n <= 3; n++ {
		r.Accept(n)
	}
	c.EndAfter(0, CloseUnread)
	write(t, dial(t, c), frames(wire.LF, 1, 3))
	ended := <-r.ended
	if ended.Bytes != 0 || len(ended.Destroyed) != 3 || !ended.Recorded {
		t.Errorf("ended %+v", ended)
	}
	if got, want := r.Report(), (Report{Accepted: 3, Lost: 3, Destroyed: 3}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

// A producer that is blocked by a closed window, and looks at nothing but its
// write, learns of the end soon.
func TestBlockedProducerLearnsOfTheEnd(t *testing.T) {
	t.Parallel()
	for _, how := range []How{Orderly, Reset, MidMessage, CloseUnread, CrashUnread} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			t.Parallel()
			c, _ := start(t, Config{Framing: wire.LF, ReadBuffer: 8 << 10, MaxMessage: 1 << 30})
			c.Pause()
			conn := dial(t, c)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			wrote := make(chan error)
			go func() {
				_, err := conn.Write(make([]byte, 64<<20))
				wrote <- err
			}()
			if err := c.WaitLive(within(t)); err != nil {
				t.Fatal(err)
			}
			for n := int64(-1); n != sendQueue(conn) || n == 0; runtime.Gosched() { // until it is blocked
				n = sendQueue(conn)
			}
			c.End(how)
			if err := <-wrote; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the write ended with %v", err)
			}
		})
	}
}

// A stream that stands still between two messages is read on, and cut later.
func TestMidMessageWaitsForAMessageToCut(t *testing.T) {
	t.Parallel()
	c, r := start(t, Config{Framing: wire.OctetCounting})
	conn := dial(t, c)
	if err := c.WaitLive(within(t)); err != nil {
		t.Fatal(err)
	}
	c.Pause()
	write(t, conn, frames(wire.OctetCounting, 1, 3))
	go c.End(MidMessage)
	for r.Report().Received < 3 {
		runtime.Gosched()
	}
	write(t, conn, frames(wire.OctetCounting, 4, 4)[:9])
	if ended := <-r.ended; ended.Rest != Incomplete || len(ended.Fragment) != 9 || ended.Messages != 3 {
		t.Errorf("ended %+v", ended)
	}
}
