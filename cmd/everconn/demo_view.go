package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
)

// demoView tells the story of an act: a line for each thing that happens and,
// on a terminal, a status line below. Its goroutine alone writes.
type demoView struct {
	story io.Writer
	live  io.Writer // nil: no status line
	width func() int
	began time.Time

	client atomic.Pointer[everconn.Client]
	lines  chan string
	quit   chan struct{}
	gone   chan struct{}

	outage outage // OnEvent's own
}

// outage is what has happened since a connection was lost.
type outage struct {
	cause    error
	again    uint64
	attempts int
}

func newDemoView(env *environment, story io.Writer) *demoView {
	v := &demoView{
		story: story, width: env.width, began: time.Now(),
		lines: make(chan string, 64), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	if env.isTerminal {
		v.live = env.stderr
	}
	go v.run()
	return v
}

// watch shows client in the status line.
func (v *demoView) watch(client *everconn.Client) { v.client.Store(client) }

// close ends the story, after everything that was told before, and waits for
// that.
func (v *demoView) close() {
	close(v.quit)
	<-v.gone
}

func (v *demoView) run() {
	defer close(v.gone)
	ticker := time.NewTicker(statusTick)
	defer ticker.Stop()
	var rate rateMeter
	for {
		select {
		case line := <-v.lines:
			v.print(line)
		case <-ticker.C:
			v.draw(&rate)
		case <-v.quit:
			for {
				select {
				case line := <-v.lines:
					v.print(line)
				default:
					v.clear()
					return
				}
			}
		}
	}
}

func (v *demoView) print(line string) {
	v.clear()
	fmt.Fprintln(v.story, line)
}

func (v *demoView) clear() {
	if v.live != nil {
		io.WriteString(v.live, "\r\x1b[K")
	}
}

func (v *demoView) draw(rate *rateMeter) {
	client := v.client.Load()
	if v.live == nil || client == nil {
		return
	}
	stats := client.Stats()
	rate.observe(stats.Confirmed.Messages, time.Now())
	stats.LastCause = nil // the story has it
	line := fmt.Sprintf("%6.2fs  %s", time.Since(v.began).Seconds(), statusLine(stats, rate.perSecond, 0))
	fmt.Fprintf(v.live, "\r%s\x1b[K", clip(line, v.width()-1))
}

// tell adds a line to the story.
func (v *demoView) tell(at time.Time, who, format string, args ...any) {
	line := fmt.Sprintf("%6.2fs  %-9s  %s", at.Sub(v.began).Seconds(), who, fmt.Sprintf(format, args...))
	select {
	case v.lines <- line:
	case <-v.gone:
	}
}

// fault tells what the collector is about to do.
func (v *demoView) fault(name string) { v.tell(time.Now(), "collector", "%s", name) }

// ended tells what the end of a connection did to messages: Config.OnEnd.
func (v *demoView) ended(e broken.Ended) {
	now := time.Now()
	switch {
	case e.DestroyedBytes > 0:
		v.tell(now, "collector", "has destroyed %d messages (%d bytes), acknowledged and not read", len(e.Destroyed), e.DestroyedBytes)
	case e.How.Destructive():
		v.tell(now, "collector", "had nothing unread to destroy")
	case e.Rest == broken.Malformed:
		v.tell(now, "collector", "cannot make sense of the stream: %v", e.Err)
	case e.Rest == broken.Incomplete:
		v.tell(now, "collector", "discards %d bytes of a message that was cut", len(e.Fragment))
	case e.How == broken.MidMessage:
		v.tell(now, "collector", "found no message to cut: nothing was on its way")
	}
}

// event tells what the client makes of it: Options.OnEvent.
func (v *demoView) event(e everconn.Event) {
	o := &v.outage
	switch e.Kind {
	case everconn.EventDisconnected:
		*o = outage{cause: e.Cause, again: e.Unconfirmed.Messages}
	case everconn.EventAttemptFailed:
		o.attempts++
		if o.cause == nil {
			o.cause = e.Cause
		}
	case everconn.EventConnected:
		v.connected(e)
		*o = outage{}
	case everconn.EventStalled:
		v.tell(e.Time, "client", "stalled: the collector's kernel answers, but nobody reads")
	case everconn.EventResumed:
		v.tell(e.Time, "client", "goes on: the collector reads again")
	case everconn.EventLevel:
		v.tell(e.Time, "client", "this connection cannot tell what was acknowledged: level %v", e.Level)
	}
}

func (v *demoView) connected(e everconn.Event) {
	o := v.outage
	if o.cause == nil {
		v.tell(e.Time, "client", "connected to %s", e.Endpoint)
		return
	}
	line := fmt.Sprintf("back after %v", e.Down.Round(time.Millisecond))
	if o.attempts > 0 {
		line += fmt.Sprintf(" (failed attempts: %d)", o.attempts)
	}
	line += ": " + whyLost(o.cause)
	if o.again > 0 {
		line += fmt.Sprintf(", messages again: %d", o.again)
	}
	v.tell(e.Time, "client", "%s", line)
}

// whyLost says why a connection was lost, and who noticed.
func whyLost(err error) string {
	var conn *everconn.ConnError
	if !errors.As(err, &conn) {
		return err.Error()
	}
	why := conn.Cause.Error()
	var errno syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		why = "FIN"
	case errors.As(err, &errno):
		why = errno.Error()
	}
	return fmt.Sprintf("%s (%v)", why, conn.By)
}
