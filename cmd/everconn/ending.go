package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/everconn/everconn"
	"github.com/everconn/everconn/wire"
)

// ending says how a connection ended, as its collector saw it.
type ending string

const (
	endFIN         ending = "fin"         // the peer closed in good order
	endReset       ending = "reset"       // the peer reset it (ECONNRESET)
	endTimedOut    ending = "timed-out"   // keepalive went unanswered (ETIMEDOUT)
	endUnreachable ending = "unreachable" // the network says so (EHOSTUNREACH, ENETUNREACH)
	endTruncated   ending = "truncated"   // FIN inside a TLS record
	endHandshake   ending = "handshake"   // TLS was not agreed on
	endFraming     ending = "framing"     // what came does not follow the framing
	endStopped     ending = "stopped"     // the collector was stopped
	endOther       ending = "other"
)

// endings lists them in the order of the report.
var endings = []ending{endFIN, endReset, endTimedOut, endUnreachable, endTruncated, endHandshake, endFraming, endStopped, endOther}

var errHandshake = errors.New("TLS handshake")

// endingOf classifies the error that ended the reading of a connection.
func endingOf(err error, stopping bool) ending {
	is := func(errno syscall.Errno) bool { // on every platform, see everconn.ConnError
		return err != nil && errors.Is(&everconn.ConnError{Cause: err}, errno)
	}
	switch {
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrLength):
		return endFraming
	case stopping: // our own kernel resets what arrives now, so a reset says nothing
		return endStopped
	case is(syscall.ECONNRESET):
		return endReset
	case is(syscall.ETIMEDOUT):
		return endTimedOut
	case is(syscall.EHOSTUNREACH), is(syscall.ENETUNREACH):
		return endUnreachable
	case errors.Is(err, errHandshake):
		return endHandshake
	case err == nil:
		return endFIN
	case errors.Is(err, io.ErrUnexpectedEOF):
		return endTruncated
	}
	return endOther
}

// totals adds up sessions. Ended must be made beforehand.
type totals struct {
	Connections uint64            `json:"connections"`
	Messages    uint64            `json:"messages"`
	Bytes       uint64            `json:"bytes"`
	Incomplete  uint64            `json:"incomplete"` // bytes that belong to no whole message
	Torn        uint64            `json:"torn"`       // connections that ended inside a message
	Unwritten   uint64            `json:"unwritten"`
	Unread      uint64            `json:"unread"` // connections closed before they were read to the end
	Ended       map[ending]uint64 `json:"ended"`
}

func (t *totals) add(s session) {
	t.Messages += s.Messages
	t.Bytes += s.Bytes
	t.Incomplete += s.Incomplete
	if s.Incomplete > 0 {
		t.Torn++
	}
	t.Unwritten += s.Unwritten
	t.Ended[s.End]++
}

// text is the total as a person reads it.
func (t totals) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "messages %d / bytes %d / connections %d", t.Messages, t.Bytes, t.Connections)
	for _, e := range endings {
		if n := t.Ended[e]; n > 0 {
			fmt.Fprintf(&b, " / %s %d", e, n)
		}
	}
	b.WriteByte('\n')
	if t.Torn > 0 {
		fmt.Fprintf(&b, "incomplete: %d bytes at the end of %d connections\n", t.Incomplete, t.Torn)
	}
	if t.Unwritten > 0 {
		fmt.Fprintf(&b, "unwritten: %d messages were received and could not be written\n", t.Unwritten)
	}
	return b.String()
}
