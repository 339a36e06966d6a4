package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	broken "github.com/everconn/everconn/internal/collector"
)

// cue is a fault and when it is due.
type cue struct {
	at    time.Duration // since the act began
	long  time.Duration // how long it takes, if it takes time
	fault fault
}

const (
	// roundTime is how long a round of all faults takes in a long act.
	roundTime = 6500 * time.Millisecond
	// comebackTime bounds how long the client may take to come back.
	comebackTime = 10 * time.Second
)

// schedule lays faults down for an act: each of them once in every round, in an
// order and at times that follow from the seed alone, the last of them while
// there is still time to recover.
func schedule(faults []fault, duration time.Duration, seed uint64) []cue {
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := max(1, int(duration/roundTime))
	slots := 0
	for _, fault := range faults {
		slots += fault.slots
	}
	slot := duration / time.Duration(rounds*slots+1)
	next := slot / 2
	var cues []cue
	for range rounds {
		for _, i := range random.Perm(len(faults)) {
			long := slot * time.Duration(faults[i].slots)
			jitter := time.Duration(random.Int64N(int64(slot / 4)))
			cues = append(cues, cue{at: next + jitter, long: long / 2, fault: faults[i]})
			next += long
		}
	}
	return cues
}

// perform plays the cues, each when it is due and the client is connected, and
// tells of each. It returns how many it played when ctx ended.
func perform(ctx context.Context, c *broken.Collector, cues []cue, tell func(string)) (played int, err error) {
	began := time.Now()
	for _, cue := range cues {
		pause(ctx, cue.at-time.Since(began))
		if err := awaitClient(ctx, c); err != nil || ctx.Err() != nil {
			return played, err
		}
		tell(cue.fault.name)
		if err := cue.fault.do(ctx, c, cue.long); err != nil {
			return played, fmt.Errorf("the collector %s: %w", cue.fault.name, err)
		}
		played++
	}
	return played, nil
}

// awaitClient waits until the client is connected or ctx ends.
func awaitClient(ctx context.Context, c *broken.Collector) error {
	patience, cancel := context.WithTimeout(ctx, comebackTime)
	defer cancel()
	if c.WaitLive(patience) != nil && ctx.Err() == nil {
		return fmt.Errorf("the client did not come back within %v", comebackTime)
	}
	return nil
}
