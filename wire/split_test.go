package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	const limit = 5
	for _, tt := range []struct {
		framing Framing
		stream  string
		want    []string
		err     error
	}{
		{LF, "", nil, nil},
		{LF, "a\nbc\n", []string{"a", "bc"}, nil},
		{LF, "\n\n\na\n", []string{"", "", "", "a"}, nil},
		{LF, "a\r\n", []string{"a\r"}, nil}, // nothing is altered
		{LF, "a\nbc", []string{"a"}, ErrTorn},
		{LF, "12345\n", []string{"12345"}, nil},
		{LF, "a\n123456\n", []string{"a"}, ErrLength},
		{LF, "a\n123456", []string{"a"}, ErrLength},

		{NUL, "a\nb\x00\x00", []string{"a\nb", ""}, nil},
		{NUL, "a\x00b", []string{"a"}, ErrTorn},
		{NUL, "123456\x00", nil, ErrLength},

		{OctetCounting, "", nil, nil},
		{OctetCounting, "1 a2 bc5 1 2 3", []string{"a", "bc", "1 2 3"}, nil},
		{OctetCounting, "1 a2", []string{"a"}, ErrTorn},
		{OctetCounting, "1 a2 ", []string{"a"}, ErrTorn},
		{OctetCounting, "1 a2 b", []string{"a"}, ErrTorn},
		{OctetCounting, "6 123456", nil, ErrLength},
		{OctetCounting, "9999999999 ", nil, ErrLength},
		{OctetCounting, "1 a\n", []string{"a"}, ErrMalformed}, // LF framing on top
		{OctetCounting, "0 ", nil, ErrMalformed},
		{OctetCounting, "01 a", nil, ErrMalformed},
		{OctetCounting, " a", nil, ErrMalformed},
		{OctetCounting, "-1 a", nil, ErrMalformed},
		{OctetCounting, "1a", nil, ErrMalformed},
		{OctetCounting, "<13>hello", nil, ErrMalformed},
		{OctetCounting, "1234567890", nil, ErrTorn},
		{OctetCounting, "12345678901", nil, ErrMalformed},

		{Uint32, "\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x02bc", []string{"a", "", "bc"}, nil},
		{Uint32, "\x00\x00\x00\x00", []string{""}, nil},
		{Uint32, "\x00\x00\x00\x01a\x00", []string{"a"}, ErrTorn},
		{Uint32, "\x00\x00\x00\x02b", nil, ErrTorn},
		{Uint32, "\x00\x00\x00\x06", nil, ErrLength},
		{Uint32, "\xff\xff\xff\xff", nil, ErrLength},

		{Raw, "", nil, nil},
		{Raw, "abc", []string{"abc"}, nil},
		{Raw, "1234567", []string{"12345", "67"}, nil},
	} {
		got, err := scan(tt.framing.Scanner(strings.NewReader(tt.stream), limit))
		if !slices.Equal(got, tt.want) || !isOrNil(err, tt.err) {
			t.Errorf("%v: %q gives %q, %v; want %q, %v", tt.framing, tt.stream, got, err, tt.want, tt.err)
		}
	}
}

// TestSplitWithoutRoom: a limit below 1 admits empty messages and nothing else.
func TestSplitWithoutRoom(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, -1, math.MinInt} {
		for _, f := range framings {
			stream := f.Append(nil, []byte("a"))
			var want []string
			if f.Check(nil) == nil {
				stream, want = append(f.Append(nil, nil), stream...), []string{""}
			}
			got, err := scan(f.Scanner(bytes.NewReader(stream), limit))
			if !slices.Equal(got, want) || !errors.Is(err, ErrLength) {
				t.Errorf("%v, limit %d: %q gives %q, %v; want %q, ErrLength", f, limit, stream, got, err, want)
			}
		}
	}
}

// TestScannerWithoutLimit: the greatest limit neither overflows nor makes the
// scanner take memory beforehand.
func TestScannerWithoutLimit(t *testing.T) {
	t.Parallel()
	for _, f := range framings {
		got, err := scan(f.Scanner(bytes.NewReader(f.Append(nil, []byte("a"))), math.MaxInt))
		if !slices.Equal(got, []string{"a"}) || err != nil {
			t.Errorf("%v: %q, %v", f, got, err)
		}
	}
}

// TestManyEmptyMessages: bufio.Scanner panics on a hundred empty tokens that do
// not advance; empty messages must not count among them.
func TestManyEmptyMessages(t *testing.T) {
	t.Parallel()
	const n = 1000
	for _, f := range []Framing{LF, NUL, Uint32} {
		stream := bytes.Repeat(f.Append(nil, nil), n)
		// The last data come together with the EOF: there the scanner counts.
		got, err := scan(f.Scanner(iotest.DataErrReader(bytes.NewReader(stream)), 10))
		if len(got) != n || err != nil {
			t.Errorf("%v: %d of %d messages, %v", f, len(got), n, err)
		}
	}
}

func TestErrorsOfTheReader(t *testing.T) {
	t.Parallel()
	for _, f := range []Framing{LF, NUL, OctetCounting, Uint32} {
		stream := f.Append(nil, []byte("whole"))
		stream = append(stream, f.Append(nil, []byte("torn"))[:3]...)
		r := io.MultiReader(bytes.NewReader(stream), iotest.ErrReader(syscall.ECONNRESET))
		got, err := scan(f.Scanner(r, 10))
		if !slices.Equal(got, []string{"whole"}) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v: %q, %v; want the whole message and then ECONNRESET", f, got, err)
		}
	}
}

func TestTornIsUnexpectedEOF(t *testing.T) {
	t.Parallel()
	_, err := scan(OctetCounting.Scanner(strings.NewReader("12 abc"), 20))
	if !errors.Is(err, ErrTorn) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "6 bytes") {
		t.Error(err)
	}
}

// scan returns all tokens and the error that ended the scan.
func scan(s interface {
	Scan() bool
	Text() string
	Err() error
}) (tokens []string, err error) {
	for s.Scan() {
		tokens = append(tokens, s.Text())
	}
	return tokens, s.Err()
}

// isOrNil is errors.Is, and holds for nil only if target is nil.
func isOrNil(err, target error) bool {
	if target == nil {
		return err == nil
	}
	return errors.Is(err, target)
}
