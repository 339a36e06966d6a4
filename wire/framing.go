// Package wire holds the framings that delimit messages on a connection.
//
// A [Framing] is stateless: a frame depends on its message alone, so a message
// can be framed once, when it is accepted, and sent again as it stands.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Framing says how one message is told from the next on the wire. The zero
// value is Raw. All methods are safe for concurrent use and do not allocate,
// errors aside.
type Framing uint8

const (
	// Raw adds nothing: the messages delimit themselves.
	Raw Framing = iota
	// LF ends each message with a line feed. A message must not contain one.
	// It is "non-transparent framing" of RFC 6587, section 3.4.2.
	LF
	// OctetCounting puts the length in decimal and a space before each message:
	// RFC 6587, section 3.4.1. A receiver can tell a torn message from a whole
	// one.
	OctetCounting
	// NUL ends each message with a zero byte. A message must not contain one.
	NUL
	// Uint32 puts the length before each message, 32 bits, big-endian.
	Uint32
)

var names = [...]string{Raw: "raw", LF: "lf", OctetCounting: "octet", NUL: "nul", Uint32: "u32"}

var (
	// ErrEmpty is returned for an empty message where the framing cannot carry
	// one: Raw, and OctetCounting (RFC 6587 wants a non-zero digit first).
	ErrEmpty = errors.New("an empty message cannot be carried")
	// ErrDelimiter is returned for a message that contains its frame's
	// delimiter.
	ErrDelimiter = errors.New("the message contains the delimiter")
	// ErrLength is returned for a message longer than MaxMessage, and to a
	// receiver for one longer than its limit.
	ErrLength = errors.New("the message is too long")
)

// MaxMessage is the longest message that any framing carries, in bytes: 4 GiB
// less what keeps its frame, and its place in an index, within 32 bits. It
// exceeds the int of a 32-bit machine: compare it as a uint64.
const MaxMessage = math.MaxUint32 - 32

// maxPrefix is the longest prefix: ten digits and a space.
const maxPrefix = 11

// Valid reports whether f is one of the constants of this package.
func (f Framing) Valid() bool { return int(f) < len(names) }

// String returns the name that ParseFraming reads: raw, lf, octet, nul or u32.
func (f Framing) String() string {
	if f.Valid() {
		return names[f]
	}
	return fmt.Sprintf("Framing(%d)", uint8(f))
}

// ParseFraming returns the framing of that name: raw, lf, octet, nul or u32.
func ParseFraming(s string) (Framing, error) {
	for f, name := range names {
		if s == name {
			return Framing(f), nil
		}
	}
	return Raw, fmt.Errorf("wire: framing %q: want raw, lf, octet, nul or u32", s)
}

// Check reports why msg cannot be carried, or nil. The error wraps ErrEmpty,
// ErrDelimiter or ErrLength.
func (f Framing) Check(msg []byte) error {
	switch f {
	case Raw, OctetCounting:
		if len(msg) == 0 {
			return fmt.Errorf("wire: framing %v: %w", f, ErrEmpty)
		}
	case LF:
		if i := bytes.IndexByte(msg, '\n'); i >= 0 {
			return fmt.Errorf("wire: framing lf: %w: a line feed at byte %d", ErrDelimiter, i)
		}
	case NUL:
		if i := bytes.IndexByte(msg, 0); i >= 0 {
			return fmt.Errorf("wire: framing nul: %w: a zero byte at byte %d", ErrDelimiter, i)
		}
	}
	if uint64(len(msg)) > MaxMessage {
		return fmt.Errorf("wire: framing %v: %w: %d bytes, at most %d can be carried", f, ErrLength, len(msg), uint64(MaxMessage))
	}
	return nil
}

// AppendPrefix appends to dst what stands before a message of n bytes: at most
// 11 bytes.
func (f Framing) AppendPrefix(dst []byte, n int) []byte {
	switch f {
	case OctetCounting:
		return append(strconv.AppendUint(dst, uint64(n), 10), ' ')
	case Uint32:
		return binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return dst
}

// AppendSuffix appends to dst what stands behind a message: at most one byte.
func (f Framing) AppendSuffix(dst []byte) []byte {
	switch f {
	case LF:
		return append(dst, '\n')
	case NUL:
		return append(dst, 0)
	}
	return dst
}

// Append appends the whole frame of msg, which must have passed Check.
func (f Framing) Append(dst, msg []byte) []byte {
	return f.AppendSuffix(append(f.AppendPrefix(dst, len(msg)), msg...))
}

// Payload returns the message inside a frame made by Append. It is a part of
// frame, not a copy.
func (f Framing) Payload(frame []byte) []byte {
	switch f {
	case LF, NUL:
		return frame[:len(frame)-1]
	case OctetCounting:
		return frame[bytes.IndexByte(frame, ' ')+1:]
	case Uint32:
		return frame[4:]
	}
	return frame
}
