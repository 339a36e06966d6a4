//go:build linux

package everconn

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pollers are both of them: what holds for epoll must hold for the tick.
var pollers = map[string]func(*testing.T) poller{
	"epoll": func(t *testing.T) poller {
		p, err := newPoller()
		if err != nil {
			t.Fatal(err)
		}
		return p
	},
	"tick": func(*testing.T) poller { return newTickPoller(2 * time.Millisecond) },
}

func eachPoller(t *testing.T, test func(*testing.T, *watcher)) {
	for name, open := range pollers {
		t.Run(name, func(t *testing.T) {
			w := startWatcher(open(t))
			t.Cleanup(w.stop)
			test(t, w)
		})
	}
}

// socketPair is a connection over loopback, ours first.
func socketPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = ln.(*net.TCPListener).AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); theirs.Close() })
	return conn.(*net.TCPConn), theirs
}

// A watched is a watch that counts what it is told.
type watched struct {
	*watch
	woken chan struct{}
	wakes atomic.Int64
	heard atomic.Int64
}

func newWatched(t *testing.T, conn *net.TCPConn, drain bool) *watched {
	t.Helper()
	_, raw := rawOf(conn)
	x := &watched{woken: make(chan struct{}, 1)}
	x.watch = &watch{raw: raw, slot: &causeSlot{}, drain: drain,
		heard: func() { x.heard.Add(1) },
		wake: func() {
			x.wakes.Add(1)
			select {
			case x.woken <- struct{}{}:
			default:
			}
		}}
	return x
}

func add(t *testing.T, w *watcher, x *watched) {
	t.Helper()
	if err := w.add(x.watch); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.remove(x.watch) })
}

// pendingError takes the error that SO_ERROR still has.
func pendingError(t *testing.T, conn *net.TCPConn) (err error) {
	t.Helper()
	_, raw := rawOf(conn)
	if cerr := raw.Control(func(fd uintptr) { err = soError(fd) }); cerr != nil {
		t.Fatal(cerr)
	}
	return err
}

// awaitPoll waits until poll(2) says one of events of a socket.
func awaitPoll(t *testing.T, conn *net.TCPConn, events int16) {
	t.Helper()
	_, raw := rawOf(conn)
	await(t, func() bool {
		fds := []unix.PollFd{{Events: events}}
		if err := raw.Control(func(fd uintptr) {
			fds[0].Fd = int32(fd)
			unix.Poll(fds, 0)
		}); err != nil {
			t.Fatal(err)
		}
		return fds[0].Revents&events != 0
	}, "readiness")
}

func TestWatcherSeesDeath(t *testing.T) {
	tests := []struct {
		name string
		die  func(*net.TCPConn)
		want error
		eof  bool // a reset may look like one, besides
	}{
		{"reset", reset, syscall.ECONNRESET, false},
		{"fin", func(c *net.TCPConn) { c.CloseWrite() }, io.EOF, true},
		{"data, then fin", func(c *net.TCPConn) { c.Write(make([]byte, 100_000)); c.CloseWrite() }, io.EOF, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, drain := range []bool{false, true} {
				for _, before := range []bool{false, true} {
					eachPoller(t, func(t *testing.T, w *watcher) {
						ours, theirs := socketPair(t)
						x := newWatched(t, ours, drain)
						if before { // dead before it is watched
							test.die(theirs)
							awaitPoll(t, ours, unix.POLLRDHUP|unix.POLLERR)
						}
						add(t, w, x)
						if !before {
							test.die(theirs)
						}
						within(t, x.woken, "the watcher")
						by, eof, cause := x.slot.get()
						if !errors.Is(cause, test.want) || by != ByWatcher || test.eof && !eof {
							t.Errorf("drain %v, dead before %v: %v by %v, eof %v; want %v", drain, before, cause, by, eof, test.want)
						}
					})
				}
			}
		})
	}
}

// TestWatcherDrains: what arrives is discarded, more than the budget of a turn,
// and a flood from one peer does not hide the death of another.
func TestWatcherDrains(t *testing.T) {
	eachPoller(t, func(t *testing.T, w *watcher) {
		ours, theirs := socketPair(t)
		x := newWatched(t, ours, true)
		add(t, w, x)
		flood := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				_, err = theirs.Write(make([]byte, 1<<20))
			}
			flood <- err
		}()
		await(t, func() bool { return x.heard.Load() > 1000 }, "draining")

		other, mortal := socketPair(t)
		y := newWatched(t, other, false)
		add(t, w, y)
		reset(mortal)
		within(t, y.woken, "the watcher, during a flood,")
		if _, _, cause := x.slot.get(); cause != nil || x.wakes.Load() != 0 {
			t.Errorf("the flooded one: cause %v, %d wakes", cause, x.wakes.Load())
		}
		theirs.Close()
		if err := <-flood; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the flood ended by %v", err)
		}
		within(t, x.woken, "the watcher")
	})
}

