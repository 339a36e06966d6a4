package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/everconn/everconn"
	"github.com/everconn/everconn/wire"
)

// The types of flags below are read by kong through encoding.TextUnmarshaler;
// kong puts the flag's name in front of their errors.

// byteSize is a number of bytes, written for people: 8MiB.
type byteSize int64

var sizeUnits = []struct {
	name  string
	shift int
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}, {"", 0}}

// UnmarshalText reads a whole number and a unit; without one it counts bytes.
func (b *byteSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	for _, unit := range sizeUnits {
		digits, ok := cutSuffixFold(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>unit.shift {
			break
		}
		*b = byteSize(n << unit.shift)
		return nil
	}
	return fmt.Errorf("size %q: want a whole number of B, KiB, MiB, GiB or TiB, such as 8MiB", s)
}

// String is the inverse of UnmarshalText, in the largest unit that divides b.
func (b byteSize) String() string {
	for i := 3; i >= 0; i-- {
		if unit := sizeUnits[i]; b != 0 && b%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d%s", b>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

// framingFlag is the name of a framing.
type framingFlag struct{ wire.Framing }

// UnmarshalText reads raw, lf, octet, nul or u32.
func (f *framingFlag) UnmarshalText(text []byte) (err error) {
	f.Framing, err = wire.ParseFraming(string(text))
	return err
}

// levelFlag is the name of a level of confirmation.
type levelFlag struct{ everconn.Level }

// UnmarshalText reads kernel or written.
func (l *levelFlag) UnmarshalText(text []byte) (err error) {
	l.Level, err = everconn.ParseLevel(string(text))
	return err
}

// overflowFlag is the name of an overflow policy.
type overflowFlag struct{ everconn.Overflow }

// UnmarshalText reads block, reject, drop-oldest or drop-newest.
func (o *overflowFlag) UnmarshalText(text []byte) (err error) {
	o.Overflow, err = everconn.ParseOverflow(string(text))
	return err
}
