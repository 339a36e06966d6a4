package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sending is a running "everconn send --json".
type sending struct{ *process }

func startSend(t *testing.T, args ...string) sending {
	t.Helper()
	return sending{startEverconn(t, append([]string{"send", "--json", "--backoff-base", "20ms", "--backoff-cap", "100ms"}, args...)...)}
}

// finish ends the input, waits for the exit code and returns the result.
func (s sending) finish(code int) result {
	s.t.Helper()
	s.stdin.Close()
	s.wantExit(code)
	var r result
	s.lastJSON(&r)
	if r.Accepted != r.Confirmed+r.Dropped+r.Undelivered || r.Exit != code {
		s.t.Errorf("result does not add up: %+v", r)
	}
	return r
}

// numbered returns the lines from first to last.
func numbered(first, last int) string {
	var b strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// nobody returns an address that refuses connections: a bound socket that does
// not listen keeps others from taking the port.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	return address
}

func TestSendShipsEachLine(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{"lf", "octet", "nul", "u32"} {
		t.Run(frame, func(t *testing.T) {
			t.Parallel()
			r := startRecv(t, "--frame", frame)
			s := startSend(t, "--frame", frame, r.address)
			// The last line lacks its line feed and is a line all the same.
			lines := numbered(1, 5000) + strings.Repeat("long ", 50_000) + "\nlast"
			write(t, s.stdin, lines)
			if got := s.finish(exitOK); got.Accepted != 5002 || got.Confirmed != 5002 || got.Refused != 0 || got.Level != "kernel" {
				t.Errorf("result %+v", got)
			}
			if _, out := r.stop(exitOK); out != lines+"\n" {
				t.Errorf("%d bytes arrived, want %d", len(out), len(lines)+1)
			}
		})
	}
}

func TestSendPrintsAResultForPeople(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	p := startEverconn(t, "send", r.address)
	write(t, p.stdin, numbered(1, 3))
	p.stdin.Close()
	p.wantExit(exitOK)
	want := "accepted 3 / confirmed (kernel) 3 / resent 0 / dropped 0 / undelivered 0 / reconnects 0\n"
	if got := p.stdout.String(); got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if !strings.Contains(p.stderr.tail(10), "connected") {
		t.Errorf("no log line says connected: %s", p.stderr.tail(10))
	}
}

// TestSendOutlivesReceivers: the receiver is stopped and started again under a
// steady stream; each line arrives at least once, whole, first arrivals in order.
func TestSendOutlivesReceivers(t *testing.T) {
	t.Parallel()
	const restarts = 4
	r := startRecv(t)
	s := startSend(t, "--rate", "50000", r.address)
	enough := make(chan struct{})
	fed := make(chan int)
	go func() {
		last := 0
		for {
			if _, err := io.WriteString(s.stdin, numbered(last+1, last+100)); err != nil {
				t.Error(err)
			}
			last += 100
			select {
			case <-enough:
				fed <- last
				return
			default:
			}
		}
	}()
	var out string
	for range restarts {
		waitFile(t, r.out, func(b []byte) bool { return len(b) > 20_000 })
		_, part := r.stop(exitOK)
		out += part
		r = startRecvAt(t, r.address)
	}
	close(enough)
	last := <-fed
	got := s.finish(exitOK)
	_, part := r.stop(exitOK)
	out += part
	if got.Accepted != uint64(last) || got.Confirmed != got.Accepted || got.Reconnects < restarts {
		t.Errorf("of %d lines: %+v", last, got)
	}
	t.Logf("%d lines, %d resent", last, got.Resent)
	checkReplayed(t, out, last, got.Resent)
}

// startRecvAt starts a receiver on an address that was in use before.
func startRecvAt(t *testing.T, address string) *receiver {
	t.Helper()
	r := &receiver{address: address, out: t.TempDir() + "/out"}
	r.process = startEverconn(t, "recv", "--json", "--out", r.out, address)
	var up struct{ Address string }
	r.seen = r.waitEvent(0, "listening", &up)
	return r
}

// checkReplayed checks that out holds the lines 1 to last, each at least once
// and whole, first arrivals in order, and no more duplicates than were resent.
func checkReplayed(t *testing.T, out string, last int, resent uint64) {
	t.Helper()
	next, duplicates := 1, uint64(0)
	for line := range strings.Lines(out) {
		var n int
		if _, err := fmt.Sscanf(line, "line %d\n", &n); err != nil || line != fmt.Sprintf("line %d\n", n) {
			t.Fatalf("torn: %q", line)
		}
		switch {
		case n < next:
			duplicates++
		case n > next:
			t.Fatalf("line %d came before line %d", n, next)
		default:
			next++
		}
	}
	if next != last+1 {
		t.Errorf("the last line is %d, want %d", next-1, last)
	}
	if duplicates > resent {
		t.Errorf("%d duplicates arrived, %d were resent", duplicates, resent)
	}
}

