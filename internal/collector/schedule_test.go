package collector

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	const seed = 42
	for _, duration := range []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 10 * time.Minute} {
		cues := Schedule(Gentle, duration, seed)
		count := map[string]int{}
		last := time.Duration(0)
		for _, cue := range cues {
			count[cue.Fault.Name]++
			if cue.At <= last || cue.At+cue.long > duration || cue.long <= 0 {
				t.Errorf("%v: %q at %v for %v, after %v", duration, cue.Fault.Name, cue.At, cue.long, last)
			}
			last = cue.At
		}
		for _, fault := range Gentle {
			if count[fault.Name] != len(cues)/len(Gentle) || count[fault.Name] == 0 {
				t.Errorf("%v: %q %d times among %d", duration, fault.Name, count[fault.Name], len(cues))
			}
		}
		if got := names(Schedule(Gentle, duration, seed)); !reflect.DeepEqual(got, names(cues)) {
			t.Errorf("%v: the same seed gives another schedule", duration)
		}
	}
	if reflect.DeepEqual(names(Schedule(Gentle, time.Minute, 1)), names(Schedule(Gentle, time.Minute, 2))) {
		t.Error("another seed gives the same schedule")
	}
}

func names(cues []Cue) (list []string) {
	for _, cue := range cues {
		list = append(list, fmt.Sprint(cue.At, cue.Fault.Name))
	}
	return list
}
