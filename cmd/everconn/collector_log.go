package main

import (
	"io"
	"net"
	"time"

	"github.com/rs/zerolog"
)

// collectorLog reports what a collector sees: log lines, or JSON.
type collectorLog interface {
	listening(net.Addr)
	ended(session)
	// trouble is something that does not end a connection.
	trouble(what string, err error)
}

func newCollectorLog(env *environment, asJSON bool) collectorLog {
	if asJSON {
		return jsonCollectorLog{env.stderr}
	}
	return plainCollectorLog{plainLogger(env.stderr)}
}

type plainCollectorLog struct{ logger zerolog.Logger }

func (l plainCollectorLog) listening(a net.Addr) {
	l.logger.Info().Stringer("address", a).Msg("listening")
}

func (l plainCollectorLog) ended(s session) {
	e := l.logger.Info().Str("peer", s.Peer).Str("end", string(s.End)).
		Uint64("messages", s.Messages).Uint64("bytes", s.Bytes)
	if s.Incomplete > 0 {
		e = e.Uint64("incomplete", s.Incomplete)
	}
	if s.Unwritten > 0 {
		e = e.Uint64("unwritten", s.Unwritten)
	}
	if s.Cause != "" {
		e = e.Str("cause", s.Cause)
	}
	e.Msg("connection ended")
}

func (l plainCollectorLog) trouble(what string, err error) {
	l.logger.Warn().Err(err).Msg(what)
}

type jsonCollectorLog struct{ w io.Writer }

// collectorEvent is the head of each JSON line.
type collectorEvent struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
}

func (l jsonCollectorLog) listening(a net.Addr) {
	writeJSON(l.w, struct {
		collectorEvent
		Address string `json:"address"`
	}{collectorEvent{time.Now(), "listening"}, a.String()})
}

func (l jsonCollectorLog) ended(s session) {
	writeJSON(l.w, struct {
		collectorEvent
		session
	}{collectorEvent{time.Now(), "ended"}, s})
}

func (l jsonCollectorLog) trouble(what string, err error) {
	writeJSON(l.w, struct {
		collectorEvent
		What  string `json:"what"`
		Cause string `json:"cause"`
	}{collectorEvent{time.Now(), "trouble"}, what, err.Error()})
}
