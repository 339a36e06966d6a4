package collector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Cue is a fault and when it is due.
type Cue struct {
	Fault Fault
	// At is when it is due, after the beginning.
	At time.Duration
	// long is how long it takes, if it takes time.
	long time.Duration
}

// ErrAbsent is returned by Perform when nobody came back to the collector.
var ErrAbsent = errors.New("collector: the client did not come back")

const (
	// roundTime is how long a round of all faults takes in a long schedule.
	roundTime = 6500 * time.Millisecond
	// comebackTime bounds how long the client may take to come back.
	comebackTime = 10 * time.Second
)

// Schedule lays faults down for a run of that length: each of them once in every round, in an
// order and at times that follow from the seed alone, the last of them while
// there is still time to recover.
func Schedule(faults []Fault, duration time.Duration, seed uint64) []Cue {
	random := rand.New(rand.NewPCG(seed, 0))
	rounds := max(1, int(duration/roundTime))
	slots := 0
	for _, fault := range faults {
		slots += fault.slots
	}
	slot := duration / time.Duration(rounds*slots+1)
	next := slot / 2
	var cues []Cue
	for range rounds {
		for _, i := range random.Perm(len(faults)) {
			long := slot * time.Duration(faults[i].slots)
			jitter := time.Duration(random.Int64N(int64(slot / 4)))
			cues = append(cues, Cue{Fault: faults[i], At: next + jitter, long: long / 2})
			next += long
		}
	}
	return cues
}

// Perform plays the cues, each when it is due and a client is connected, and
// tells of each by its name. It returns how many it has played when ctx ended
// or, with an error wrapping ErrAbsent, when no client came back within 10 s.
func (c *Collector) Perform(ctx context.Context, cues []Cue, tell func(string)) (played int, err error) {
	began := time.Now()
	for _, cue := range cues {
		pause(ctx, cue.At-time.Since(began))
		if err := c.awaitClient(ctx); err != nil || ctx.Err() != nil {
			return played, err
		}
		tell(cue.Fault.Name)
		if err := cue.Fault.do(ctx, c, cue.long); err != nil {
			return played, fmt.Errorf("the collector %s: %w", cue.Fault.Name, err)
		}
		played++
	}
	return played, nil
}

// awaitClient waits until a client is connected or ctx ends.
func (c *Collector) awaitClient(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, comebackTime)
	defer cancel()
	if c.WaitLive(patience) != nil && ctx.Err() == nil {
		return fmt.Errorf("%w within %v", ErrAbsent, comebackTime)
	}
	return nil
}