func TestSendDrainsOnSIGTERM(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, r.address)
	write(t, s.stdin, numbered(1, 1000))
	waitFile(t, r.out, func(b []byte) bool { return strings.HasSuffix(string(b), "line 1000\n") })
	s.signal(syscall.SIGTERM)
	s.wantExit(exitOK) // although the input is still open
	if _, out := r.stop(exitOK); out != numbered(1, 1000) {
		t.Errorf("%d bytes arrived", len(out))
	}
}

// TestSendAdmitsAnUnfinishedLine: what was read of a line whose rest never came
// is neither sent as if it were whole nor forgotten.
func TestSendAdmitsAnUnfinishedLine(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, r.address)
	write(t, s.stdin, "whole\nunfin")
	waitFile(t, r.out, func(b []byte) bool { return string(b) == "whole\n" })
	s.signal(syscall.SIGTERM)
	s.wantExit(exitLoss)
	var got result
	s.lastJSON(&got)
	if got.Accepted != 1 || got.Refused != 1 || got.RefusedBy["unfinished"] != 1 {
		t.Errorf("result %+v", got)
	}
}

func TestSendGivesUpAfterTheDrainTimeout(t *testing.T) {
	t.Parallel()
	s := startSend(t, "--drain-timeout", "100ms", nobody(t))
	write(t, s.stdin, numbered(1, 10))
	got := s.finish(exitLoss)
	if got.Accepted != 10 || got.Undelivered != 10 || !strings.Contains(got.Error, "100ms") {
		t.Errorf("result %+v", got)
	}
}

// TestSendStopsAtTheSecondSignal: the first begins to drain, which nothing
// would end; the second does.
func TestSendStopsAtTheSecondSignal(t *testing.T) {
	t.Parallel()
	// The buffer holds few lines, so one of them waits for room when the signals
	// come, and the rest has been read already.
	s := startSend(t, "--drain-timeout", "1h", "--buffer", "4KiB", nobody(t))
	write(t, s.stdin, numbered(1, 1000))
	var failed struct{ Cause string }
	s.waitEvent(0, "attempt-failed", &failed)
	if !strings.Contains(failed.Cause, "refused") {
		t.Errorf("cause %q", failed.Cause)
	}
	s.signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		t.Fatal("the first signal ended it")
	case <-time.After(100 * time.Millisecond):
	}
	s.signal(syscall.SIGINT)
	s.wantExit(exitLoss)
	var got result
	s.lastJSON(&got)
	if got.Accepted == 0 || got.Undelivered != got.Accepted || got.Refused != 1000-got.Accepted {
		t.Errorf("result %+v: every line was read, so each must be counted", got)
	}
}

func TestSendCountsWhatItRefuses(t *testing.T) {
	t.Parallel()
	r := startRecv(t, "--frame", "nul")
	s := startSend(t, "--frame", "nul", "--buffer", "100KiB", r.address)
	write(t, s.stdin, "good\nwith a \x00 in it\n"+strings.Repeat("x", 300_000)+"\n\nalso good\n")
	got := s.finish(exitLoss)
	if got.Accepted != 3 || got.Confirmed != 3 || got.Refused != 2 ||
		got.RefusedBy["delimiter"] != 1 || got.RefusedBy["too_long"] != 1 {
		t.Errorf("result %+v", got)
	}
	var n notice
	next := s.waitEvent(0, "refused", &n)
	if n.Line != 2 || !strings.Contains(n.Reason, "delimiter") {
		t.Errorf("notice %+v", n)
	}
	s.waitEvent(next, "refused", &n)
	if n.Line != 3 || !strings.Contains(n.Reason, "longer") {
		t.Errorf("notice %+v", n)
	}
	if _, out := r.stop(exitOK); out != "good\n\nalso good\n" {
		t.Errorf("arrived: %q", out)
	}
}

// TestSendRefusesWhatBarelyDoesNotFit: the client's own bound is a little lower
// than the reader's.
func TestSendRefusesWhatBarelyDoesNotFit(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, "--buffer", "8KiB", r.address)
	write(t, s.stdin, strings.Repeat("x", 8<<10)+"\nfits\n")
	if got := s.finish(exitLoss); got.Accepted != 1 || got.RefusedBy["too_long"] != 1 {
		t.Errorf("result %+v", got)
	}
}