// TestDrainFromNow: data that waits already is drained once Receive has ended.
func TestDrainFromNow(t *testing.T) {
	eachPoller(t, func(t *testing.T, w *watcher) {
		ours, theirs := socketPair(t)
		x := newWatched(t, ours, false)
		add(t, w, x)
		if _, err := theirs.Write([]byte("early")); err != nil {
			t.Fatal(err)
		}
		awaitPoll(t, ours, unix.POLLIN)
		if n := x.heard.Load(); n != 0 {
			t.Errorf("%d reads without drain", n)
		}
		if err := w.drainFrom(x.watch); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return x.heard.Load() == 1 }, "draining")
	})
}

// TestRemovedWatchIsNotWoken: the descriptor and its number are reused at once,
// and events that were found before are about nobody.
func TestRemovedWatchIsNotWoken(t *testing.T) {
	eachPoller(t, func(t *testing.T, w *watcher) {
		for range 100 {
			ours, theirs := socketPair(t)
			x := newWatched(t, ours, true)
			if err := w.add(x.watch); err != nil {
				t.Fatal(err)
			}
			if x.token == 0 || w.lookup(x.token) != x.watch {
				t.Fatal("no token")
			}
			w.remove(x.watch)
			reset(theirs) // after remove: must not be told
			ours.Close()

			again, mortal := socketPair(t) // of the same number, as a rule
			y := newWatched(t, again, true)
			add(t, w, y)
			if y.token == x.token {
				t.Fatalf("token %d is reused", y.token)
			}
			reset(mortal)
			within(t, y.woken, "the watcher")
			if x.look(failed|readable|peerClosed, make([]byte, 10)) {
				t.Error("a removed watch has more to drain")
			}
			if _, _, cause := x.slot.get(); cause != nil || x.wakes.Load() != 0 {
				t.Fatalf("a removed watch: cause %v, %d wakes", cause, x.wakes.Load())
			}
		}
	})
}

// TestErrorIsLeftWithoutAReason: SO_ERROR takes the error away from everybody
// else, and may be a soft one, so that mere data is no reason to ask it.
func TestErrorIsLeftWithoutAReason(t *testing.T) {
	ours, theirs := socketPair(t)
	reset(theirs)
	awaitPoll(t, ours, unix.POLLERR)
	x := newWatched(t, ours, false) // to drain would be a read, which takes it
	if x.look(readable, make([]byte, 10)) {
		t.Error("nothing is drained, and there is more")
	}
	if _, _, cause := x.slot.get(); cause != nil {
		t.Errorf("cause %v without a reason", cause)
	}
	if err := pendingError(t, ours); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("SO_ERROR is %v; somebody has taken ECONNRESET", err)
	}
	if err := pendingError(t, ours); err != nil {
		t.Fatalf("SO_ERROR is %v a second time: this test proves nothing", err)
	}
}

// TestStrongCauseWins: whoever comes first, the error number is what is kept.
func TestStrongCauseWins(t *testing.T) {
	for _, order := range [][]error{
		{io.EOF, syscall.ECONNRESET, syscall.EPIPE},
		{syscall.EPIPE, io.EOF, syscall.ECONNRESET},
		{syscall.ECONNRESET, io.EOF, syscall.ETIMEDOUT},
	} {
		var s causeSlot
		for _, err := range order {
			s.record(err, ByReader)
		}
		if _, eof, cause := s.get(); cause != syscall.ECONNRESET || !eof {
			t.Errorf("%v: cause %v, eof %v", order, cause, eof)
		}
		s.close()
		s.record(syscall.ETIMEDOUT, BySend)
		if _, _, cause := s.get(); cause != syscall.ECONNRESET {
			t.Errorf("cause %v after close", cause)
		}
	}
}

// TestWatcherIsShared: one for the process, gone with its last user.
func TestWatcherIsShared(t *testing.T) {
	a, err := acquireWatcher()
	if err != nil {
		t.Fatal(err)
	}
	b, err := acquireWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Error("two watchers")
	}
	releaseWatcher()
	select {
	case <-a.ended:
		t.Error("it ended while it was used")
	default:
	}
	releaseWatcher()
}
