package main

import (
	"bufio"
	"errors"
	"io"
)

var (
	// errLongLine is returned for a line beyond the reader's bound. The whole
	// line has been skipped; the next call reads the next one.
	errLongLine = errors.New("the line is longer than the buffer")
	// errInterrupted ends an input that was interrupted.
	errInterrupted = errors.New("the reading of standard input was interrupted")
)

// lineReader reads lines of bounded length.
type lineReader struct {
	r *bufio.Reader
	// limit is the longest line, in bytes without its line feed.
	limit int
	long  []byte // a line that exceeds r's buffer is gathered here
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// next returns the next line without its line feed; it is valid until the next
// call. The last line of the input needs no line feed. When the input fails in
// any way but io.EOF, line is what had been read of an unfinished line.
func (l *lineReader) next() (line []byte, err error) {
	l.long = l.long[:0]
	size := 0
	for {
		part, err := l.r.ReadSlice('\n')
		size += len(part)
		if err == nil {
			size-- // the line feed
			part = part[:len(part)-1]
		}
		if size <= l.limit && (err == bufio.ErrBufferFull || len(l.long) > 0) {
			l.long = append(l.long, part...)
			part = l.long
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && size == 0, err != nil && err != io.EOF:
			return part, err
		case size > l.limit:
			return nil, errLongLine
		}
		return part, nil
	}
}
