package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
)

// introduce says what is going to happen, and what is promised.
func introduce(w io.Writer, d *demoCmd, level everconn.Level) {
	fmt.Fprintf(w, "A client ships %d numbered messages a second for %v to a collector that is\n"+
		"broken on purpose all along. Schedule of faults: seed %d.\n\n", d.Rate, d.Duration, d.Seed)
	if level == everconn.Written {
		fmt.Fprint(w, "Level written promises little: whatever lies in the send buffer when a connection\n"+
			"ends is lost. This shows what the level kernel is for.\n\n")
		return
	}
	fmt.Fprint(w, "Level kernel promises that what the collector's kernel has not acknowledged is sent\n"+
		"again: whole messages, in order, before anything new. They may arrive twice. It does\n"+
		"not promise that the collector's program has read what its kernel acknowledged; this\n"+
		"collector has, as it refuses further data before it reads the rest and closes.\n\n")
}

func introduceDestruction(w io.Writer) {
	fmt.Fprint(w, "\nSecond act. The collector now closes on data that its kernel has acknowledged and\n"+
		"it has not read. That is beyond the level's promise: only an acknowledgement by the\n"+
		"collector's program could tell. It writes down what it destroys.\n\n")
}

// row is a line of the ledger.
type row struct {
	name  string
	count uint64
	means string
}

// print prints the ledger of the first act and the verdict.
func (r *actResult) print(w io.Writer, asked everconn.Level) {
	printRows(w, r.faults(), append(r.rows(), r.traffic()...))
	if r.Level != asked.String() {
		fmt.Fprintf(w, "\nThis platform cannot tell what was acknowledged: the level was %s, not %v.\n", r.Level, asked)
	}
	switch {
	case r.Lost > 0:
		fmt.Fprintf(w, "\nLOST: %d messages: %s\n", r.Lost, runs(r.LostRuns, r.Lost))
	case !r.damaged():
		fmt.Fprintf(w, "\nEvery one of the %d messages arrived whole and in order.\n", r.Accepted)
	}
	r.printDamage(w)
}

// printDestruction prints the ledger of the second act and the verdict.
func (r *actResult) printDestruction(w io.Writer) {
	rows := append(r.rows(),
		row{"destroyed", r.Destroyed, "the collector's own record: acknowledged, and never read there"},
		row{"unexplained", r.Unexplained, "lost, and not in that record"})
	printRows(w, r.faults(), append(rows, r.traffic()...))
	switch {
	case r.Unexplained > 0:
		fmt.Fprintf(w, "\nUNEXPLAINED: %d of the %d lost messages are not in the collector's record.\n", r.Unexplained, r.Lost)
	case r.Lost > 0:
		fmt.Fprintf(w, "\n%d messages are LOST: %s\nThe collector destroyed each of them itself, and %d more that were sent again.\n",
			r.Lost, runs(r.LostRuns, r.Lost), r.Destroyed-r.Lost)
	default:
		fmt.Fprint(w, "\nNothing was lost this time: whatever was destroyed had not been confirmed yet.\n")
	}
	r.printDamage(w)
}

// printDamage tells of what must not happen at any level.
func (r *actResult) printDamage(w io.Writer) {
	if r.damaged() {
		fmt.Fprintf(w, "\nDAMAGED: torn %d, out of order %d, malformed streams %d, never accepted %d.\n",
			r.Torn, r.OutOfOrder, r.Malformed, r.Unknown)
	}
}

func (r *actResult) faults() string {
	return fmt.Sprintf("Ledger, kept by the collector, after %d faults at level %s:", r.Faults, r.Level)
}

func (r *actResult) rows() []row {
	return []row{
		{"accepted", r.Accepted, "messages that the client took from the producer"},
		{"received", r.Received, "of them have arrived, each compared byte by byte"},
		{"lost", r.Lost, "never arrived"},
		{"torn", r.Torn, "fragments that a receiver would have taken for messages"},
		{"out of order", r.OutOfOrder, "arrived first after a later one had"},
		{"duplicates", r.Duplicates, "arrived once more"},
		{"cut", r.Incomplete, "cut by the end of a connection, recognised as such and discarded"},
	}
}

func (r *actResult) traffic() []row {
	return []row{
		{"resent", r.Resent, "begun again on a later connection"},
		{"undelivered", r.Undelivered, "handed back at the end, as they were not confirmed"},
		{"reconnects", r.Reconnects, "connections after the first"},
	}
}

func printRows(w io.Writer, title string, rows []row) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	for _, row := range rows {
		fmt.Fprintf(w, "  %-12s %9d  %s\n", row.name, row.count, row.means)
	}
}

// runs names runs of messages, and says so if they are not all.
func runs(list []broken.Run, total uint64) string {
	var names []string
	for _, run := range list {
		name := fmt.Sprint(run.First)
		if run.Last > run.First {
			name += fmt.Sprintf("–%d", run.Last)
		}
		names = append(names, name)
		total -= run.Last - run.First + 1
	}
	if total > 0 {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}
