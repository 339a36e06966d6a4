package collector

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// numberWidth is the number of digits in front of a numbered line.
const numberWidth = 10

// filler is what the lines are made of, from a place and of a length that
// follow from the number.
var filler = strings.Repeat("the quick brown fox jumps over the lazy dog; ", 6)

// AppendLine appends the numbered line n, of 1 to 9,999,999,999: the number and
// 10 to 210 bytes of text that follow from it, without a line feed or a zero
// byte. A line that was cut, or put together from two, is not the line of its
// number.
func AppendLine(dst []byte, n uint64) []byte {
	dst = fmt.Appendf(dst, "%0*d ", numberWidth, n)
	length := 10 + int(n*2654435761>>7%201)
	return append(dst, filler[n%45:][:length]...)
}

// ParseLine returns the number of a line made by AppendLine, and false for
// anything else.
func ParseLine(line []byte) (n uint64, ok bool) {
	if len(line) < numberWidth {
		return 0, false
	}
	n, err := strconv.ParseUint(string(line[:numberWidth]), 10, 64)
	if err != nil {
		return 0, false
	}
	return n, bytes.Equal(line, AppendLine(nil, n))
}
