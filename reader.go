package everconn

import "io"

// startReader starts the goroutine that reads, where something must be read.
// It begins after the one before it has ended, so that there is never more than
// one Receive.
func (l *live) startReader(before chan struct{}) {
	if l.watched() && l.c.opts.Receive == nil {
		return
	}
	l.readerEnded = make(chan struct{})
	l.c.running.Go(func() {
		defer close(l.readerEnded)
		if before != nil {
			<-before
		}
		l.reader()
	})
}

// reader runs Receive, and then discards.
func (l *live) reader() {
	if receive := l.c.opts.Receive; receive != nil {
		err := receive(readerOnly{l.link})
		if err != nil {
			l.slot.record(err, ByReader)
			l.c.poke()
			return
		}
	}
	if l.watched() && l.c.watcher.drainFrom(l.watch) == nil {
		return
	}
	buf := make([]byte, 1<<10)
	for {
		if _, err := l.link.Read(buf); err != nil { // it is in the slot
			l.c.poke()
			return
		}
	}
}

// watched reports whether the watcher can discard what arrives: under TLS it
// cannot, because readable is not dead there.
func (l *live) watched() bool { return l.watch != nil && !l.tls }

// readerOnly hides all of a link but Read from Receive.
type readerOnly struct{ r io.Reader }

func (r readerOnly) Read(p []byte) (int, error) { return r.r.Read(p) }

// receiving reports whether Receive may still read.
func (l *live) receiving() bool {
	if l.c.opts.Receive == nil {
		return false
	}
	select {
	case <-l.readerEnded:
		return false
	default:
		return true
	}
}
