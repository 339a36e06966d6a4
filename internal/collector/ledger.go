package collector

import "sync"

// MaxNumber is the largest number that a [Ledger] keeps book of. A message
// takes one byte.
const MaxNumber = 1 << 28

// Ledger checks numbered lines ([AppendLine]) one by one: what the producer
// handed over against what the collector read. The zero value is an empty
// ledger. All methods are safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex // guards the following
	entries []entry    // by number
	latest  uint64     // largest number that has arrived
	report  Report     // what can be counted as it comes
}

// entry is what is known of one number.
type entry uint8

const (
	accepted entry = 1 << iota
	received
	destroyed
)

// Report is the result of a ledger. All counts are of messages.
type Report struct {
	// Accepted counts what the producer handed over.
	Accepted uint64 `json:"accepted"`
	// Received counts distinct messages that arrived, whole.
	Received uint64 `json:"received"`
	// Lost counts messages that were accepted and never arrived.
	Lost uint64 `json:"lost"`
	// Duplicates counts arrivals of a message beyond its first.
	Duplicates uint64 `json:"duplicates"`
	// Torn counts fragments that a receiver of this framing would have taken
	// for messages: text under a good frame that is no message, and unterminated
	// last lines.
	Torn uint64 `json:"torn"`
	// OutOfOrder counts first arrivals that came after a later message's first
	// arrival.
	OutOfOrder uint64 `json:"out_of_order"`
	// Incomplete counts messages cut by the end of a connection which the
	// receiver could tell and discarded.
	Incomplete uint64 `json:"incomplete"`
	// Malformed counts connections whose stream did not follow the framing.
	Malformed uint64 `json:"malformed"`
	// Unknown counts distinct messages that arrived and were never accepted.
	Unknown uint64 `json:"unknown"`
	// Destroyed counts distinct messages that the collector wrote down as
	// destroyed by itself, whether or not they were sent again.
	Destroyed uint64 `json:"destroyed"`
	// Unexplained counts lost messages that are not among those.
	Unexplained uint64 `json:"unexplained"`
}

// Accept enters message n, from 1 to MaxNumber, as handed over. Messages may
// arrive before they are entered.
func (l *Ledger) Accept(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.at(n); e != nil && *e&accepted == 0 {
		*e |= accepted
		l.report.Accepted++
	}
}

// Receive enters a message as read by the collector: Config.OnMessage.
func (l *Ledger) Receive(msg []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, e := l.line(msg)
	switch {
	case e == nil:
		l.report.Torn++
		return
	case *e&received != 0:
		l.report.Duplicates++
		return
	}
	*e |= received
	l.report.Received++
	if n < l.latest {
		l.report.OutOfOrder++
	}
	l.latest = max(l.latest, n)
}

// End enters how a connection ended: Config.OnEnd.
func (l *Ledger) End(ended Ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch ended.Rest {
	case Incomplete:
		l.report.Incomplete++
	case Torn:
		l.report.Torn++
	case Malformed:
		l.report.Malformed++
	}
	for _, msg := range ended.Destroyed {
		if _, e := l.line(msg); e != nil && *e&destroyed == 0 {
			*e |= destroyed
			l.report.Destroyed++
		}
	}
}

// Report balances the book. It may be called at any time; Lost is final once
// the producer has stopped and the collector has read everything.
func (l *Ledger) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	for _, e := range l.entries {
		switch {
		case e&(accepted|received) == received:
			r.Unknown++
		case e&(accepted|received) == accepted:
			r.Lost++
			if e&destroyed == 0 {
				r.Unexplained++
			}
		}
	}
	return r
}

// Run is an unbroken run of messages, First and Last included.
type Run struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Lost returns the runs of accepted messages that have not arrived, at most
// limit of them, in order.
func (l *Ledger) Lost(limit int) []Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	var runs []Run
	for i, e := range l.entries {
		n := uint64(i)
		if e&(accepted|received) != accepted {
			continue
		}
		switch {
		case len(runs) > 0 && runs[len(runs)-1].Last == n-1:
			runs[len(runs)-1].Last = n
		case len(runs) < limit:
			runs = append(runs, Run{First: n, Last: n})
		default:
			return runs
		}
	}
	return runs
}

// line returns the number and the entry of a numbered line, or nil for what is
// no such line. It is called with mu held.
func (l *Ledger) line(msg []byte) (uint64, *entry) {
	n, ok := ParseLine(msg)
	if !ok {
		return 0, nil
	}
	return n, l.at(n)
}

// at returns the entry of n, or nil if n is out of range. It is called with mu
// held.
func (l *Ledger) at(n uint64) *entry {
	if n == 0 || n > MaxNumber {
		return nil
	}
	if n >= uint64(len(l.entries)) {
		grown := make([]entry, max(n+1, uint64(2*len(l.entries)), 4096))
		copy(grown, l.entries)
		l.entries = grown
	}
	return &l.entries[n]
}
