package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	broken "github.com/everconn/everconn/internal/collector"
)

// demoCmd is "everconn demo".
type demoCmd struct {
	JSON        bool          `name:"json" help:"Print the result as one JSON object on stdout, and the story on stderr."`
	Duration    time.Duration `default:"15s" help:"How long to ship while the collector is being broken, from 2s to 10m."`
	Rate        int           `default:"4000" help:"Messages a second, from 1 to 100000."`
	Confirm     levelFlag     `default:"kernel" help:"A message is confirmed when: kernel, the collector's kernel has acknowledged it; written, ours has taken it."`
	Destructive bool          `help:"Add a second act, in which the collector destroys data that its kernel had acknowledged."`
	Seed        uint64        `placeholder:"N" help:"Repeat the schedule of faults of this seed (0: draw one)."`
}

// Help is shown by --help below the flags' summary.
func (*demoCmd) Help() string {
	return `A collector is broken on purpose all along: it resets connections, closes them in
good order and in mid-message, refuses them for a while, accepts and closes at
once, and does not read for a while. Meanwhile a client ships numbered messages
to it, framed by octet counting, so that a receiver can tell a cut message from
a whole one. At the end a ledger on the collector's side checks every single one.

The collector ends connections so that its kernel acknowledges nothing which it
did not read: what then is missing, the client has lost. With --destructive a
second act of half the length follows, in which it closes on unread data. No
level that is here can save that data; the loss is printed beside the
collector's own record of what it destroyed, and does not count as a failure as
long as all of it is in that record.

Exit codes:

    0  in the first act nothing was lost, torn or out of order, and in the
       second nothing that the collector did not destroy itself
    1  otherwise; also wrong usage

Examples:

    everconn demo
    everconn demo --json --duration 5s | tail -1
    everconn demo --confirm written
    everconn demo --destructive --seed 42
`
}

// exitBroken is the exit code when the ledger does not balance.
const exitBroken = 1

// actResult is what the ledger and the client say after an act. Its fields are
// the keys of --json. All counts are of messages, but for Reconnects and Faults.
type actResult struct {
	// Level is that of the connections, which is Written where a platform cannot
	// tell more.
	Level string `json:"level"`
	Seed  uint64 `json:"seed"`
	broken.Report
	Undelivered uint64 `json:"undelivered"`
	Resent      uint64 `json:"resent"`
	Reconnects  uint64 `json:"reconnects"`
	Faults      int    `json:"faults"`
	// LostRuns says which messages are lost: the first runs of them.
	LostRuns []broken.Run `json:"lost_runs,omitempty"`
	// Destructive is the second act.
	Destructive *actResult `json:"destructive,omitempty"`
}

// damaged reports whether messages were damaged on their way, whatever the level
// promises about loss.
func (r *actResult) damaged() bool {
	return r.Torn+r.OutOfOrder+r.Malformed+r.Unknown > 0
}

// Run plays the acts and prints the result.
func (d *demoCmd) Run(env *environment) error {
	switch {
	case d.Duration < 2*time.Second || d.Duration > 10*time.Minute:
		return usageError("--duration is %v; allowed: 2s to 10m", d.Duration)
	case d.Rate < 1 || d.Rate > 100_000:
		return usageError("--rate is %d; allowed: 1 to 100000", d.Rate)
	}
	if d.Seed == 0 {
		d.Seed = rand.Uint64()>>12 + 1 // every JSON reader can hold 52 bits
	}
	var story io.Writer = env.stdout
	if d.JSON {
		story = env.stderr
	}
	level := d.Confirm.Level
	introduce(story, d, level)
	first, err := d.play(env, story, act{faults: broken.Gentle, duration: d.Duration, seed: d.Seed})
	if err != nil {
		return err
	}
	first.print(story, level)
	ok := !first.damaged() && first.Lost == 0
	if d.Destructive && env.ctx.Err() == nil {
		introduceDestruction(story)
		second := act{faults: broken.Destructive, duration: max(d.Duration/2, 2*time.Second), seed: d.Seed + 1}
		if first.Destructive, err = d.play(env, story, second); err != nil {
			return err
		}
		first.Destructive.printDestruction(story)
		ok = ok && !first.Destructive.damaged() && first.Destructive.Unexplained == 0
	}
	if d.JSON {
		if err := json.NewEncoder(env.stdout).Encode(first); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	if !ok {
		return &exitError{code: exitBroken}
	}
	return nil
}
