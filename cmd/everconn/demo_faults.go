package main

import (
	"context"
	"fmt"
	"time"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
)

// A fault is one way to break the collector. It returns when the damage is done
// and the collector is whole again.
type fault struct {
	name string
	do   func(ctx context.Context, c *broken.Collector)
}

// gentleFaults end connections so that the collector's kernel acknowledges
// nothing that was not read.
var gentleFaults = []fault{
	{"resets the connection", endBy(broken.Reset)},
	{"closes in good order", endBy(broken.Orderly)},
	{"closes in mid-message", endBy(broken.MidMessage)},
	{"refuses connections for a while", func(ctx context.Context, c *broken.Collector) {
		c.Refuse()
		c.End(broken.Orderly)
		pause(ctx, 400*time.Millisecond)
		_ = c.Reopen() // fails only when the collector was closed
	}},
	{"accepts and closes at once, twice", func(ctx context.Context, c *broken.Collector) {
		c.EndAfter(0, broken.Orderly)
		c.EndAfter(0, broken.Reset)
		c.End(broken.Orderly)
	}},
	{"stops reading for a while", func(ctx context.Context, c *broken.Collector) {
		c.Pause()
		pause(ctx, 500*time.Millisecond)
		c.Resume()
	}},
}

// destructiveFaults destroy what the kernel has acknowledged.
var destructiveFaults = []fault{
	{"closes with unread data", unread(broken.CloseUnread)},
	{"crashes with unread data", unread(broken.CrashUnread)},
	{"accepts and closes with unread data", func(ctx context.Context, c *broken.Collector) {
		c.EndAfter(0, broken.CloseUnread)
		c.End(broken.Orderly)
	}},
}

func endBy(how broken.How) func(context.Context, *broken.Collector) {
	return func(_ context.Context, c *broken.Collector) { c.End(how) }
}

// unread lets data pile up before the end.
func unread(how broken.How) func(context.Context, *broken.Collector) {
	return func(ctx context.Context, c *broken.Collector) {
		c.Pause()
		pause(ctx, 100*time.Millisecond)
		c.End(how)
		c.Resume()
	}
}

// breakIt plays the faults, each round in a new order, until ctx ends. It
// returns how many there were.
func (s *stage) breakIt(ctx context.Context, c *broken.Collector, client *everconn.Client, faults []fault) (count int) {
	began := time.Now()
	gap := min(s.demo.Duration/time.Duration(2*len(faults)), 900*time.Millisecond)
	for {
		for _, i := range s.rand.Perm(len(faults)) {
			pause(ctx, gap/2+time.Duration(s.rand.Int64N(int64(gap/2))))
			if c.WaitLive(ctx) != nil || ctx.Err() != nil {
				return count
			}
			count++
			s.tell(time.Since(began), client, faults[i].name)
			faults[i].do(ctx, c)
		}
	}
}

// tell prints a line of the story.
func (s *stage) tell(at time.Duration, client *everconn.Client, what string) {
	st := client.Stats()
	fmt.Fprintf(s.story, "%6.2fs  the collector %-36s client: %-9v accepted %7d  queued %5d  in flight %5d  resent %5d  reconnects %3d\n",
		at.Seconds(), what, st.State, st.Accepted.Messages, st.Queued.Messages, st.InFlight.Messages, st.Resent.Messages, st.Reconnects)
}

// pause waits until d is over or ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
