package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/tinylib/msgp/msgp"
)

const (
	natsSubject = "lab"
	fluentKey   = "line"
)

// natsProtocol is the server's side of the NATS client protocol, as far as a
// publisher needs it: INFO, PONG, and PUB.
func natsProtocol(reply io.Writer) bufio.SplitFunc {
	fmt.Fprint(reply, "INFO {\"server_id\":\"lab\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576}\r\n")
	return func(data []byte, _ bool) (int, []byte, error) {
		end := bytes.Index(data, []byte("\r\n"))
		if end < 0 {
			return 0, nil, nil
		}
		line := string(data[:end])
		switch verb, _, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "PING":
			fmt.Fprint(reply, "PONG\r\n")
		case "PUB":
			fields := strings.Fields(line)
			size, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil || size < 0 || size > 1<<20 {
				return 0, nil, fmt.Errorf("nats: %q", line)
			}
			begin := end + 2
			if len(data) < begin+size+2 {
				return 0, nil, nil
			}
			return begin + size + 2, data[begin : begin+size : begin+size], nil
		}
		return end + 2, nil, nil
	}
}

// fluentProtocol is the receiver's side of the Fluent forward protocol v1 in
// message mode: [tag, time, record, option].
func fluentProtocol(io.Writer) bufio.SplitFunc {
	return func(data []byte, _ bool) (int, []byte, error) {
		rest, err := msgp.Skip(data)
		if errors.Is(err, msgp.ErrShortBytes) {
			return 0, nil, nil
		}
		if err != nil {
			return 0, nil, err
		}
		line, err := fluentLine(data)
		return len(data) - len(rest), line, err
	}
}

func fluentLine(event []byte) ([]byte, error) {
	_, event, err := msgp.ReadArrayHeaderBytes(event)
	for range 2 { // tag, time
		if err == nil {
			event, err = msgp.Skip(event)
		}
	}
	if err != nil {
		return nil, err
	}
	n, event, err := msgp.ReadMapHeaderBytes(event)
	for ; n > 0 && err == nil; n-- {
		var key, value string
		if key, event, err = msgp.ReadStringBytes(event); err != nil {
			break
		}
		if value, event, err = msgp.ReadStringBytes(event); err == nil && key == fluentKey {
			return []byte(value), nil
		}
	}
	return nil, errors.Join(errors.New("fluent: no line in the record"), err)
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}

// noteOf says what went wrong at the end.
func noteOf(refused int, err error) string {
	var note []string
	if refused > 0 {
		note = append(note, fmt.Sprintf("%d messages refused with an error", refused))
	}
	if err != nil {
		note = append(note, "Close: "+err.Error())
	}
	return strings.Join(note, ", ")
}
