package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/everconn/everconn"
	"github.com/everconn/everconn/wire"
)

// shipper takes lines from the input to the client. It is used by one goroutine
// at a time.
type shipper struct {
	client *everconn.Client
	lines  *lineReader
	pace   *pacer
	count  uint64 // how many lines to take; 0 means all
	told   reporter

	taken   uint64 // lines read
	empty   uint64 // lines skipped: empty, and the framing cannot carry that
	refused refusals
}

// run ships until the input ends, count lines are taken, or the client is
// closed. hurry ends the pacing; when ctx ends, what has been read already is
// refused. The error is that of the input, or nil.
func (s *shipper) run(ctx, hurry context.Context) error {
	for s.count == 0 || s.taken < s.count {
		line, err := s.lines.next()
		switch {
		case err == nil || err == errLongLine:
			s.taken++
		case len(line) > 0:
			s.taken++
			s.refuse(refusedUnfinished, fmt.Errorf("only its first %d bytes were read: %w", len(line), err))
		}
		switch err {
		case nil:
			s.pace.wait(hurry)
			s.send(ctx, line)
		case errLongLine:
			s.refuse(refusedTooLong, err)
		case io.EOF, errInterrupted:
			return nil
		default:
			return fmt.Errorf("standard input: %w", err)
		}
	}
	return nil
}

func (s *shipper) send(ctx context.Context, line []byte) {
	err := s.client.Send(ctx, line)
	switch {
	case err == nil:
	case errors.Is(err, wire.ErrEmpty):
		s.empty++
		if s.empty == 1 {
			s.told.notice(notice{Event: "empty", Line: s.taken, Reason: "empty lines are skipped: " + err.Error()})
		}
	case errors.Is(err, wire.ErrDelimiter):
		s.refuse(refusedDelimiter, err)
	case errors.Is(err, everconn.ErrTooLarge), errors.Is(err, wire.ErrLength):
		s.refuse(refusedTooLong, err)
	case errors.Is(err, everconn.ErrFull):
		s.refuse(refusedFull, err)
	case ctx.Err() != nil:
		s.refuse(refusedStopped, context.Cause(ctx))
	default:
		s.refuse(refusedStopped, err)
	}
}

func (s *shipper) refuse(why refusal, err error) {
	if s.refused.add(why) {
		s.told.notice(notice{Event: "refused", Line: s.taken, Reason: err.Error(), Refused: s.refused.total()})
	}
}
