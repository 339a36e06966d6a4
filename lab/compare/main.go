// Command compare ships the same numbered messages by everconn and by what
// people use instead, each to a collector that is broken on the same schedule,
// and prints what arrived.
//
// The collector ends connections in such a way that its kernel acknowledges
// nothing that was not read (see package internal/collector): what is missing
// at the end was lost by the producer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/everconn/everconn/internal/collector"
)

// config is the command line.
type config struct {
	json     bool
	duration time.Duration
	rate     int
	seed     uint64
	only     string
}

// result is what became of one producer's messages.
type result struct {
	Name string `json:"name"`
	// How says how the producer is configured.
	How string `json:"how"`
	collector.Report
	// Connections is how many the collector accepted.
	Connections int `json:"connections"`
	// Faults is how many the producer lived to see.
	Faults int `json:"faults"`
	// Blocked is the longest time that handing over one message took, in
	// milliseconds.
	Blocked float64 `json:"blocked_ms"`
	// Note says what else happened: it gave up, it could not be run.
	Note string `json:"note,omitempty"`
	// Seed is the schedule's.
	Seed uint64 `json:"seed"`
}

func main() {
	var c config
	flag.BoolVar(&c.json, "json", false, "print an array of objects")
	flag.DurationVar(&c.duration, "duration", 15*time.Second, "how long each producer ships, at least 2s")
	flag.IntVar(&c.rate, "rate", 4000, "messages a second")
	flag.Uint64Var(&c.seed, "seed", 0, "the schedule of faults; 0 draws one")
	flag.StringVar(&c.only, "only", "", "only producers whose name contains this")
	flag.Parse()
	if c.duration < 2*time.Second || c.rate < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "compare: -duration must be at least 2s, -rate at least 1, and there are no arguments")
		os.Exit(2)
	}
	if c.seed == 0 {
		c.seed = rand.Uint64()>>12 + 1 // a JSON number keeps it
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config, out, story io.Writer) error {
	var results []result
	for _, p := range producers {
		if !strings.Contains(p.name, c.only) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(story, "%s (seed %d)\n", p.name, c.seed)
		r, err := play(ctx, c, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		results = append(results, r)
	}
	if c.json {
		return json.NewEncoder(out).Encode(results)
	}
	return table(out, results)
}

func table(out io.Writer, results []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "producer\taccepted\treceived\tlost\ttorn\tout of order\tduplicates\tconnections\tfaults\tblocked\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.0f ms\t\n", r.Name, r.Accepted, r.Received, r.Lost,
			r.Torn, r.OutOfOrder, r.Duplicates, r.Connections, r.Faults, r.Blocked)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		fmt.Fprintf(out, "%s: %s\n", r.Name, r.How)
		if r.Note != "" {
			fmt.Fprintf(out, "    %s\n", r.Note)
		}
	}
	return nil
}

// play runs one producer against a collector of its own.
func play(ctx context.Context, c config, p producer) (result, error) {
	r := result{Name: p.name, How: p.how, Seed: c.seed}
	if p.missing != nil {
		if what := p.missing(); what != "" {
			r.Note = "not run: " + what
			return r, nil
		}
	}
	var ledger collector.Ledger
	accepted := 0
	coll, err := collector.Listen("127.0.0.1:0", collector.Config{
		Framing: p.framing, Protocol: p.protocol, ReadBuffer: 32 << 10, Ordered: true,
		OnMessage: ledger.Receive,
		OnEnd:     func(e collector.Ended) { accepted++; ledger.End(e) },
	})
	if err != nil {
		return r, err
	}
	defer coll.Close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	broken := make(chan error, 1)
	go func() {
		defer stop()
		began := time.Now()
		var err error
		r.Faults, err = coll.Perform(ctx, collector.Schedule(collector.Gentle, c.duration, c.seed), func(string) {})
		if err == nil {
			wait(ctx, c.duration-time.Since(began))
		}
		broken <- err
	}()
	feed := &feed{ctx: ctx, rate: c.rate, accept: ledger.Accept}
	note, err := p.ship(coll.Addr(), feed)
	stop()
	if perr := <-broken; errors.Is(perr, collector.ErrAbsent) {
		note = strings.TrimPrefix(note+"; it did not come back", "; ")
	} else if perr != nil {
		return r, perr
	}
	if err != nil {
		return r, err
	}
	// What is still in a producer's send buffer is not lost yet.
	idle, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if coll.WaitIdle(idle) != nil {
		note = strings.TrimPrefix(note+"; its connection did not end", "; ")
	}
	if err := coll.Close(); err != nil {
		return r, err
	}
	r.Report, r.Connections, r.Note = ledger.Report(), accepted, note
	r.Blocked = float64(feed.blocked) / float64(time.Millisecond)
	return r, nil
}

// A feed hands numbered messages to a producer at the rate, until its ctx ends.
type feed struct {
	ctx     context.Context
	rate    int
	accept  func(n uint64)
	blocked time.Duration // the longest send
}

// each calls send for every message. A message for which it returns nil counts
// as accepted; an error is one message refused, and does not end the feed unless
// it is io.EOF.
func (f *feed) each(send func(line []byte) error) {
	began := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	var line []byte
	for n := uint64(1); ; {
		for due := uint64(time.Since(began).Seconds() * float64(f.rate)); n <= due; n++ {
			line = collector.AppendLine(line[:0], n)
			at := time.Now()
			err := send(line)
			f.blocked = max(f.blocked, time.Since(at))
			switch {
			case err == nil:
				f.accept(n)
			case errors.Is(err, io.EOF):
				return
			}
			if f.ctx.Err() != nil {
				return
			}
		}
		select {
		case <-f.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// wait waits until d is over or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
