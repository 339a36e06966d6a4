package collector

import (
	"context"
	"time"
)

// Fault is one way to break the collector.
type Fault struct {
	// Name says what the collector does.
	Name string
	// slots is how much of a schedule it takes, beside the others.
	slots int
	// do returns when the damage is done and the collector is whole again. What
	// takes time takes about as long as given.
	do func(ctx context.Context, c *Collector, long time.Duration) error
}

// Gentle faults end connections in such a way that the collector's kernel
// acknowledges nothing that was not read.
var Gentle = []Fault{
	{"resets the connection", 1, endBy(Reset)},
	{"closes in good order", 1, endBy(Orderly)},
	{"closes in mid-message", 1, endBy(MidMessage)},
	{"refuses connections for a while", 1, refuseForAWhile},
	{"accepts and closes at once, twice", 1, acceptAndClose(Orderly, Reset)},
	{"stops reading for a while", 2, stopReading},
}

// Destructive faults destroy what the collector's kernel has acknowledged.
var Destructive = []Fault{
	{"closes with unread data", 1, stopReadingAndEnd(CloseUnread)},
	{"crashes with unread data", 1, stopReadingAndEnd(CrashUnread)},
	{"accepts and closes with unread data", 1, acceptAndClose(CloseUnread)},
}

func endBy(how How) func(context.Context, *Collector, time.Duration) error {
	return func(_ context.Context, c *Collector, _ time.Duration) error {
		c.End(how)
		return nil
	}
}

// refuseForAWhile closes the listener before it ends the connection, so that no
// connection is caught in between.
func refuseForAWhile(ctx context.Context, c *Collector, long time.Duration) error {
	c.Refuse()
	c.End(Orderly)
	pause(ctx, long)
	return c.Reopen()
}

// acceptAndClose ends the live connection, so that the client comes back, and
// then each of the next ones before anything is read.
func acceptAndClose(hows ...How) func(context.Context, *Collector, time.Duration) error {
	return func(_ context.Context, c *Collector, _ time.Duration) error {
		for _, how := range hows {
			c.EndAfter(0, how)
		}
		c.End(Orderly)
		return nil
	}
}

func stopReading(ctx context.Context, c *Collector, long time.Duration) error {
	c.Pause()
	pause(ctx, long)
	c.Resume()
	return nil
}

// stopReadingAndEnd lets data pile up before the end.
func stopReadingAndEnd(how How) func(context.Context, *Collector, time.Duration) error {
	return func(ctx context.Context, c *Collector, long time.Duration) error {
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
