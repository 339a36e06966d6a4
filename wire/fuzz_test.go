package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

func FuzzRaw(f *testing.F)           { fuzzRoundTrip(f, Raw) }
func FuzzLF(f *testing.F)            { fuzzRoundTrip(f, LF) }
func FuzzOctetCounting(f *testing.F) { fuzzRoundTrip(f, OctetCounting) }
func FuzzNUL(f *testing.F)           { fuzzRoundTrip(f, NUL) }
func FuzzUint32(f *testing.F)        { fuzzRoundTrip(f, Uint32) }

// fuzzRoundTrip cuts text into messages, frames those that Check admits, and
// wants them back from a stream that arrives in pieces, whole and also cut off
// anywhere.
func fuzzRoundTrip(f *testing.F, framing Framing) {
	f.Add([]byte("one\ntwo\x00three 3 "), uint64(1), uint(9))
	f.Add([]byte{}, uint64(2), uint(0))
	f.Add(bytes.Repeat([]byte("7 "), 3000), uint64(3), uint(4100))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64, cut uint) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var stream []byte
		var msgs []string
		var ends []int // where the frame of each message ends in stream
		longest := 0
		for _, msg := range pieces(rng, text) {
			if err := framing.Check(msg); err != nil {
				checkRefusal(t, framing, msg, err)
				continue
			}
			start := len(stream)
			stream = framing.Append(stream, msg)
			if got := framing.Payload(stream[start:]); !bytes.Equal(got, msg) {
				t.Fatalf("Payload of the frame of %q is %q", msg, got)
			}
			msgs, ends = append(msgs, string(msg)), append(ends, len(stream))
			longest = max(longest, len(msg))
		}
		if framing == Raw {
			msgs = []string{string(stream)}
		}

		got, err := scan(framing.Scanner(&pieceReader{rng: rng, data: stream}, longest))
		if framing == Raw {
			got = []string{joined(got)}
		}
		if !slices.Equal(got, msgs) || err != nil {
			t.Fatalf("%q gives %q, %v; want %q", stream, got, err, msgs)
		}
		if longest > 0 {
			if _, err := scan(framing.Scanner(&pieceReader{rng: rng, data: stream}, longest-1)); framing != Raw && !errors.Is(err, ErrLength) {
				t.Fatalf("a message of %d bytes passed a limit of %d: %v", longest, longest-1, err)
			}
		}
		cutOff(t, framing, rng, stream[:cut%uint(len(stream)+1)], msgs, ends, longest)
	})
}

// cutOff wants the messages that are whole in stream, and ErrTorn if it ends
// inside another.
func cutOff(t *testing.T, framing Framing, rng *rand.Rand, stream []byte, msgs []string, ends []int, limit int) {
	whole, torn := 0, len(stream) > 0
	for whole < len(ends) && ends[whole] <= len(stream) {
		torn = ends[whole] < len(stream)
		whole++
	}
	want := ErrTorn
	if !torn || framing == Raw {
		want = nil
	}
	got, err := scan(framing.Scanner(&pieceReader{rng: rng, data: stream}, limit))
	if framing == Raw {
		got, msgs, whole = []string{joined(got)}, []string{string(stream)}, 1
	}
	if !slices.Equal(got, msgs[:whole]) || !isOrNil(err, want) {
		t.Fatalf("%q, cut off, gives %q, %v; want %q, %v", stream, got, err, msgs[:whole], want)
	}
}

// checkRefusal wants a reason that holds.
func checkRefusal(t *testing.T, framing Framing, msg []byte, err error) {
	empty := len(msg) == 0 && (framing == Raw || framing == OctetCounting)
	delimiter := framing == LF && bytes.Contains(msg, []byte{'\n'}) || framing == NUL && bytes.Contains(msg, []byte{0})
	if errors.Is(err, ErrEmpty) != empty || errors.Is(err, ErrDelimiter) != delimiter {
		t.Fatalf("Check(%q) = %v", msg, err)
	}
}

// FuzzSplit feeds a receiver whatever bytes come. It must end, keep within its
// limit and its buffer, find the same messages however the bytes are cut into
// pieces, and have read nothing into them: framing the messages again gives the
// bytes they came from.
func FuzzSplit(f *testing.F) {
	f.Add(uint8(LF), []byte("a\n\nlonger than the limit\n"), 8, uint64(1))
	f.Add(uint8(OctetCounting), []byte("3 abc03 abc"), 8, uint64(2))
	f.Add(uint8(OctetCounting), []byte("99999999999999999999 "), 1<<20, uint64(3))
	f.Add(uint8(NUL), []byte("\x00\x00a"), 0, uint64(4))
	f.Add(uint8(Uint32), []byte("\xff\xff\xff\xff"), -1, uint64(5))
	f.Add(uint8(Raw), bytes.Repeat([]byte("x"), 5000), 4096, uint64(6))
	f.Fuzz(func(t *testing.T, kind uint8, stream []byte, limit int, seed uint64) {
		framing := Framing(kind % uint8(len(names)))
		limit %= 1 << 20
		atOnce, wantErr := scan(framing.Scanner(bytes.NewReader(stream), limit))
		r := &pieceReader{rng: rand.New(rand.NewPCG(seed, 0)), data: stream}
		got, err := scan(framing.Scanner(r, limit))

		if room := max(0, limit) + maxPrefix; r.asked > room {
			t.Fatalf("the buffer has room for %d bytes, limit %d", r.asked, limit)
		}
		var again []byte
		for _, token := range got {
			if len(token) > limit && len(token) > 0 {
				t.Fatalf("a token of %d bytes, limit %d", len(token), limit)
			}
			again = framing.Append(again, []byte(token))
		}
		if !bytes.HasPrefix(stream, again) || err == nil && len(again) != len(stream) {
			t.Fatalf("%q gives %q, %v", stream, got, err)
		}
		if framing == Raw {
			atOnce, got = []string{joined(atOnce)}, []string{joined(got)}
		}
		if !slices.Equal(got, atOnce) || sentinel(t, err) != sentinel(t, wantErr) {
			t.Fatalf("%q gives %q, %v in pieces and %q, %v at once", stream, got, err, atOnce, wantErr)
		}
	})
}

// sentinel returns which of the documented errors err is.
func sentinel(t *testing.T, err error) error {
	for _, k := range []error{nil, ErrTorn, ErrLength, ErrMalformed} {
		if isOrNil(err, k) {
			return k
		}
	}
	t.Fatalf("an error of no documented kind: %v", err)
	return nil
}

// pieces cuts data at random; a piece may be empty.
func pieces(rng *rand.Rand, data []byte) (cut [][]byte) {
	for len(data) > 0 {
		n := min(len(data), rng.IntN(1<<rng.IntN(12)))
		cut, data = append(cut, data[:n]), data[n:]
	}
	return append(cut, data)
}

// pieceReader hands out data in pieces of random length, the last one with or
// without the EOF.
type pieceReader struct {
	rng   *rand.Rand
	data  []byte
	asked int // the longest p seen
}

func (r *pieceReader) Read(p []byte) (int, error) {
	r.asked = max(r.asked, len(p))
	n := copy(p, r.data[:min(len(r.data), 1+r.rng.IntN(1<<r.rng.IntN(12)))])
	r.data = r.data[n:]
	if len(r.data) == 0 && (n == 0 || r.rng.IntN(2) == 0) {
		return n, io.EOF
	}
	return n, nil
}

func joined(tokens []string) string {
	var all []byte
	for _, t := range tokens {
		all = append(all, t...)
	}
	return string(all)
}
