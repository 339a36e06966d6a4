package main

import (
	"encoding/json"
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/everconn/everconn"
)

// reporter tells on stderr what happens while lines are shipped: as JSON, as
// log lines, or as one live line on a terminal.
type reporter interface {
	// event is told what Options.OnEvent is told.
	event(everconn.Event)
	// notice is told what the command has to say of its own. It is safe for
	// concurrent use with event.
	notice(notice)
	// close ends the telling and waits for it. It is called once.
	close()
}

// notice is something that the command itself has to say.
type notice struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Line    uint64    `json:"line,omitempty"` // the number of the input line
	Reason  string    `json:"reason,omitempty"`
	Refused uint64    `json:"refused,omitempty"` // lines refused so far
}

// clientRef holds the client, which comes into being after the functions that
// its options point to: nil until then.
type clientRef = atomic.Pointer[everconn.Client]

// newReporter returns the reporter that suits env, and sets the client's logger
// where log lines are wanted.
func newReporter(env *environment, asJSON bool, client *clientRef, refused func() uint64, opts *everconn.Options) reporter {
	switch {
	case asJSON:
		return &jsonReporter{w: env.stderr, client: client}
	case env.isTerminal:
		return newStatusReporter(env, client, refused)
	}
	opts.Logger = plainLogger(env.stderr)
	return logReporter{opts.Logger}
}

// logReporter writes plain log lines. The client's own records reach the same
// logger through Options.Logger, so its events are not repeated.
type logReporter struct{ logger zerolog.Logger }

func (r logReporter) event(everconn.Event) {}

func (r logReporter) notice(n notice) {
	e := r.logger.Warn()
	if n.Line > 0 {
		e = e.Uint64("line", n.Line)
	}
	if n.Refused > 0 {
		e = e.Uint64("refused", n.Refused)
	}
	if n.Reason != "" {
		e = e.Str("reason", n.Reason)
	}
	e.Msg(n.Event)
}

func (r logReporter) close() {}

// plainLogger returns a logger that writes one line of text per record.
func plainLogger(w io.Writer) zerolog.Logger {
	console := zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: time.RFC3339}
	return zerolog.New(console).With().Timestamp().Logger()
}

// jsonReporter writes one JSON object per line.
type jsonReporter struct {
	w      io.Writer
	client *clientRef
}

// jsonEvent is the form of an everconn.Event on stderr.
type jsonEvent struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	State    string    `json:"state"`
	Level    string    `json:"level"`
	Endpoint string    `json:"endpoint,omitempty"`
	Attempt  uint64    `json:"attempt,omitempty"`
	Cause    string    `json:"cause,omitempty"`
	WaitMS   float64   `json:"wait_ms,omitempty"`
	DownMS   float64   `json:"down_ms,omitempty"`
	// Confirmed is the client's Confirmed when the event is written, which is
	// after it happened: all messages up to that number are confirmed or dropped.
	Confirmed   uint64          `json:"confirmed"`
	Unconfirmed *everconn.Count `json:"unconfirmed,omitempty"`
	Dropped     *everconn.Drops `json:"dropped,omitempty"`
	Missed      uint64          `json:"missed,omitempty"`
}

func (r *jsonReporter) event(e everconn.Event) {
	out := jsonEvent{
		Time: e.Time, Event: e.Kind.String(), State: e.State.String(), Level: e.Level.String(),
		Endpoint: e.Endpoint, Attempt: e.Attempt,
		WaitMS: milliseconds(e.Wait), DownMS: milliseconds(e.Down),
		Missed: e.Missed,
	}
	if client := r.client.Load(); client != nil {
		out.Confirmed = client.Confirmed()
	}
	if e.Cause != nil {
		out.Cause = e.Cause.Error()
	}
	if e.Kind == everconn.EventDisconnected {
		out.Unconfirmed = &e.Unconfirmed
	}
	if e.Kind == everconn.EventDropped {
		out.Dropped = &e.Dropped
	}
	writeJSON(r.w, out)
}

func (r *jsonReporter) notice(n notice) {
	n.Time = time.Now()
	writeJSON(r.w, n)
}

func (r *jsonReporter) close() {}

// writeJSON writes v and a line feed by one Write, so that lines written by
// several goroutines do not mix. A failure is of no consequence: there is
// nobody left to be told.
func writeJSON(w io.Writer, v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types can be marshalled
	}
	w.Write(append(line, '\n'))
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
