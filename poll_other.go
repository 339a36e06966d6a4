package everconn

import (
	"net"
	"sync"
	"time"
)

// A tickPoller looks at every socket on a tick, where there is no epoll. It is
// level-triggered: what stays ready is found again.
type tickPoller struct {
	ticker *time.Ticker
	closed chan struct{}

	mu      sync.Mutex // guards the following
	watches map[*watch]struct{}
}

func newTickPoller(tick time.Duration) *tickPoller {
	return &tickPoller{
		ticker:  time.NewTicker(tick),
		closed:  make(chan struct{}),
		watches: make(map[*watch]struct{}),
	}
}

func (p *tickPoller) add(w *watch) error {
	p.mu.Lock()
	p.watches[w] = struct{}{}
	p.mu.Unlock()
	return nil
}

func (p *tickPoller) change(*watch) error { return nil } // wait asks each time

func (p *tickPoller) remove(w *watch) {
	p.mu.Lock()
	delete(p.watches, w)
	p.mu.Unlock()
}

func (p *tickPoller) wait(found []ready, block bool) ([]ready, error) {
	if block {
		select {
		case <-p.ticker.C:
		case <-p.closed:
			return found, net.ErrClosed
		}
	}
	p.mu.Lock()
	watches := make([]*watch, 0, len(p.watches))
	for w := range p.watches {
		watches = append(watches, w)
	}
	p.mu.Unlock()
	for _, w := range watches {
		if r := w.poll(); r != 0 {
			found = append(found, ready{w.token, r})
		}
	}
	return found, nil
}

// poll asks a socket once.
func (w *watch) poll() (r readiness) {
	_ = w.raw.Control(func(fd uintptr) {
		var err error
		if r, err = pollSocket(fd); err != nil {
			r = failed
		}
	})
	return r
}

func (p *tickPoller) close() {
	p.ticker.Stop()
	close(p.closed)
}
