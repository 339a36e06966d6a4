package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

var (
	// ErrTorn is returned to a receiver whose stream ended inside a message. It
	// wraps io.ErrUnexpectedEOF.
	ErrTorn = fmt.Errorf("the stream ended inside a message: %w", io.ErrUnexpectedEOF)
	// ErrMalformed is returned to a receiver whose stream does not follow the
	// framing: under OctetCounting, no count of one to ten digits, the first not
	// zero, and a space.
	ErrMalformed = errors.New("the stream does not follow the framing")
)

// Scanner returns a scanner over the messages that a sender has framed by f,
// with a buffer that suits messages of up to limit bytes. See [Framing.Split].
func (f Framing) Scanner(r io.Reader, limit int) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, max(0, min(limit, math.MaxInt-maxPrefix))+maxPrefix)
	s.Split(f.Split(limit))
	return s
}

// Split returns the receiver's side of f for a [bufio.Scanner]: a token is one
// whole message without its framing, and can be empty. Raw has no messages: a
// token is what has arrived, cut to at most limit bytes.
//
// The scan ends with an error that wraps ErrLength when a message is longer
// than limit bytes, ErrTorn when the stream ends inside a message, which is
// then not yielded, or ErrMalformed. An error of the reader other than io.EOF
// comes before ErrTorn in Scanner.Err.
//
// The scanner's buffer must hold a whole frame, that is limit + 11 bytes;
// [Framing.Scanner] sees to it. The function returned keeps no state and is
// safe for concurrent use by several scanners.
func (f Framing) Split(limit int) bufio.SplitFunc {
	limit = max(0, limit)
	switch f {
	case LF:
		return func(data []byte, atEOF bool) (int, []byte, error) {
			return f.splitDelimited(data, '\n', limit, atEOF)
		}
	case NUL:
		return func(data []byte, atEOF bool) (int, []byte, error) {
			return f.splitDelimited(data, 0, limit, atEOF)
		}
	case OctetCounting, Uint32:
		return func(data []byte, atEOF bool) (int, []byte, error) {
			return f.splitCounted(data, limit, atEOF)
		}
	}
	return func(data []byte, _ bool) (int, []byte, error) {
		n := min(len(data), limit)
		switch {
		case len(data) == 0:
			return 0, nil, nil
		case n == 0:
			return 0, nil, f.tooLong(limit)
		}
		return n, data[:n], nil
	}
}

func (f Framing) splitDelimited(data []byte, delimiter byte, limit int, atEOF bool) (int, []byte, error) {
	i := bytes.IndexByte(data, delimiter)
	switch {
	case i > limit, i < 0 && len(data) > limit:
		return 0, nil, f.tooLong(limit)
	case i >= 0:
		return i + 1, data[:i], nil
	}
	return 0, nil, f.torn(data, atEOF)
}

func (f Framing) splitCounted(data []byte, limit int, atEOF bool) (int, []byte, error) {
	prefix, count, err := f.readPrefix(data)
	switch {
	case err != nil:
		return 0, nil, err
	case prefix == 0:
		return 0, nil, f.torn(data, atEOF)
	case count > uint64(limit):
		return 0, nil, f.tooLong(limit)
	}
	// count fits an int now; prefix + count need not on a 32-bit machine.
	if len(data)-prefix < int(count) {
		return 0, nil, f.torn(data, atEOF)
	}
	end := prefix + int(count)
	return end, data[prefix:end], nil
}

// readPrefix returns the length of the prefix and the count in it; a length of
// 0 means that data ends before the prefix does.
func (f Framing) readPrefix(data []byte) (prefix int, count uint64, err error) {
	if f == Uint32 {
		if len(data) < 4 {
			return 0, 0, nil
		}
		return 4, uint64(binary.BigEndian.Uint32(data)), nil
	}
	for i, c := range data {
		switch {
		case c == ' ' && i > 0:
			return i + 1, count, nil
		case c < '0' || c > '9':
			return 0, 0, f.malformed("byte %d of the count is %q", i, c)
		case c == '0' && i == 0:
			return 0, 0, f.malformed("the count begins with a zero")
		case i == maxPrefix-1:
			return 0, 0, f.malformed("the count has more than %d digits", maxPrefix-1)
		}
		count = count*10 + uint64(c-'0')
	}
	return 0, 0, nil
}

// torn reports what is left at the end of the stream, if anything.
func (f Framing) torn(rest []byte, atEOF bool) error {
	if !atEOF || len(rest) == 0 {
		return nil
	}
	return fmt.Errorf("wire: framing %v: %w: %d bytes of its frame had come", f, ErrTorn, len(rest))
}

func (f Framing) tooLong(limit int) error {
	return fmt.Errorf("wire: framing %v: %w: the limit is %d bytes", f, ErrLength, limit)
}

func (f Framing) malformed(format string, args ...any) error {
	return fmt.Errorf("wire: framing %v: %w: %s", f, ErrMalformed, fmt.Sprintf(format, args...))
}
