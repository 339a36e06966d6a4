package collector

import (
	"bufio"
	"io"

	"github.com/everconn/everconn/wire"
)

// Rest says what a connection left behind its last whole message.
type Rest uint8

const (
	// Nothing: the connection ended between two messages.
	Nothing Rest = iota
	// Incomplete: part of a message was left, and the framing tells so: the
	// receiver discards it (octet counting, u32).
	Incomplete
	// Torn: part of a message was left that only lacks its delimiter (LF, NUL).
	// Receivers that take the end of a stream for a delimiter store it as a
	// message; rsyslog's imtcp and syslog-ng do.
	Torn
	// Malformed: the stream did not follow the framing, or a message was longer
	// than MaxMessage.
	Malformed
)

// decoder cuts a stream into messages.
type decoder struct {
	framing wire.Framing
	split   bufio.SplitFunc
	look    bufio.SplitFunc // split without its replies
	message func([]byte)
	pending []byte
	err     error
}

func newDecoder(cfg Config, reply io.Writer, message func([]byte)) decoder {
	d := decoder{framing: cfg.Framing, message: message}
	if cfg.Protocol != nil {
		d.split, d.look = cfg.Protocol(reply), cfg.Protocol(io.Discard)
		return d
	}
	d.split = cfg.Framing.Split(cfg.MaxMessage)
	d.look = d.split
	return d
}

// feed decodes what came. After an error, which it leaves in err, it ignores
// the rest of the stream.
func (d *decoder) feed(data []byte) {
	if d.err != nil {
		return
	}
	d.pending = append(d.pending, data...)
	var rest []byte
	rest, d.err = cut(d.split, d.pending, d.message)
	d.pending = append(d.pending[:0], rest...)
}

// cut calls message for each whole message in data and returns what is left.
func cut(split bufio.SplitFunc, data []byte, message func([]byte)) (rest []byte, err error) {
	for len(data) > 0 {
		n, msg, err := split(data, false)
		if n == 0 || err != nil {
			return data, err
		}
		if msg != nil {
			message(msg)
		}
		data = data[n:]
	}
	return nil, nil
}

// rest returns a copy of what was left behind the last whole message.
func (d *decoder) rest() ([]byte, Rest) {
	fragment := append([]byte(nil), d.pending...)
	switch {
	case d.err != nil:
		return fragment, Malformed
	case len(fragment) == 0:
		return nil, Nothing
	case d.framing == wire.LF || d.framing == wire.NUL:
		return fragment, Torn
	}
	return fragment, Incomplete
}

// inspect cuts a continuation of the stream without consuming it, and returns
// copies of the messages that it would complete and the length of what would
// be left.
func (d *decoder) inspect(next []byte) (messages [][]byte, left int) {
	if d.err != nil {
		return nil, 0
	}
	data := append(append([]byte(nil), d.pending...), next...)
	rest, _ := cut(d.look, data, func(msg []byte) {
		messages = append(messages, append([]byte(nil), msg...))
	})
	return messages, len(rest)
}
