package everconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/everconn/everconn/wire"
)

var errRefused = errors.New("refused")

// Every wait lies between 0 and a bound that doubles from Base to Cap, and the
// first attempt does not wait.
func TestBackoffIsFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		began := time.Now()
		c, err := New("a:1", &Options{
			Backoff: Backoff{Base: time.Second, Cap: 8 * time.Second},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				at = append(at, time.Now())
				mu.Unlock()
				return nil, errRefused
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute) // of the bubble's clock
		c.Close()
		<-c.Done()
		if at[0] != began {
			t.Errorf("the first attempt waited %v", at[0].Sub(began))
		}
		bound, sum := time.Second, time.Duration(0)
		for i := 1; i < len(at); i++ {
			wait := at[i].Sub(at[i-1])
			if wait > bound {
				t.Errorf("wait %d was %v, more than %v", i, wait, bound)
			}
			bound = min(2*bound, 8*time.Second)
			sum += wait
		}
		if n := len(at) - 1; n < 200 || n > 450 {
			t.Errorf("%d waits in 20 minutes; full jitter at a cap of 8 s makes about 300", n)
		}
		if s := c.Stats(); s.Attempts != uint64(len(at)) || !errors.Is(s.LastCause, errRefused) {
			t.Errorf("stats say %d attempts, %v", s.Attempts, s.LastCause)
		}
	})
}

// A connection that ends at once does not reset the backoff; one that has lived
// does.
func TestBackoffResetsOnlyAfterALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var waits []time.Duration
		lives := time.Duration(0)
		c, err := New("a:1", &Options{
			Backoff: Backoff{Base: time.Second, Cap: time.Hour},
			OnEvent: func(e Event) {
				if e.Kind == EventDisconnected {
					mu.Lock()
					waits = append(waits, e.Wait)
					mu.Unlock()
				}
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				mu.Lock()
				d := lives
				mu.Unlock()
				time.AfterFunc(d, func() { theirs.Close() })
				return ours, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		mu.Lock()
		if len(waits) > 40 {
			t.Errorf("%d reconnects in an hour to a peer that closes at once", len(waits))
		}
		lives, waits = 2*time.Hour, nil // longer than any wait before it
		mu.Unlock()
		time.Sleep(20 * time.Hour)
		mu.Lock()
		for _, w := range waits[1:] {
			if w > time.Second {
				t.Errorf("after a connection that lived 2 h the wait was %v, want at most Base", w)
			}
		}
		mu.Unlock()
		c.Close()
		<-c.Done()
	})
}

// The log says the first failure, then a line a minute, then the recovery.
func TestLogIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var up bool
		var mu sync.Mutex
		c, err := New("a:1", &Options{
			Logger: zerolog.New(&out),
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				if !up {
					return nil, errRefused
				}
				ours, theirs := net.Pipe()
				go io.Copy(io.Discard, theirs)
				return ours, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		mu.Lock()
		up = true
		mu.Unlock()
		if err := c.WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), []byte("secret payload")); err != nil {
			t.Fatal(err)
		}
		if err := c.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		log := out.String()
		if n := strings.Count(log, "trying on"); n < 8 || n > 11 {
			t.Errorf("%d WARN in ten minutes:\n%s", n, log)
		}
		if strings.Count(log, `"message":"connected"`) != 1 {
			t.Errorf("want one recovery:\n%s", log)
		}
		if strings.Contains(log, "secret") {
			t.Error("a payload was logged")
		}
	})
}

