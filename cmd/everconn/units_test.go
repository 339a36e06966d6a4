package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/everconn/everconn"
)

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]byteSize{
		"0": 0, "1": 1, "17B": 17, "4KiB": 4 << 10, "8MiB": 8 << 20, "8mib": 8 << 20, " 1 GiB ": 1 << 30, "3TiB": 3 << 40,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, int64(got), err)
		}
		var again byteSize
		if err := again.UnmarshalText([]byte(want.String())); err != nil || again != want {
			t.Errorf("%d prints as %q", int64(want), want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "8MB", "8M", "1e3", "9999999TiB", "1KiBB", "0x10"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "such as 8MiB") {
			t.Errorf("%q: %v, %v", text, int64(got), err)
		}
	}
}

// readLines gathers what next returns; a line that is too long shows as "LONG".
func readLines(l *lineReader) (lines []string, rest string, err error) {
	for {
		line, err := l.next()
		switch err {
		case nil:
			lines = append(lines, string(line))
		case errLongLine:
			lines = append(lines, "LONG")
		default:
			return lines, string(line), err
		}
	}
}

func TestLineReader(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("b", 200_000)
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"a\nb\n", []string{"a", "b"}},
		{"a\nb", []string{"a", "b"}},
		{"a\r\n\n", []string{"a\r", ""}},
		{big + "\nx\n", []string{big, "x"}},
		{"x\n" + big + "\n" + big, []string{"x", big, big}},
		{big + "!\nx\n", []string{"LONG", "x"}},
		{big + "!", []string{"LONG"}},
		{big + big + big + "\nx\n", []string{"LONG", "x"}},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "half": iotest.HalfReader(strings.NewReader(c.in)),
			"data with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			lines, rest, err := readLines(newLineReader(r, len(big)))
			if !slices.Equal(lines, c.want) || rest != "" || err != io.EOF {
				t.Errorf("%s of %.20q (%d bytes): %d lines, rest %q, %v", name, c.in, len(c.in), len(lines), rest, err)
			}
		}
	}
	broken := errors.New("broken")
	lines, rest, err := readLines(newLineReader(io.MultiReader(strings.NewReader("a\nrest"), iotest.ErrReader(broken)), 100))
	if !slices.Equal(lines, []string{"a"}) || rest != "rest" || err != broken {
		t.Errorf("%q, rest %q, %v", lines, rest, err)
	}
}

// TestInputTakesNothingOnceInterrupted: what comes later stays in the pipe.
func TestInputTakesNothingOnceInterrupted(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	in, err := newInput(r)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	write(t, w, "before")
	buf := make([]byte, 100)
	if n, err := in.Read(buf); string(buf[:n]) != "before" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	blocked := make(chan error)
	go func() {
		_, err := in.Read(make([]byte, 100))
		blocked <- err
	}()
	in.interrupt()
	if err := <-blocked; err != errInterrupted {
		t.Fatalf("Read returned %v", err)
	}
	write(t, w, "after")
	if n, err := in.Read(buf); n != 0 || err != errInterrupted {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := r.Read(buf); string(buf[:n]) != "after" || err != nil {
		t.Fatalf("%q, %v is left in the pipe", buf[:n], err)
	}
}

func TestInputReadsFilesToTheEnd(t *testing.T) {
	t.Parallel()
	file, err := os.Open("units_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := newInput(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	got, err := io.ReadAll(in)
	want, _ := os.ReadFile("units_test.go")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestPacer(t *testing.T) {
	for _, rate := range []float64{0.5, 7, 1000, 40_000} {
		synctest.Test(t, func(t *testing.T) {
			p := newPacer(rate)
			const n = 500
			began := time.Now()
			for range n {
				p.wait(t.Context())
			}
			want := time.Duration((n - 1) / rate * float64(time.Second))
			if took := time.Since(began); took < want-2*time.Millisecond || took > want+2*time.Millisecond {
				t.Errorf("%d at %v/s took %v, want %v", n, rate, took, want)
			}
			// What is lost in an outage is not made good by a burst.
			time.Sleep(time.Hour)
			began = time.Now()
			for range n {
				p.wait(t.Context())
			}
			if took := time.Since(began); took < want-maxCatchUp {
				t.Errorf("after an outage %d at %v/s took %v, want %v", n, rate, took, want)
			}
		})
	}
}

func TestPacerEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0.001)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		for range 3 {
			p.wait(ctx)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestRefusalsAreToldOnceAMinuteEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		told := 0
		for range 300 {
			for _, why := range []refusal{refusedFull, refusedTooLong} {
				if r.add(why) {
					told++
				}
			}
			time.Sleep(time.Second)
		}
		if told != 2*5 || r.total() != 600 {
			t.Errorf("told %d times of %d", told, r.total())
		}
		if got := r.String(); got != "300 too long, 300 full" {
			t.Errorf("String: %q", got)
		}
	})
}

func TestStatusLine(t *testing.T) {
	t.Parallel()
	s := everconn.Stats{
		State: everconn.Waiting, Endpoint: "h:1", Reconnects: 3,
		Queued: everconn.Count{Messages: 10}, InFlight: everconn.Count{Messages: 2}, Resent: everconn.Count{Messages: 7},
		LastCause: &everconn.ConnError{Op: "dial", Endpoint: "h:1", Cause: os.NewSyscallError("connect", syscall.EPIPE)},
	}
	want := "waiting h:1 | 1234/s | queued 10 | in flight 2 | resent 7 | reconnects 3 | last: dial: broken pipe"
	if got := statusLine(s, 1233.7, 0); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s.Dropped.Oldest.Messages = 5
	if got := statusLine(s, 0, 9); !strings.Contains(got, "dropped 5 | refused 9") {
		t.Errorf("%q does not tell of loss", got)
	}
	for columns := range 120 {
		got := clip("a\tb\x1b[31m"+want, columns)
		if len([]rune(got)) > max(columns, 1) || strings.ContainsAny(got, "\t\x1b") {
			t.Fatalf("clip to %d: %q", columns, got)
		}
	}
}

func TestRateMeter(t *testing.T) {
	t.Parallel()
	var m rateMeter
	at := time.Unix(0, 0)
	for i := range uint64(50) {
		m.observe(i*800, at)
		at = at.Add(statusTick)
	}
	if math.Abs(m.perSecond-4000) > 1 {
		t.Errorf("%v/s, want 4000", m.perSecond)
	}
}
