package everconn

import (
	"fmt"
	"time"
)

// State is what a client is doing about its connection.
type State uint8

const (
	// Connecting: an attempt is under way.
	Connecting State = iota
	// Connected: the connection is up, OnConnect has returned, messages flow.
	Connected
	// Stalled: the connection is up and the peer's kernel answers, but its
	// receive window is closed: the peer's process is not reading.
	Stalled
	// Waiting: the last attempt or connection has failed; the next attempt is
	// due after a wait.
	Waiting
	// Closed: the client was closed, or has stopped by itself; see Client.Err.
	Closed
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Stalled:
		return "stalled"
	case Waiting:
		return "waiting"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// DropReason says why a message was given up.
type DropReason uint8

const (
	// DroppedOldest: Overflow DropOldest made room; no byte of the message had
	// been written on the live connection.
	DroppedOldest DropReason = iota
	// DroppedNewest: Overflow DropNewest, the outbox was full.
	DroppedNewest
	// DroppedInFlight: Overflow DropOldest made room, and everything was in
	// flight: the retained copy was given up. The message may still arrive.
	DroppedInFlight
	// DroppedExpired: the message was older than Buffer.MaxAge.
	DroppedExpired
	// DroppedReplays: the message was begun more than MaxReplays times again.
	DroppedReplays
)

// String returns the reason in a few words.
func (r DropReason) String() string {
	switch r {
	case DroppedOldest:
		return "oldest"
	case DroppedNewest:
		return "newest"
	case DroppedInFlight:
		return "in-flight"
	case DroppedExpired:
		return "expired"
	case DroppedReplays:
		return "replays"
	}
	return fmt.Sprintf("DropReason(%d)", uint8(r))
}

// Count is a number of messages and of their bytes, framing included.
type Count struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

func (c *Count) add(size uint32) {
	c.Messages++
	c.Bytes += uint64(size)
}

func (c *Count) sub(size uint32) {
	c.Messages--
	c.Bytes -= uint64(size)
}

func (c *Count) addCount(d Count) {
	c.Messages += d.Messages
	c.Bytes += d.Bytes
}

func (c *Count) subCount(d Count) {
	c.Messages -= d.Messages
	c.Bytes -= d.Bytes
}

// Drops counts the messages given up, by reason. See the constants of
// [DropReason].
type Drops struct {
	Oldest   Count `json:"oldest"`
	Newest   Count `json:"newest"`
	InFlight Count `json:"in_flight"`
	Expired  Count `json:"expired"`
	Replays  Count `json:"replays"`
}

// of returns the counter for a reason.
func (d *Drops) of(r DropReason) *Count {
	switch r {
	case DroppedOldest:
		return &d.Oldest
	case DroppedNewest:
		return &d.Newest
	case DroppedInFlight:
		return &d.InFlight
	case DroppedExpired:
		return &d.Expired
	}
	return &d.Replays
}

// since returns what was counted after an earlier snapshot.
func (d Drops) since(e Drops) Drops {
	for r := DroppedOldest; r <= DroppedReplays; r++ {
		d.of(r).subCount(*e.of(r))
	}
	return d
}

// Total returns the sum over all reasons.
func (d Drops) Total() Count {
	var t Count
	for _, c := range []Count{d.Oldest, d.Newest, d.InFlight, d.Expired, d.Replays} {
		t.addCount(c)
	}
	return t
}

// Stats is one consistent snapshot of a client. At every moment
//
//	Accepted = Confirmed + Dropped.Total() + Queued + InFlight
//
// in messages and in bytes.
type Stats struct {
	State State `json:"state"`
	// Level is the level of the live connection, or of the last one; before the
	// first it is Options.Confirm. It is Written where the connection cannot
	// report its send-queue.
	Level Level `json:"level"`
	// Endpoint is the host:port of the live connection or attempt, or of the
	// last one.
	Endpoint string `json:"endpoint"`
	// Accepted counts what Send has taken.
	Accepted Count `json:"accepted"`
	// Written counts messages whose last byte the local kernel has taken,
	// replays included.
	Written Count `json:"written"`
	// Confirmed counts messages confirmed at the level of their connection.
	Confirmed Count `json:"confirmed"`
	// Resent counts messages begun again on a later connection: the most that
	// can have arrived twice.
	Resent Count `json:"resent"`
	// Dropped counts messages given up, by reason.
	Dropped Drops `json:"dropped"`
	// Queued is what waits to be written on the live or next connection.
	Queued Count `json:"queued"`
	// InFlight is what has been begun on the live connection and is not
	// confirmed.
	InFlight Count `json:"in_flight"`
	// Reconnects counts connections established after the first.
	Reconnects uint64 `json:"reconnects"`
	// Attempts counts attempts to connect, the successful ones included.
	Attempts uint64 `json:"attempts"`
	// HeadReplays is how many times the oldest unconfirmed message has been
	// begun again.
	HeadReplays int `json:"head_replays"`
	// LastCause is why the last attempt or connection failed: a *ConnError, or
	// nil if none has. What the client ends itself (Close, Reconnect, MaxConnAge)
	// is no failure.
	LastCause error `json:"-"`
}

// EventKind says what an [Event] reports.
type EventKind uint8

const (
	// EventConnecting: an attempt begins.
	EventConnecting EventKind = iota
	// EventConnected: a connection is up and OnConnect has returned.
	EventConnected
	// EventAttemptFailed: an attempt failed; Cause says why and Wait how long
	// until the next.
	EventAttemptFailed
	// EventDisconnected: a connection has ended; Cause says why and Unconfirmed
	// what will be sent again on the next.
	EventDisconnected
	// EventLevel: the connection cannot report its send-queue; Level says what
	// confirmation follows instead.
	EventLevel
	// EventStalled: the peer's kernel answers but its window is closed.
	EventStalled
	// EventResumed: the window of a stalled peer has opened again.
	EventResumed
	// EventDropped: messages were given up; Dropped counts them since the last
	// such event.
	EventDropped
	// EventClosed: the client has closed; Cause is what Err returns. It is the
	// last event.
	EventClosed
)

// String returns the kind's name in lower case.
func (k EventKind) String() string {
	switch k {
	case EventConnecting:
		return "connecting"
	case EventConnected:
		return "connected"
	case EventAttemptFailed:
		return "attempt-failed"
	case EventDisconnected:
		return "disconnected"
	case EventLevel:
		return "level"
	case EventStalled:
		return "stalled"
	case EventResumed:
		return "resumed"
	case EventDropped:
		return "dropped"
	case EventClosed:
		return "closed"
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is one change in the life of a client, as told to Options.OnEvent. No
// event says that messages were acknowledged; see Client.WaitConfirmed.
type Event struct {
	Kind EventKind
	// Time is when it happened.
	Time time.Time
	// State is the client's state after it.
	State State
	// Level is the level of the live or last connection.
	Level Level
	// Endpoint is the host:port concerned.
	Endpoint string
	// Attempt numbers the attempts to connect since the client was made.
	Attempt uint64
	// Cause is why (EventAttemptFailed, EventDisconnected: a *ConnError;
	// EventClosed: what Err returns).
	Cause error
	// Wait is the time until the next attempt (EventAttemptFailed,
	// EventDisconnected).
	Wait time.Duration
	// Down is how long there was no connection (EventConnected, not the first).
	Down time.Duration
	// Unconfirmed is what had been begun on the connection and will be sent
	// again (EventDisconnected).
	Unconfirmed Count
	// Dropped is what was given up since the last EventDropped (EventDropped).
	Dropped Drops
	// Missed counts events that were merged into this one because OnEvent was
	// too slow to take them.
	Missed uint64
}
