package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var framings = []Framing{Raw, LF, OctetCounting, NUL, Uint32}

func TestFrames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		framing    Framing
		msg, frame string
	}{
		{Raw, "abc", "abc"},
		{Raw, "a\n\x00b", "a\n\x00b"},
		{LF, "abc", "abc\n"},
		{LF, "", "\n"},
		{LF, "a\r", "a\r\n"},
		{LF, "a\x00b", "a\x00b\n"},
		{OctetCounting, "abc", "3 abc"},
		{OctetCounting, "3 abc", "5 3 abc"},
		{OctetCounting, "äöü", "6 äöü"}, // octets, not characters
		{OctetCounting, strings.Repeat("x", 1000), "1000 " + strings.Repeat("x", 1000)},
		{NUL, "a\nb", "a\nb\x00"},
		{NUL, "", "\x00"},
		{Uint32, "abc", "\x00\x00\x00\x03abc"},
		{Uint32, "", "\x00\x00\x00\x00"},
		{Uint32, strings.Repeat("x", 258), "\x00\x00\x01\x02" + strings.Repeat("x", 258)},
	} {
		f, msg := tt.framing, []byte(tt.msg)
		if err := f.Check(msg); err != nil {
			t.Errorf("%v: Check(%.20q) = %v", f, msg, err)
		}
		frame := f.Append(nil, msg)
		if string(frame) != tt.frame {
			t.Errorf("%v: Append(%.20q) = %.30q, want %.30q", f, msg, frame, tt.frame)
		}
		if got := f.Payload(frame); !bytes.Equal(got, msg) {
			t.Errorf("%v: Payload(%.30q) = %.20q, want %.20q", f, frame, got, msg)
		}
		if got := f.Append([]byte("before"), msg); string(got) != "before"+tt.frame {
			t.Errorf("%v: Append behind %q gives %.30q", f, "before", got)
		}
	}
}

// TestPrefixOfLongest holds the promise that AppendPrefix needs at most 11
// bytes: a sender reserves them before it knows the message.
func TestPrefixOfLongest(t *testing.T) {
	t.Parallel()
	longest := uint64(MaxMessage)
	if int(longest) < 0 {
		t.Skip("no message is so long on a 32-bit machine")
	}
	for f, want := range map[Framing]string{
		Raw: "", LF: "", NUL: "", OctetCounting: "4294967263 ", Uint32: "\xff\xff\xff\xdf",
	} {
		if got := f.AppendPrefix(nil, int(longest)); string(got) != want || len(got) > maxPrefix {
			t.Errorf("%v: AppendPrefix(MaxMessage) = %q, want %q", f, got, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		framing Framing
		msg     string
		want    error
		says    string
	}{
		{Raw, "", ErrEmpty, "raw"},
		{OctetCounting, "", ErrEmpty, "octet"},
		{LF, "ab\nc", ErrDelimiter, "line feed at byte 2"},
		{LF, "abc\n", ErrDelimiter, "line feed at byte 3"},
		{NUL, "\x00abc", ErrDelimiter, "zero byte at byte 0"},
	} {
		err := tt.framing.Check([]byte(tt.msg))
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: Check(%q) = %v, want an error that wraps %q and says %q", tt.framing, tt.msg, err, tt.want, tt.says)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, f := range framings {
		if got, err := ParseFraming(f.String()); got != f || err != nil || !f.Valid() {
			t.Errorf("ParseFraming(%q) = %v, %v", f.String(), got, err)
		}
	}
	for _, bad := range []string{"", "LF", "lf ", "json"} {
		if _, err := ParseFraming(bad); err == nil || !strings.Contains(err.Error(), "want raw, lf, octet, nul or u32") {
			t.Errorf("ParseFraming(%q) = %v, want an error that names what is allowed", bad, err)
		}
	}
	if f := Framing(len(framings)); f.Valid() || f.String() != "Framing(5)" {
		t.Errorf("%v is valid: %v", f, f.Valid())
	}
}

// hot is the work of a sender for one message.
func hot(f Framing, dst, msg []byte) (frame, payload []byte, err error) {
	if err := f.Check(msg); err != nil {
		return nil, nil, err
	}
	dst = f.AppendPrefix(dst[:0], len(msg))
	dst = append(dst, msg...)
	dst = f.AppendSuffix(dst)
	return dst, f.Payload(dst), nil
}

func TestNoAllocation(t *testing.T) {
	msg, dst := bytes.Repeat([]byte("x"), 128), make([]byte, 0, 256)
	for _, f := range framings {
		if n := testing.AllocsPerRun(100, func() {
			if _, payload, err := hot(f, dst, msg); err != nil || len(payload) != len(msg) {
				t.Fatal(len(payload), err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations for a message, want none", f, n)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	for _, f := range framings {
		b.Run(f.String(), func(b *testing.B) {
			msg, dst := bytes.Repeat([]byte("x"), 128), make([]byte, 0, 256)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := hot(f, dst, msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for _, f := range framings {
		b.Run(f.String(), func(b *testing.B) {
			const n = 1000
			msg := bytes.Repeat([]byte("x"), 128)
			var stream []byte
			for range n {
				stream = f.Append(stream, msg)
			}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				s := f.Scanner(bytes.NewReader(stream), 4<<10)
				total := 0
				for s.Scan() {
					total += len(s.Bytes())
				}
				if err := s.Err(); err != nil || total != n*len(msg) {
					b.Fatal(total, err)
				}
			}
		})
	}
}
