package main

import (
	"context"
	"time"

	broken "github.com/everconn/everconn/internal/collector"
)

// A fault is one way to break the collector.
type fault struct {
	// name says what the collector does.
	name string
	// slots is how much of an act it takes, beside the others.
	slots int
	// do returns when the damage is done and the collector is whole again. What
	// takes time takes about as long as given.
	do func(ctx context.Context, c *broken.Collector, long time.Duration) error
}

// gentleFaults end connections in such a way that the collector's kernel
// acknowledges nothing that was not read.
var gentleFaults = []fault{
	{"resets the connection", 1, endBy(broken.Reset)},
	{"closes in good order", 1, endBy(broken.Orderly)},
	{"closes in mid-message", 1, endBy(broken.MidMessage)},
	{"refuses connections for a while", 1, refuseForAWhile},
	{"accepts and closes at once, twice", 1, acceptAndClose(broken.Orderly, broken.Reset)},
	{"stops reading for a while", 2, stopReading},
}

// destructiveFaults destroy what the collector's kernel has acknowledged.
var destructiveFaults = []fault{
	{"closes with unread data", 1, stopReadingAndEnd(broken.CloseUnread)},
	{"crashes with unread data", 1, stopReadingAndEnd(broken.CrashUnread)},
	{"accepts and closes with unread data", 1, acceptAndClose(broken.CloseUnread)},
}

func endBy(how broken.How) func(context.Context, *broken.Collector, time.Duration) error {
	return func(_ context.Context, c *broken.Collector, _ time.Duration) error {
		c.End(how)
		return nil
	}
}

// refuseForAWhile closes the listener before it ends the connection, so that no
// connection is caught in between.
func refuseForAWhile(ctx context.Context, c *broken.Collector, long time.Duration) error {
	c.Refuse()
	c.End(broken.Orderly)
	pause(ctx, long)
	return c.Reopen()
}

// acceptAndClose ends the live connection, so that the client comes back, and
// then each of the next ones before anything is read.
func acceptAndClose(hows ...broken.How) func(context.Context, *broken.Collector, time.Duration) error {
	return func(_ context.Context, c *broken.Collector, _ time.Duration) error {
		for _, how := range hows {
			c.EndAfter(0, how)
		}
		c.End(broken.Orderly)
		return nil
	}
}

func stopReading(ctx context.Context, c *broken.Collector, long time.Duration) error {
	c.Pause()
	pause(ctx, long)
	c.Resume()
	return nil
}

// stopReadingAndEnd lets data pile up before the end.
func stopReadingAndEnd(how broken.How) func(context.Context, *broken.Collector, time.Duration) error {
	return func(ctx context.Context, c *broken.Collector, long time.Duration) error {
		c.Pause()
		defer c.Resume()
		pause(ctx, long/2)
		c.End(how)
		return nil
	}
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
