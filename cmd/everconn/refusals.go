package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// refusal is why a line was read and not accepted by the client.
type refusal int

const (
	refusedTooLong refusal = iota
	refusedDelimiter
	refusedFull
	refusedUnfinished
	refusedStopped
	refusalKinds
)

var refusalNames = [refusalKinds]string{
	refusedTooLong:    "too_long",
	refusedDelimiter:  "delimiter",
	refusedFull:       "full",
	refusedUnfinished: "unfinished",
	refusedStopped:    "stopped",
}

// refusals counts refused lines by reason. One goroutine adds; any may read.
type refusals struct {
	count [refusalKinds]atomic.Uint64
	told  [refusalKinds]time.Time
}

// add counts one and reports whether it is time to tell: the first of each
// reason, and one a minute after that.
func (r *refusals) add(why refusal) bool {
	r.count[why].Add(1)
	if time.Since(r.told[why]) < time.Minute {
		return false
	}
	r.told[why] = time.Now()
	return true
}

func (r *refusals) total() uint64 {
	var n uint64
	for i := range r.count {
		n += r.count[i].Load()
	}
	return n
}

// byReason returns the counts that are not 0.
func (r *refusals) byReason() map[string]uint64 {
	m := make(map[string]uint64)
	for i, name := range refusalNames {
		if n := r.count[i].Load(); n > 0 {
			m[name] = n
		}
	}
	return m
}

// String lists the counts that are not 0, as in "2 too long, 1 full".
func (r *refusals) String() string {
	var parts []string
	for i, name := range refusalNames {
		if n := r.count[i].Load(); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(name, "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}
