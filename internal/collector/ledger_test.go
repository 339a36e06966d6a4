package collector

import (
	"bytes"
	"reflect"
	"testing"
)

func line(n uint64) []byte { return AppendLine(nil, n) }

func TestParseLine(t *testing.T) {
	for n := uint64(1); n < 5000; n++ {
		whole := line(n)
		if got, ok := ParseLine(whole); !ok || got != n {
			t.Fatalf("ParseLine(%q) = %d, %v", whole, got, ok)
		}
		for _, broken := range [][]byte{nil, whole[1:], whole[:len(whole)-1], whole[:5], append(whole[:20:20], line(n+1)...)} {
			if _, ok := ParseLine(broken); ok {
				t.Fatalf("ParseLine(%q) took a broken line for whole", broken)
			}
		}
		if bytes.ContainsAny(whole, "\n\x00") {
			t.Fatalf("line %d contains a delimiter", n)
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		play func(*Ledger)
		want Report
		lost []Run
	}{
		{name: "nothing", play: func(*Ledger) {}},
		{
			name: "all arrive",
			play: func(l *Ledger) {
				for n := uint64(1); n <= 10_000; n++ {
					l.Receive(line(n)) // may come before it is entered
					l.Accept(n)
				}
			},
			want: Report{Accepted: 10_000, Received: 10_000},
		},
		{
			name: "lost in runs",
			play: func(l *Ledger) {
				for n := uint64(1); n <= 9; n++ {
					l.Accept(n)
				}
				l.Receive(line(3))
				l.Receive(line(7))
				l.End(Ended{Destroyed: [][]byte{line(1), line(2), line(2), line(7)}})
			},
			want: Report{Accepted: 9, Received: 2, Lost: 7, Destroyed: 3, Unexplained: 5},
			lost: []Run{{1, 2}, {4, 6}, {8, 9}},
		},
		{
			name: "replayed",
			play: func(l *Ledger) {
				for n := uint64(1); n <= 4; n++ {
					l.Accept(n)
				}
				for _, n := range []uint64{1, 2, 3, 2, 3, 4, 3} {
					l.Receive(line(n))
				}
			},
			want: Report{Accepted: 4, Received: 4, Duplicates: 3},
		},
		{
			name: "out of order: first arrivals only",
			play: func(l *Ledger) {
				for n := uint64(1); n <= 4; n++ {
					l.Accept(n)
				}
				for _, n := range []uint64{4, 1, 2, 4, 1, 3} {
					l.Receive(line(n))
				}
			},
			want: Report{Accepted: 4, Received: 4, OutOfOrder: 3, Duplicates: 2},
		},
		{
			name: "fragments",
			play: func(l *Ledger) {
				l.Receive(line(1)[:15])                         // cut in front of its end
				l.Receive(line(1)[5:])                          // continued on another connection
				l.Receive([]byte("9999999999 not a line"))      // no number of ours
				l.End(Ended{Rest: Torn, Fragment: []byte("x")}) // unterminated
				l.End(Ended{Rest: Incomplete})
				l.End(Ended{Rest: Malformed})
				l.End(Ended{})
			},
			want: Report{Torn: 4, Incomplete: 1, Malformed: 1},
		},
		{
			name: "never accepted",
			play: func(l *Ledger) { l.Receive(line(5)) },
			want: Report{Received: 1, Unknown: 1},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var l Ledger
			test.play(&l)
			if got := l.Report(); got != test.want {
				t.Errorf("report\n got %+v\nwant %+v", got, test.want)
			}
			if got := l.Lost(10); !reflect.DeepEqual(got, test.lost) {
				t.Errorf("lost %v, want %v", got, test.lost)
			}
			if got := l.Lost(1); len(test.lost) > 0 && !reflect.DeepEqual(got, test.lost[:1]) {
				t.Errorf("first lost run %v, want %v", got, test.lost[:1])
			}
		})
	}
}

// A fragment that happens to begin with a large number must not make the
// ledger grow.
func TestLedgerIsBounded(t *testing.T) {
	var l Ledger
	l.Receive([]byte("0268435456 no such line"))
	l.Receive(line(MaxNumber + 1))
	l.Accept(MaxNumber + 1)
	l.Accept(0)
	if len(l.entries) != 0 {
		t.Errorf("the ledger grew to %d entries", len(l.entries))
	}
	if got, want := l.Report(), (Report{Torn: 2}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
}