func TestSendSkipsEmptyLinesWhereTheyCannotBeCarried(t *testing.T) {
	t.Parallel()
	for frame, empty := range map[string]uint64{"octet": 2, "lf": 0} {
		r := startRecv(t, "--frame", frame)
		s := startSend(t, "--frame", frame, r.address)
		write(t, s.stdin, "a\n\n\nb\n")
		if got := s.finish(exitOK); got.Empty != empty || got.Accepted != 4-empty || got.Refused != 0 {
			t.Errorf("%s: result %+v", frame, got)
		}
		if empty > 0 {
			s.waitLine(0, "empty lines are skipped")
		}
	}
}

func TestSendOverflow(t *testing.T) {
	t.Parallel()
	for policy, check := range map[string]func(result) bool{
		"reject":      func(r result) bool { return r.Refused > 0 && r.RefusedBy["full"] == r.Refused && r.Dropped == 0 },
		"drop-oldest": func(r result) bool { return r.Dropped > 0 && r.Refused == 0 && r.Accepted == 1000 },
		"drop-newest": func(r result) bool { return r.Dropped > 0 && r.Refused == 0 && r.Accepted == 1000 },
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := startSend(t, "--overflow", policy, "--buffer", "4KiB", "--drain-timeout", "50ms", nobody(t))
			write(t, s.stdin, numbered(1, 1000))
			got := s.finish(exitLoss)
			if !check(got) || got.Accepted+got.Refused != 1000 {
				t.Errorf("result %+v", got)
			}
		})
	}
}

func TestSendStopsAfterCount(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, "--count", "3", r.address)
	write(t, s.stdin, numbered(1, 10))
	s.wantExit(exitOK) // the input is still open
	if _, out := r.stop(exitOK); out != numbered(1, 3) {
		t.Errorf("arrived: %q", out)
	}
}

func TestSendKeepsTheRate(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	began := time.Now()
	s := startSend(t, "--rate", "100", r.address)
	write(t, s.stdin, numbered(1, 30))
	s.finish(exitOK)
	if took := time.Since(began); took < 290*time.Millisecond {
		t.Errorf("30 lines at 100/s took %v", took)
	}
}

func TestSendTriesTheNextEndpoint(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, nobody(t)+","+r.address)
	write(t, s.stdin, numbered(1, 5))
	if got := s.finish(exitOK); got.Confirmed != 5 {
		t.Errorf("result %+v", got)
	}
}

// TestSendAllowsHalfOpen: the collector ends its side at once and reads on.
func TestSendAllowsHalfOpen(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := startSend(t, "--allow-half-open", listener.Addr().String())
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).CloseWrite()
	write(t, s.stdin, numbered(1, 100))
	s.stdin.Close()
	if got, err := io.ReadAll(conn); string(got) != numbered(1, 100) || err != nil {
		t.Errorf("%d bytes arrived, %v", len(got), err)
	}
	conn.Close()
	if got := s.finish(exitOK); got.Reconnects != 0 {
		t.Errorf("result %+v", got)
	}
}

func TestSendEventsAreJSON(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	s := startSend(t, r.address)
	write(t, s.stdin, "x\n")
	waitFile(t, r.out, func(b []byte) bool { return len(b) > 0 })
	r.stop(exitOK)
	var lost jsonEvent
	s.waitEvent(0, "disconnected", &lost)
	startRecvAt(t, r.address)
	s.finish(exitOK)
	var kinds []string
	for line := range strings.Lines(s.stderr.tail(1000)) {
		var e jsonEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Time.IsZero() {
			t.Errorf("%q: %v", line, err)
		}
		kinds = append(kinds, e.Event)
	}
	if last := kinds[len(kinds)-1]; last != "closed" {
		t.Errorf("the last event is %q", last)
	}
	for _, want := range []string{"connecting", "connected", "disconnected"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no event %q in %v", want, kinds)
		}
	}
	if lost.Cause == "" || lost.Unconfirmed == nil || lost.Endpoint != r.address {
		t.Errorf("event %+v", lost)
	}
}

// TestSendOutlivesTheReaderOfItsEvents: no SIGPIPE.
func TestSendOutlivesTheReaderOfItsEvents(t *testing.T) {
	t.Parallel()
	r := startRecv(t)
	cmd := everconnCommand("send", "--json", r.address)
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	cmd.Stderr = written
	cmd.Stdin = strings.NewReader(numbered(1, 100))
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	written.Close()
	if _, out := r.stop(exitOK); out != numbered(1, 100) {
		t.Errorf("%d bytes arrived", len(out))
	}
}
