package everconn

import (
	"fmt"
	"time"
)

// Liveness says how soon a client notices that a path or a peer is dead. The
// zero value promises 30 s.
type Liveness struct {
	// DeadAfter is one budget for idle and for sending connections: a dead path
	// is noticed within it, while the machine is awake. The clock starts at the
	// last proof of life (an acknowledgement or data from the peer), not at the
	// first outstanding byte. A path on which bytes are acknowledged is never
	// dead, however slow, and neither is a peer whose window is closed but whose
	// kernel answers. 0 means 30 s, or what KeepAlive adds up to if that is set;
	// the smallest is 3 s.
	//
	// That needs TCP_INFO, so it holds for TCP sockets on Linux. A conn that is no
	// TCP socket, and any on Windows, is given up when one write makes no progress
	// for DeadAfter, also if the peer merely does not read; elsewhere the kernel's
	// own limit on retransmission is set to DeadAfter.
	//
	// On Linux before 6.15 (no TCP_RTO_MAX_MS) the death of a host that had
	// closed its window before is noticed at the next window probe, up to 120 s
	// later.
	DeadAfter time.Duration
	// KeepAlive sets TCP keepalive value by value. The zero value derives Idle,
	// Interval and Count from DeadAfter.
	KeepAlive KeepAlive
	// UserTimeout, if not 0, sets TCP_USER_TIMEOUT (tcp(7), RFC 5482): the
	// kernel itself ends a connection whose data stays unacknowledged for so
	// long. It also kills a peer that is alive and merely does not read, and it
	// replaces KeepAlive.Count. Linux only; from 1 s to DeadAfter.
	UserTimeout time.Duration
	// MaxStall, if not 0, gives up a connection whose peer has kept its window
	// closed for so long. The smallest is 1 s.
	MaxStall time.Duration
	// AllowHalfOpen keeps sending after the peer's FIN, which says only that the
	// peer will send no more. By default the client stops writing, half-closes,
	// takes a last reading and reconnects.
	AllowHalfOpen bool
}

// KeepAlive holds the four values of TCP keepalive (tcp(7)): on or off, idle,
// interval and count. Either all of Idle, Interval and Count are set, or none.
type KeepAlive struct {
	// Disable turns keepalive off. A dead path is then noticed only while data
	// is outstanding, or by a heartbeat.
	Disable bool
	// Idle is the silence before the first probe (TCP_KEEPIDLE), in whole
	// seconds from 1 s to 32,767 s.
	Idle time.Duration
	// Interval is the time between probes (TCP_KEEPINTVL), in whole seconds from
	// 1 s to 32,767 s.
	Interval time.Duration
	// Count is the number of unanswered probes that end the connection
	// (TCP_KEEPCNT), from 1 to 127.
	Count int
}

const (
	minDeadAfter     = 3 * time.Second
	maxDeadAfter     = 24 * time.Hour
	maxKeepAliveTime = 32767 * time.Second
	maxKeepAliveN    = 127
)

func (l Liveness) withDefaults() Liveness {
	k := &l.KeepAlive
	derived := k.Idle == 0 && k.Interval == 0 && k.Count == 0
	if l.DeadAfter == 0 {
		l.DeadAfter = 30 * time.Second
		if !derived && !k.Disable {
			l.DeadAfter = k.budget()
		}
	}
	if derived && !k.Disable {
		*k = keepAliveFor(l.DeadAfter)
	}
	return l
}

// budget is the longest time from the last proof of life to the kernel's
// verdict on an idle connection.
func (k KeepAlive) budget() time.Duration {
	return k.Idle + time.Duration(k.Count)*k.Interval
}

// keepAliveFor divides a budget: half of it idle, half of it three probes (two
// where the budget is too short), in the whole seconds that the kernel wants.
func keepAliveFor(budget time.Duration) KeepAlive {
	budget = budget.Truncate(time.Second)
	k := KeepAlive{Count: 3, Interval: max(time.Second, (budget / 6).Truncate(time.Second))}
	if budget < 4*time.Second {
		k.Count = 2
	}
	k.Interval = min(k.Interval, maxKeepAliveTime)
	k.Idle = min(budget-time.Duration(k.Count)*k.Interval, maxKeepAliveTime)
	k.Idle = max(k.Idle, time.Second) // a budget too small is refused under its own name
	return k
}

