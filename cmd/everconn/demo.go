package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
	"github.com/everconn/everconn/wire"
)

// demoCmd is the command line of demo.
type demoCmd struct {
	JSON        bool          `name:"json" help:"Print one JSON object as the last line of standard output; the story goes to standard error."`
	Duration    time.Duration `default:"15s" help:"How long to ship while the collector is being broken (2s to 10m)."`
	Rate        int           `default:"4000" help:"Messages a second (1 to 100000)."`
	Confirm     string        `default:"kernel" enum:"kernel,written" help:"Level of confirmation: ${enum}."`
	Destructive bool          `help:"Add a second act, in which the collector destroys data that its kernel had acknowledged, and compare with its own record."`
	Seed        uint64        `help:"Seed of the schedule of faults; 0 draws one."`
}

// Help is what --help adds.
func (*demoCmd) Help() string {
	return `An embedded collector is broken on purpose all along: reset, closed in good order,
refusing connections, accepting and closing at once, not reading, closing in
mid-message. A client ships numbered messages to it. At the end a ledger on the
collector's side checks every single one.

The exit code is 0 only if none was lost, torn or out of order in the first act.

Examples:
  everconn demo
  everconn demo --json --duration 5s
  everconn demo --confirm written      what is lost without the level
  everconn demo --destructive          what no client-side level can save`
}

// demoReport is the object that --json prints.
type demoReport struct {
	Level string `json:"level"`
	Seed  uint64 `json:"seed"`
	broken.Report
	Resent      uint64 `json:"resent"`
	Reconnects  uint64 `json:"reconnects"`
	Undelivered uint64 `json:"undelivered"`
	Faults      int    `json:"faults"`
	// Destructive is the second act.
	Destructive *demoReport `json:"destructive,omitempty"`
}

func (r *demoReport) clean() bool { return r.Lost == 0 && r.Torn == 0 && r.OutOfOrder == 0 }

// Run runs the demo.
func (d *demoCmd) Run(env *environment) error {
	switch {
	case d.Duration < 2*time.Second || d.Duration > 10*time.Minute:
		return usageError("--duration is %v; allowed: 2s to 10m", d.Duration)
	case d.Rate < 1 || d.Rate > 100_000:
		return usageError("--rate is %d; allowed: 1 to 100000", d.Rate)
	}
	if d.Seed == 0 {
		d.Seed = rand.Uint64()>>12 + 1 // a JSON number keeps it
	}
	var story io.Writer = env.stdout
	if d.JSON {
		story = env.stderr
	}
	level, err := everconn.ParseLevel(d.Confirm)
	if err != nil {
		return usageError("--confirm: %v", err)
	}
	fmt.Fprintf(story, "everconn demo: %v of %d messages a second at level %v, seed %d\n%s\n\n",
		d.Duration, d.Rate, level, d.Seed, promise(level))
	s := newStage(env, story, level, d)
	first, err := s.act(gentleFaults)
	if err != nil {
		return err
	}
	printLedger(story, "", first)
	if d.Destructive {
		fmt.Fprintf(story, "\nSecond act: the collector now destroys data that its kernel had acknowledged.\n"+
			"No client can see that at level %v; what the collector itself recorded as destroyed stands beside the loss.\n\n", level)
		if first.Destructive, err = s.act(destructiveFaults); err != nil {
			return err
		}
		printLedger(story, "", first.Destructive)
	}
	if d.JSON {
		if err := json.NewEncoder(env.stdout).Encode(first); err != nil {
			return err
		}
	}
	if !first.clean() {
		return &exitError{code: 1}
	}
	return nil
}

func promise(level everconn.Level) string {
	if level == everconn.Written {
		return "Level written promises nothing about what was in the send buffer when a connection died: losses are to be expected."
	}
	return "Level kernel promises: what the collector's kernel has not acknowledged is sent again, whole and in order. " +
		"Duplicates are possible and counted."
}

// A stage is where an act is played.
type stage struct {
	env   *environment
	story io.Writer
	level everconn.Level
	demo  *demoCmd
	rand  *rand.Rand
}

func newStage(env *environment, story io.Writer, level everconn.Level, d *demoCmd) *stage {
	return &stage{env: env, story: story, level: level, demo: d, rand: rand.New(rand.NewPCG(d.Seed, 0))}
}

// act ships messages while faults happen, and balances the ledger.
func (s *stage) act(faults []fault) (*demoReport, error) {
	var ledger broken.Ledger
	// With octet counting a receiver can tell a message that was cut.
	coll, err := broken.Listen("127.0.0.1:0", broken.Config{
		Framing: wire.OctetCounting, Ordered: true, OnMessage: ledger.Receive, OnEnd: ledger.End,
	})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	client, err := everconn.New(coll.Addr(), &everconn.Options{
		Framing: wire.OctetCounting,
		Confirm: s.level,
		// A demo is short: it does not wait as a fleet must.
		Backoff: everconn.Backoff{Base: 50 * time.Millisecond, Cap: 300 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.env.ctx, s.demo.Duration)
	defer cancel()
	faulted := make(chan int)
	go func() { faulted <- s.breakIt(ctx, coll, client, faults) }()
	shipping := s.produce(ctx, client, &ledger)
	count := <-faulted
	if shipping != nil {
		return nil, shipping
	}
	drain, cancelDrain := context.WithTimeout(s.env.force, 30*time.Second)
	defer cancelDrain()
	report := &demoReport{Level: s.level.String(), Seed: s.demo.Seed, Faults: count}
	var left *everconn.UndeliveredError
	if err := client.Shutdown(drain); errors.As(err, &left) {
		report.Undelivered = left.Messages
	}
	_ = coll.WaitIdle(drain)
	_ = coll.Close()
	stats := client.Stats()
	report.Report, report.Resent, report.Reconnects = ledger.Report(), stats.Resent.Messages, stats.Reconnects
	return report, nil
}

// produce sends numbered messages at the rate until ctx ends.
func (s *stage) produce(ctx context.Context, client *everconn.Client, ledger *broken.Ledger) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	var line []byte
	for n := uint64(1); ; {
		for due := uint64(time.Since(began).Seconds() * float64(s.demo.Rate)); n <= due; n++ {
			line = broken.AppendLine(line[:0], n)
			switch err := client.Send(ctx, line); {
			case ctx.Err() != nil && err != nil:
				return nil
			case err != nil:
				return err
			}
			ledger.Accept(n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// printLedger prints the result of an act as a table.
func printLedger(w io.Writer, indent string, r *demoReport) {
	rows := []struct {
		name  string
		value uint64
		means string
	}{
		{"accepted", r.Accepted, "by the client, from the producer"},
		{"received", r.Received, "distinct messages read by the collector, each compared whole"},
		{"lost", r.Lost, "accepted and never read"},
		{"destroyed", r.Destroyed, "recorded by the collector as acknowledged and then destroyed by itself"},
		{"unexplained", r.Unexplained, "lost and not in that record"},
		{"torn", r.Torn, "fragments taken for messages"},
		{"out of order", r.OutOfOrder, "first arrivals behind a later message's"},
		{"duplicates", r.Duplicates, "arrivals beyond the first"},
		{"resent", r.Resent, "messages begun again after a connection had died"},
		{"reconnects", r.Reconnects, ""},
		{"undelivered", r.Undelivered, "handed back unconfirmed at the end"},
	}
	fmt.Fprintf(w, "\n%sLedger, kept by the collector (level %s, %d faults):\n", indent, r.Level, r.Faults)
	for _, row := range rows {
		fmt.Fprintf(w, "%s  %-13s %9d  %s\n", indent, row.name, row.value, row.means)
	}
}
