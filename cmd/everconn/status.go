package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/everconn/everconn"
)

// statusReporter keeps one live line on a terminal. Its goroutine alone writes
// there; notices stand above the line.
type statusReporter struct {
	w       io.Writer
	width   func() int
	client  *clientRef
	refused func() uint64

	notices chan notice
	quit    chan struct{}
	gone    chan struct{}
}

const (
	statusTick = 200 * time.Millisecond
	rateTicks  = 5 // a rate is taken over so many ticks
)

func newStatusReporter(env *environment, client *clientRef, refused func() uint64) *statusReporter {
	r := &statusReporter{
		w: env.stderr, width: env.width, client: client, refused: refused,
		notices: make(chan notice), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	go r.run()
	return r
}

// event does nothing: the line is drawn from Stats.
func (r *statusReporter) event(everconn.Event) {}

func (r *statusReporter) notice(n notice) {
	select {
	case r.notices <- n:
	case <-r.gone:
	}
}

func (r *statusReporter) close() {
	close(r.quit)
	<-r.gone
}

func (r *statusReporter) run() {
	defer close(r.gone)
	ticker := time.NewTicker(statusTick)
	defer ticker.Stop()
	var rate rateMeter
	for {
		select {
		case n := <-r.notices:
			fmt.Fprintf(r.w, "\r\x1b[K%s\n", n.text())
		case <-ticker.C:
			r.draw(&rate)
		case <-r.quit:
			r.draw(&rate)
			io.WriteString(r.w, "\n")
			return
		}
	}
}

func (r *statusReporter) draw(rate *rateMeter) {
	client := r.client.Load()
	if client == nil {
		return
	}
	stats := client.Stats()
	rate.observe(stats.Confirmed.Messages, time.Now())
	line := statusLine(stats, rate.perSecond, r.refused())
	fmt.Fprintf(r.w, "\r%s\x1b[K", clip(line, r.width()-1))
}

// statusLine is the live line: what matters most comes first, since the end is
// clipped.
func statusLine(s everconn.Stats, rate float64, refused uint64) string {
	parts := []string{
		fmt.Sprintf("%v %s", s.State, s.Endpoint),
		fmt.Sprintf("%.0f/s", rate),
		fmt.Sprintf("queued %d", s.Queued.Messages),
		fmt.Sprintf("in flight %d", s.InFlight.Messages),
		fmt.Sprintf("resent %d", s.Resent.Messages),
		fmt.Sprintf("reconnects %d", s.Reconnects),
	}
	if n := s.Dropped.Total().Messages; n > 0 {
		parts = append(parts, fmt.Sprintf("dropped %d", n))
	}
	if refused > 0 {
		parts = append(parts, fmt.Sprintf("refused %d", refused))
	}
	if s.LastCause != nil && !errors.Is(s.LastCause, everconn.ErrClosed) { // that is our own doing
		parts = append(parts, "last: "+briefCause(s.LastCause))
	}
	return strings.Join(parts, " | ")
}

// briefCause leaves out what the line says anyway.
func briefCause(err error) string {
	var conn *everconn.ConnError
	if !errors.As(err, &conn) || conn.Cause == nil {
		return err.Error()
	}
	var errno syscall.Errno
	if errors.As(conn.Cause, &errno) {
		return conn.Op + ": " + errno.Error()
	}
	return conn.Op + ": " + conn.Cause.Error()
}

// clip shortens s to so many columns and replaces what would move the cursor.
func clip(s string, columns int) string {
	runes := []rune(s)
	for i, c := range runes {
		if c < ' ' || c == 0x7f {
			runes[i] = ' '
		}
	}
	if len(runes) > columns {
		runes = append(runes[:max(columns-1, 0)], '…')
	}
	return string(runes)
}

// text is the notice as a person reads it.
func (n notice) text() string {
	s := n.Event
	if n.Line > 0 {
		s += fmt.Sprintf(" (line %d)", n.Line)
	}
	if n.Reason != "" {
		s += ": " + n.Reason
	}
	return s
}

// rateMeter turns a growing count into a rate.
type rateMeter struct {
	perSecond float64

	ticks int
	count uint64
	at    time.Time
}

func (m *rateMeter) observe(count uint64, now time.Time) {
	if m.ticks++; m.ticks < rateTicks && !m.at.IsZero() {
		return
	}
	if elapsed := now.Sub(m.at).Seconds(); !m.at.IsZero() && elapsed > 0 {
		m.perSecond = float64(count-m.count) / elapsed
	}
	m.ticks, m.count, m.at = 0, count, now
}
