package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/everconn/everconn/wire"
)

// preamble is what is said first on each connection: text, in a frame like a
// message, and then, if reply is not empty, one line from the peer that must
// begin with it.
type preamble struct {
	framing     wire.Framing
	text, reply string
}

// maxReply bounds the peer's reply, in bytes.
const maxReply = 1 << 10

func (p preamble) check() error {
	if p.text == "" {
		if p.reply != "" {
			return errors.New("--preamble-reply: only together with --preamble")
		}
		return nil
	}
	if err := p.framing.Check([]byte(p.text)); err != nil {
		return fmt.Errorf("--preamble: %w", err)
	}
	return nil
}

// speak is an Options.OnConnect. A reply other than the one expected is final;
// none at all is not: the next connection may have one.
func (p preamble) speak(ctx context.Context, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(p.framing.Append(nil, []byte(p.text))); err != nil {
		return fmt.Errorf("preamble: %w", err)
	}
	if p.reply == "" {
		return nil
	}
	line, err := readLine(conn)
	if err != nil {
		return fmt.Errorf("reply to the preamble: %w", err)
	}
	if !strings.HasPrefix(line, p.reply) {
		return backoff.Permanent(fmt.Errorf("the preamble was refused: the reply is %.200q, not %q", line, p.reply))
	}
	return nil
}

// readLine reads byte by byte, so as to take nothing that follows the line.
func readLine(conn net.Conn) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxReply {
		if _, err := conn.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
	return "", fmt.Errorf("no line feed within %d bytes", maxReply)
}