// validate is called after withDefaults.
func (l Liveness) validate() error {
	if err := l.KeepAlive.validate(); err != nil {
		return err
	}
	k := l.KeepAlive
	switch {
	case l.DeadAfter < minDeadAfter || l.DeadAfter > maxDeadAfter:
		return badOption("Liveness.DeadAfter", l.DeadAfter, "3s to 24h, and not less than what KeepAlive adds up to")
	case !k.Disable && k.budget() > l.DeadAfter:
		return badOption("Liveness.KeepAlive", fmt.Sprintf("%v + %d × %v = %v", k.Idle, k.Count, k.Interval, k.budget()),
			fmt.Sprintf("at most DeadAfter (%v)", l.DeadAfter))
	case l.UserTimeout != 0 && !userTimeoutSettable:
		return badOption("Liveness.UserTimeout", l.UserTimeout, "0: this platform has no TCP_USER_TIMEOUT")
	case l.UserTimeout != 0 && (l.UserTimeout < time.Second || l.UserTimeout > l.DeadAfter):
		return badOption("Liveness.UserTimeout", l.UserTimeout, fmt.Sprintf("0 (none), or 1s to DeadAfter (%v)", l.DeadAfter))
	case l.MaxStall != 0 && l.MaxStall < time.Second:
		return badOption("Liveness.MaxStall", l.MaxStall, "0 (none), or at least 1s")
	}
	return nil
}

func (k KeepAlive) validate() error {
	if k.Disable {
		if k.Idle != 0 || k.Interval != 0 || k.Count != 0 {
			return badOption("Liveness.KeepAlive.Disable", true, "only without Idle, Interval and Count")
		}
		return nil
	}
	const allowed = "whole seconds from 1s to 32767s; set all of Idle, Interval and Count, or none"
	seconds := func(d time.Duration) bool {
		return d >= time.Second && d <= maxKeepAliveTime && d%time.Second == 0
	}
	switch {
	case !seconds(k.Idle):
		return badOption("Liveness.KeepAlive.Idle", k.Idle, allowed)
	case !seconds(k.Interval):
		return badOption("Liveness.KeepAlive.Interval", k.Interval, allowed)
	case k.Count < 1 || k.Count > maxKeepAliveN:
		return badOption("Liveness.KeepAlive.Count", k.Count, "1 to 127; set all of Idle, Interval and Count, or none")
	}
	return nil
}

// A pathInfo is what the kernel knows about the path of a connection.
type pathInfo struct {
	known      bool          // the rest holds
	silence    time.Duration // since the last acknowledgement or data
	unanswered int           // transmissions, or window probes, since then
	inFlight   bool          // bytes are sent and not acknowledged
	window     uint32        // the peer's receive window, where it is known
	srtt       time.Duration
}

// A verdict is what the stall rule says.
type verdict uint8

const (
	alive verdict = iota
	stalled
	dead
)

// judge is the stall rule, for a connection with outstanding bytes. since is
// when they became outstanding. Two unanswered transmissions are wanted beside
// the silence: after a long idle time without keepalive, one lost segment says
// nothing.
func (l Liveness) judge(p pathInfo, outstanding time.Duration) verdict {
	silence := p.silence
	if l.KeepAlive.Disable { // nobody has asked the peer before that
		silence = min(silence, outstanding)
	}
	switch {
	case silence >= l.DeadAfter && p.unanswered >= 2:
		return dead
	case !p.inFlight && p.window == 0:
		return stalled
	}
	return alive
}

// checkEvery is how often the stall rule is applied.
func (l Liveness) checkEvery() time.Duration {
	return min(l.DeadAfter/20, time.Second)
}

// rtoMax is the cap on retransmission intervals that lets DeadAfter hold: a
// probe, or a retransmission, is answered at least so often on a live path.
func (l Liveness) rtoMax() time.Duration {
	return min(max(l.DeadAfter/4, time.Second), 120*time.Second)
}
