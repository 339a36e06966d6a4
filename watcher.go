package everconn

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// readiness is what a socket has to say at one moment.
type readiness uint8

const (
	readable   readiness = 1 << iota // data or EOF can be read
	peerClosed                       // the peer has sent FIN
	failed                           // there is an error to be taken by SO_ERROR
)

// drainBudget bounds what is read from one connection in one turn, so that a
// flooding peer does not delay the notice of another's death.
const drainBudget = 64 << 10

// errWouldBlock is what a non-blocking syscall says when it can do nothing now.
var errWouldBlock = errors.New("would block")

// A watch is the registration of one connection with the watcher.
type watch struct {
	token uint64 // descriptors are reused at once: events carry this instead
	raw   syscall.RawConn
	slot  *causeSlot
	heard func() // called when something was read and discarded
	wake  func() // called when the slot has something new

	mu    sync.Mutex // guards the following, held while the watcher looks at it
	drain bool       // nobody else reads: discard what arrives
	gone  bool
}

// A ready is what a poller has found.
type ready struct {
	token uint64
	what  readiness
}

// A poller waits for sockets to become ready. There are two: epoll where there
// is one (poll_linux.go) and a tick (poll_other.go), which is tested on Linux
// too.
type poller interface {
	// add begins to watch, and change follows a change of w.drain.
	add(w *watch) error
	change(w *watch) error
	remove(w *watch)
	// wait appends what is ready to found. If block is false it does not wait.
	// It fails once close was called.
	wait(found []ready, block bool) ([]ready, error)
	close()
}

// The watcher tells clients that mostly send that their peer is gone. There is
// one for the process: one goroutine, which sleeps until the kernel has
// something to say. It starts with the first client that has a socket and ends
// with the last.
type watcher struct {
	poller poller
	ended  chan struct{}

	mu      sync.Mutex // guards the following
	watches map[uint64]*watch
	last    uint64 // token
}

var shared struct {
	mu      sync.Mutex // guards the following
	watcher *watcher
	users   int
}

// acquireWatcher returns the process's watcher. Each call wants a
// releaseWatcher.
func acquireWatcher() (*watcher, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users == 0 {
		p, err := newPoller()
		if err != nil {
			return nil, err
		}
		shared.watcher = startWatcher(p)
	}
	shared.users++
	return shared.watcher, nil
}

// releaseWatcher ends the watcher, and waits for it, if nobody uses it any
// more.
func releaseWatcher() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users--; shared.users == 0 {
		shared.watcher.stop()
		shared.watcher = nil
	}
}

func startWatcher(p poller) *watcher {
	w := &watcher{poller: p, ended: make(chan struct{}), watches: make(map[uint64]*watch)}
	go w.run()
	return w
}

func (w *watcher) stop() {
	w.poller.close()
	<-w.ended
}

// add begins to watch. If the connection has already ended, its slot is told
// soon.
func (w *watcher) add(x *watch) error {
	w.mu.Lock()
	w.last++
	x.token = w.last
	w.watches[x.token] = x
	w.mu.Unlock()
	if err := w.poller.add(x); err != nil {
		w.remove(x)
		return err
	}
	return nil
}

// drainFrom makes the watcher discard what arrives from now on.
func (w *watcher) drainFrom(x *watch) error {
	x.mu.Lock()
	x.drain = true
	x.mu.Unlock()
	return w.poller.change(x)
}

// remove ends a watch. When it returns, the watcher does not touch the
// connection any more.
func (w *watcher) remove(x *watch) {
	w.poller.remove(x)
	w.mu.Lock()
	delete(w.watches, x.token)
	w.mu.Unlock()
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
}

func (w *watcher) lookup(token uint64) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watches[token]
}

func (w *watcher) run() {
	defer close(w.ended)
	buf := make([]byte, 16<<10)
	var found []ready
	var more []*watch // drained up to their budget, not to the end
	for {
		var err error
		found, err = w.poller.wait(found[:0], len(more) == 0)
		if err != nil {
			return
		}
		left := more
		more = nil
		for _, x := range left {
			if x.look(readable, buf) {
				more = append(more, x)
			}
		}
		for _, r := range found {
			if x := w.lookup(r.token); x != nil && x.look(r.what, buf) {
				more = append(more, x)
			}
		}
	}
}

// look takes what a ready socket has to say into its slot. It reports whether
// there is more to drain.
func (x *watch) look(r readiness, buf []byte) (more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return false
	}
	news := false
	_ = x.raw.Control(func(fd uintptr) { // an error: closed, and somebody knows
		if r&(failed|peerClosed) != 0 {
			news = x.slot.takeError(fd, r&peerClosed != 0, ByWatcher)
		}
		if r&readable != 0 && x.drain {
			var ended bool
			more, ended = x.discard(fd, buf)
			news = news || ended
		}
	})
	if news {
		x.wake()
	}
	return more
}

// discard reads up to the budget. It reports whether there may be more, and
// whether the slot has something new.
func (x *watch) discard(fd uintptr, buf []byte) (more, news bool) {
	for n := 0; n < drainBudget; {
		k, err := x.slot.read(fd, buf, ByWatcher)
		switch {
		case err == errWouldBlock:
			return false, false
		case err != nil:
			return false, true
		}
		x.heard()
		n += k
	}
	return true, false
}

// takeError asks SO_ERROR, which is asked only when there is a reason to: it
// also returns the soft error of a live socket (an ICMP unreachable that
// passes), and takes the error from everybody else. It reports whether the slot
// has something new.
func (s *causeSlot) takeError(fd uintptr, fin bool, by By) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cause, strong := s.cause, s.strong
	s.recordLocked(soError(fd), by)
	if fin {
		s.recordLocked(io.EOF, by)
	}
	return s.cause != cause || s.strong != strong
}

// read reads what there is, and records an error or EOF.
func (s *causeSlot) read(fd uintptr, p []byte, by By) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := recvNonblock(fd, p)
	if err != nil && err != errWouldBlock {
		s.recordLocked(err, by)
	}
	return n, err
}
