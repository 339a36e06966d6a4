package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/nats-io/nats.go"

	"github.com/everconn/everconn"
	"github.com/everconn/everconn/wire"
)

// endTimeout bounds how long a producer may take to end after its last message.
const endTimeout = 30 * time.Second

// A producer is one way to ship messages.
type producer struct {
	name string
	how  string
	// framing or protocol is what it speaks.
	framing  wire.Framing
	protocol func(reply io.Writer) bufio.SplitFunc
	// missing says what is needed and not here; nil: nothing is.
	missing func() string
	// ship ships the feed to addr and ends in good order. note says what else
	// happened.
	ship func(addr string, f *feed) (note string, err error)
}

var producers = []producer{
	{name: "everconn (kernel)", how: "Confirm: Kernel (the default), octet counting, Backoff 50 ms to 300 ms, Shutdown at the end",
		framing: wire.OctetCounting, ship: shipEverconn(everconn.Kernel)},
	{name: "everconn (written)", how: "the same with Confirm: Written",
		framing: wire.OctetCounting, ship: shipEverconn(everconn.Written)},
	{name: "redial loop", how: "net.Conn under a mutex; a failed Write closes, dials again after 100 ms and writes the message again",
		framing: wire.OctetCounting, ship: shipRedial},
	{name: "nats.go", how: "core Publish, MaxReconnects(-1), RetryOnFailedConnect, ReconnectWait 100 ms, reconnect buffer 8 MB (default), Flush and Close at the end",
		protocol: natsProtocol, ship: shipNATS},
	{name: "fluent-logger (sync)", how: "fluent.Config{RetryWait: 100, MaxRetry: 13 (default)}, no acknowledgement (default)",
		protocol: fluentProtocol, ship: shipFluent(false)},
	{name: "fluent-logger (async)", how: "the same with Async, BufferLimit 8192 (default)",
		protocol: fluentProtocol, ship: shipFluent(true)},
	{name: "socat", how: "socat -u STDIN TCP:addr", framing: wire.LF, missing: need("socat"), ship: shipShell(`exec socat -u STDIN "TCP:$ADDR"`)},
	{name: "ncat", how: "ncat --send-only host port", framing: wire.LF, missing: need("ncat"), ship: shipShell(`exec ncat --send-only "${ADDR%:*}" "${ADDR#*:}"`)},
	{name: "shell loop", how: "while :; do socat -u STDIN TCP:addr && break; sleep 0.1; done", framing: wire.LF, missing: need("socat"),
		ship: shipShell(`while :; do socat -u STDIN "TCP:$ADDR" 2>/dev/null && break; sleep 0.1; done`)},
}

func need(command string) func() string {
	return func() string {
		if _, err := exec.LookPath(command); err != nil {
			return "needs " + command
		}
		return ""
	}
}

func shipEverconn(level everconn.Level) func(string, *feed) (string, error) {
	return func(addr string, f *feed) (string, error) {
		client, err := everconn.New(addr, &everconn.Options{
			Framing: wire.OctetCounting,
			Confirm: level,
			Backoff: everconn.Backoff{Base: 50 * time.Millisecond, Cap: 300 * time.Millisecond},
		})
		if err != nil {
			return "", err
		}
		f.each(func(line []byte) error { return client.Send(f.ctx, line) })
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if err := client.Shutdown(ctx); err != nil {
			return err.Error(), nil
		}
		return "", nil
	}
}

// shipRedial is what many services have.
func shipRedial(addr string, f *feed) (string, error) {
	var conn net.Conn
	var frame []byte
	f.each(func(line []byte) error {
		frame = wire.OctetCounting.Append(frame[:0], line)
		for {
			if conn == nil {
				var err error
				if conn, err = net.DialTimeout("tcp", addr, 5*time.Second); err != nil {
					conn = nil
					if f.ctx.Err() != nil {
						return err
					}
					wait(f.ctx, 100*time.Millisecond)
					continue
				}
			}
			if _, err := conn.Write(frame); err == nil {
				return nil
			}
			conn.Close()
			conn = nil
		}
	})
	if conn != nil {
		return "", conn.Close()
	}
	return "", nil
}

func shipNATS(addr string, f *feed) (string, error) {
	conn, err := nats.Connect("nats://"+addr, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		return "", err
	}
	f.each(func(line []byte) error { return conn.Publish(natsSubject, line) })
	defer conn.Close()
	if err := conn.FlushTimeout(endTimeout); err != nil {
		return "Flush: " + err.Error(), nil
	}
	return "", nil
}

func shipFluent(async bool) func(string, *feed) (string, error) {
	return func(addr string, f *feed) (string, error) {
		host, port, err := splitAddr(addr)
		if err != nil {
			return "", err
		}
		logger, err := fluent.New(fluent.Config{FluentHost: host, FluentPort: port, RetryWait: 100, Async: async})
		if err != nil {
			return "", err
		}
		refused := 0
		f.each(func(line []byte) error {
			err := logger.Post("lab", map[string]string{fluentKey: string(line)})
			if err != nil {
				refused++
			}
			return err
		})
		closed := make(chan error, 1)
		go func() { closed <- logger.Close() }()
		select {
		case err := <-closed:
			return noteOf(refused, err), nil
		case <-time.After(endTimeout):
			return "Close did not return", nil
		}
	}
}

// shipShell pipes the lines into a shell command.
func shipShell(script string) func(string, *feed) (string, error) {
	return func(addr string, f *feed) (string, error) {
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(cmd.Environ(), "ADDR="+addr)
		cmd.WaitDelay = time.Second
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return "", err
		}
		if err := cmd.Start(); err != nil {
			return "", err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// A pipe that nobody reads any more would block the feed for ever.
		stopped := context.AfterFunc(f.ctx, func() { time.AfterFunc(endTimeout, func() { stdin.Close() }) })
		defer stopped()
		gaveUp := false
		f.each(func(line []byte) error {
			if _, err := stdin.Write(append(line, '\n')); err != nil {
				gaveUp = true
				return io.EOF
			}
			return nil
		})
		stdin.Close()
		var note []string
		if gaveUp {
			note = append(note, "it gave up")
		}
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				note = append(note, exit.String())
			} else {
				note = append(note, "exit status 0")
			}
		case <-time.After(endTimeout):
			_ = cmd.Process.Kill()
			note = append(note, "killed: it did not end")
		}
		return strings.Join(note, ", "), nil
	}
}
