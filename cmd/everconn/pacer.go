package main

import (
	"context"
	"time"
)

// pacer spreads messages evenly over time. The zero value does not slow down.
type pacer struct {
	interval time.Duration
	due      time.Time
}

// maxCatchUp is how late messages may be and still be made good for by a burst;
// what was lost in a longer wait elsewhere is lost.
const maxCatchUp = 100 * time.Millisecond

// newPacer returns a pacer for so many messages a second; 0 means no limit.
func newPacer(perSecond float64) *pacer {
	if perSecond <= 0 {
		return &pacer{}
	}
	return &pacer{interval: time.Duration(float64(time.Second) / perSecond)}
}

// wait returns when the next message is due, or when ctx ends.
func (p *pacer) wait(ctx context.Context) {
	if p.interval == 0 || ctx.Err() != nil {
		return
	}
	now := time.Now()
	if now.Sub(p.due) > maxCatchUp {
		p.due = now
	}
	early := p.due.Sub(now)
	p.due = p.due.Add(p.interval)
	if early < time.Millisecond { // finer than a timer is worth
		return
	}
	timer := time.NewTimer(early)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
