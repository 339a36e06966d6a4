package main

import (
	"errors"
	"fmt"

	"github.com/everconn/everconn"
)

// outcome is what the end of a sending left to judge.
type outcome struct {
	input    error // reading standard input failed
	drain    error // what Shutdown returned
	stopped  error // why the client stopped for good
	gaveUp   error // why we did not wait for confirmation any longer
	degraded bool  // some connection confirmed at a lower level than asked for
}

// result is what send prints at the end. All counts are messages.
type result struct {
	Accepted    uint64            `json:"accepted"`
	Confirmed   uint64            `json:"confirmed"`
	Resent      uint64            `json:"resent"`
	Dropped     uint64            `json:"dropped"`
	Undelivered uint64            `json:"undelivered"`
	Reconnects  uint64            `json:"reconnects"`
	Refused     uint64            `json:"refused"`
	RefusedBy   map[string]uint64 `json:"refused_by"`
	Empty       uint64            `json:"empty"`
	Level       string            `json:"level"`
	Error       string            `json:"error,omitempty"`
	Exit        int               `json:"exit"`
}

// conclude prints what became of the lines and says how to exit.
func (c *sendCmd) conclude(env *environment, ship *shipper, o outcome) error {
	stats := ship.client.Stats()
	r := result{
		Accepted:   stats.Accepted.Messages,
		Confirmed:  stats.Confirmed.Messages,
		Resent:     stats.Resent.Messages,
		Dropped:    stats.Dropped.Total().Messages,
		Reconnects: stats.Reconnects,
		Refused:    ship.refused.total(),
		RefusedBy:  ship.refused.byReason(),
		Empty:      ship.empty,
		Level:      c.Confirm.String(),
	}
	if o.degraded {
		r.Level = everconn.Written.String()
	}
	var left *everconn.UndeliveredError
	if errors.As(o.drain, &left) {
		r.Undelivered = left.Messages
	}
	err := c.judge(o, &r)
	if c.JSON {
		writeJSON(env.stdout, r)
	} else {
		r.print(env, ship)
	}
	if r.Exit == exitOK {
		return nil
	}
	if c.JSON {
		err = nil // it is in the object
	}
	return &exitError{code: r.Exit, err: err}
}

// judge sets the exit code and returns what the numbers do not say, if anything.
func (c *sendCmd) judge(o outcome, r *result) error {
	err := o.drain
	r.Exit = exitLoss
	switch {
	case o.stopped != nil:
		r.Exit = exitStopped
		err = fmt.Errorf("stopped for good: %w", o.stopped)
	case o.input != nil:
		err = o.input
	case o.degraded:
		err = fmt.Errorf("a connection could not report its send-queue: confirmed means %s there, not %v", r.Level, c.Confirm)
	case r.Undelivered > 0 && o.gaveUp != nil:
		err = fmt.Errorf("%d messages are not confirmed: %w", r.Undelivered, o.gaveUp)
	case o.drain == nil && r.Dropped+r.Undelivered+r.Refused == 0:
		r.Exit = exitOK
	}
	if err != nil {
		r.Error = err.Error()
	}
	return err
}

func (r result) print(env *environment, ship *shipper) {
	fmt.Fprintf(env.stdout, "accepted %d / confirmed (%s) %d / resent %d / dropped %d / undelivered %d / reconnects %d\n",
		r.Accepted, r.Level, r.Confirmed, r.Resent, r.Dropped, r.Undelivered, r.Reconnects)
	if r.Refused > 0 {
		fmt.Fprintf(env.stdout, "refused %d (%v)\n", r.Refused, &ship.refused)
	}
	if r.Empty > 0 {
		fmt.Fprintf(env.stdout, "empty lines skipped %d\n", r.Empty)
	}
}