// A peer that answers keeps its connection; one that falls silent is given up
// after Interval + Timeout.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats int
		var mu sync.Mutex
		answering := true
		lost := make(chan Event, 8)
		c, err := New("a:1", &Options{
			Framing:   wire.LF,
			Heartbeat: Heartbeat{Payload: []byte("ping"), Interval: 10 * time.Second, Timeout: 5 * time.Second},
			OnEvent: func(e Event) {
				if e.Kind == EventDisconnected {
					lost <- e
				}
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					buf := make([]byte, 64)
					for {
						if _, err := theirs.Read(buf); err != nil {
							return
						}
						mu.Lock()
						beats++
						answer := answering
						mu.Unlock()
						if answer {
							theirs.Write([]byte("pong\n"))
						}
					}
				}()
				return ours, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if beats < 55 || beats > 61 {
			t.Errorf("%d heartbeats in ten minutes at 10 s", beats)
		}
		answering = false
		mu.Unlock()
		silent := time.Now()
		e := <-lost
		if !errors.Is(e.Cause, ErrHeartbeat) {
			t.Errorf("cause %v", e.Cause)
		}
		if d := time.Since(silent); d > 25*time.Second {
			t.Errorf("noticed after %v", d)
		}
		c.Close()
		<-c.Done()
	})
}

// The stall rule, case by case.
func TestJudge(t *testing.T) {
	l := Liveness{DeadAfter: 30 * time.Second}.withDefaults()
	off := Liveness{DeadAfter: 30 * time.Second, KeepAlive: KeepAlive{Disable: true}}.withDefaults()
	for _, tt := range []struct {
		name        string
		l           Liveness
		p           pathInfo
		outstanding time.Duration
		want        verdict
	}{
		{"bytes are acknowledged", l, pathInfo{silence: time.Second, inFlight: true, unanswered: 3, window: 1}, time.Hour, alive},
		{"silent for too long", l, pathInfo{silence: 30 * time.Second, inFlight: true, unanswered: 2, window: 1}, time.Second, dead},
		{"one lost segment after a long idle time", l, pathInfo{silence: time.Hour, inFlight: true, unanswered: 1, window: 1}, time.Second, alive},
		{"without keepalive the clock starts with the bytes", off, pathInfo{silence: time.Hour, inFlight: true, unanswered: 4, window: 1}, 29 * time.Second, alive},
		{"without keepalive, in the end", off, pathInfo{silence: time.Hour, inFlight: true, unanswered: 4, window: 1}, 30 * time.Second, dead},
		{"the window is closed, probes are answered", l, pathInfo{silence: 7 * time.Second}, time.Hour, stalled},
		{"the window is closed, probes are not answered", l, pathInfo{silence: 31 * time.Second, unanswered: 2}, time.Hour, dead},
	} {
		if got := tt.l.judge(tt.p, tt.outstanding); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A strong cause replaces a weak one, never the reverse; who noticed first stays.
func TestCauseSlot(t *testing.T) {
	var s causeSlot
	s.record(nil, BySend)
	s.record(io.EOF, ByWatcher)
	if !s.ended(false) || s.ended(true) {
		t.Error("a FIN ends the connection unless half-open is allowed")
	}
	s.record(syscall.ECONNRESET, BySend)
	s.record(syscall.EPIPE, ByReader)
	s.record(syscall.ETIMEDOUT, ByReader)
	if by, eof, cause := s.get(); by != ByWatcher || !eof || cause != syscall.ECONNRESET {
		t.Errorf("%v %v %v", by, eof, cause)
	}
	if !s.ended(true) {
		t.Error("a reset ends every connection")
	}
}

// MaxAge drops what waits too long during an outage, and tells OnDrop.
func TestMaxAgeDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := make(chan uint64, 4)
		c, err := New("a:1", &Options{
			Buffer: Buffer{MaxAge: time.Minute},
			OnDrop: func(seq uint64, msg []byte, reason DropReason) {
				if string(msg) != "late" || reason != DroppedExpired {
					t.Errorf("dropped %q: %v", msg, reason)
				}
				dropped <- seq
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errRefused },
		})
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		if err := c.Send(t.Context(), []byte("late")); err != nil {
			t.Fatal(err)
		}
		<-dropped
		if d := time.Since(sent); d < time.Minute || d > 2*time.Minute {
			t.Errorf("dropped after %v", d)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("Flush counts what was dropped as done: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		<-c.Done()
		if s := c.Stats(); s.Dropped.Expired.Messages != 1 {
			t.Errorf("%+v", s.Dropped)
		}
	})
}
