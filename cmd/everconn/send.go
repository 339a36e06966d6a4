package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everconn/everconn"
)

// sendCmd is "everconn send".
type sendCmd struct {
	tlsFlags

	Frame         framingFlag   `default:"lf" help:"How messages are delimited: lf, octet (RFC 6587), nul, u32 or raw."`
	Confirm       levelFlag     `default:"kernel" help:"A message is confirmed when: kernel, the peer's kernel has acknowledged it; written, ours has taken it."`
	DeadAfter     time.Duration `default:"30s" help:"Notice a dead path within this time, at least 3s."`
	Buffer        byteSize      `default:"8MiB" help:"Keep at most so much that is not confirmed, in B, KiB, MiB, GiB or TiB."`
	Overflow      overflowFlag  `default:"block" help:"When the buffer is full: block (read no more), reject, drop-oldest or drop-newest."`
	MaxAge        time.Duration `help:"Drop what has waited longer than this (0: never)."`
	Rate          float64       `placeholder:"N" help:"Send at most N messages a second (0: as fast as they come)."`
	Count         uint64        `placeholder:"N" help:"Stop after N lines (0: at the end of the input)."`
	Preamble      string        `placeholder:"TEXT" help:"Say this first on each connection, in a frame like a message."`
	PreambleReply string        `placeholder:"TEXT" help:"Expect a line that begins with this in answer; stop for good if another comes."`
	DrainTimeout  time.Duration `placeholder:"TIME" help:"How long to wait for confirmation at the end (0: without limit at the end of input, 30s after a signal)."`
	AllowHalfOpen bool          `help:"Go on sending after the collector has ended its own side, as netcat without an input does at once."`
	BackoffBase   time.Duration `default:"500ms" help:"The first wait between attempts to connect is at most this; later ones are longer, all at random."`
	BackoffCap    time.Duration `default:"15s" help:"No wait between attempts to connect is longer than this."`
	Shuffle       bool          `help:"Try several endpoints in random order."`
	StopOnTLSErr  bool          `name:"stop-on-tls-error" help:"Stop for good when a certificate is refused, instead of trying again."`
	JSON          bool          `name:"json" help:"Write events to stderr and the result to stdout as JSON, one object a line."`

	Address string `arg:"" name:"host:port" help:"The collector, or several of them separated by commas."`
}

// Help is shown by --help below the flags' summary.
func (c *sendCmd) Help() string {
	return `Each line of standard input is one message, without its line feed. When the
connection is lost, whatever is not confirmed is sent again, whole and in
order, on the next one: a line may arrive twice, and none goes missing that the
level promises. "kernel" means acknowledged by the peer's kernel; a collector
that is killed can still lose what it had not read.

At the end of input, or on SIGINT, SIGTERM or SIGHUP, it waits until all is
confirmed; a second signal ends that at once. Then it prints what became of the
lines. A line that cannot be sent (longer than the buffer, or with the framing's
delimiter in it) is refused, told and counted. An empty line, which the framings
octet and raw cannot carry, is skipped, told and counted apart.

Exit codes:

    0  all is confirmed at the chosen level
    1  usage
    2  something was dropped or refused, or is not confirmed
    3  stopped for good: --stop-on-tls-error, a refused preamble

Examples:

    tail -F app.log | everconn send logs.example.net:6000
    everconn send --frame octet --dead-after 10s rsyslog:514 < app.log
    everconn send --tls-ca ca.pem --tls-cert me.pem --tls-key me.key a:6514,b:6514
    seq 100000 | everconn send --rate 4000 --json 127.0.0.1:6000 2> events.json
`
}

// signalDrain is the drain timeout after a signal if none was given: shorter
// than what service managers wait before they kill.
const signalDrain = 30 * time.Second

// options turns the flags into the client's options.
func (c *sendCmd) options() (*everconn.Options, error) {
	switch {
	case c.Rate < 0 || math.IsNaN(c.Rate) || c.Rate > 1e9:
		return nil, fmt.Errorf("--rate is %v; allowed: 0 (no limit) to 1e9", c.Rate)
	case c.DrainTimeout < 0:
		return nil, fmt.Errorf("--drain-timeout is %v; allowed: 0 (no limit) or more", c.DrainTimeout)
	case c.DeadAfter < 3*time.Second:
		return nil, fmt.Errorf("--dead-after is %v; allowed: 3s to 24h", c.DeadAfter)
	// The library would take its defaults for the following.
	case c.Buffer == 0:
		return nil, errors.New("--buffer is 0; allowed: 4KiB to 1TiB")
	case c.BackoffBase == 0, c.BackoffCap == 0:
		return nil, errors.New("--backoff-base or --backoff-cap is 0s; allowed: 1ms to 24h")
	}
	tlsConfig, err := c.tlsFlags.config()
	if err != nil {
		return nil, err
	}
	if tlsConfig == nil && c.StopOnTLSErr {
		return nil, errors.New("--stop-on-tls-error: only together with --tls")
	}
	opts := &everconn.Options{
		TLS:            tlsConfig,
		Liveness:       everconn.Liveness{DeadAfter: c.DeadAfter, AllowHalfOpen: c.AllowHalfOpen},
		Backoff:        everconn.Backoff{Base: c.BackoffBase, Cap: c.BackoffCap},
		Buffer:         everconn.Buffer{MaxBytes: int64(c.Buffer), Overflow: c.Overflow.Overflow, MaxAge: c.MaxAge},
		Confirm:        c.Confirm.Level,
		Framing:        c.Frame.Framing,
		Shuffle:        c.Shuffle,
		StopOnTLSError: c.StopOnTLSErr,
	}
	hello := preamble{framing: c.Frame.Framing, text: c.Preamble, reply: c.PreambleReply}
	if hello.text != "" {
		opts.OnConnect = hello.speak
	}
	return opts, hello.check()
}

// flagNames turns the library's names for options into ours.
var flagNames = strings.NewReplacer(
	"everconn: ", "",
	"Options.Buffer.MaxBytes", "--buffer",
	"Options.Buffer.MaxAge", "--max-age",
	"Options.Backoff.Base", "--backoff-base",
	"Options.Backoff.Cap", "--backoff-cap",
	"Backoff.Base (", "--backoff-base (",
	"Options.Liveness.DeadAfter", "--dead-after",
)

// Run ships standard input.
func (c *sendCmd) Run(env *environment) error {
	opts, err := c.options()
	if err != nil {
		return usageError("%w", err)
	}
	in, err := newInput(env.stdin)
	if err != nil {
		return usageError("standard input: %w", err)
	}
	defer in.close()

	ship := &shipper{
		lines: newLineReader(in, int(min(int64(c.Buffer), math.MaxInt))),
		pace:  newPacer(c.Rate),
		count: c.Count,
	}
	var client clientRef
	var degraded atomic.Bool
	ship.told = newReporter(env, c.JSON, &client, ship.refused.total, opts)
	opts.OnEvent = func(e everconn.Event) {
		if e.Kind == everconn.EventLevel {
			degraded.Store(true)
		}
		ship.told.event(e)
	}
	ship.client, err = everconn.New(c.Address, opts)
	if err != nil {
		ship.told.close()
		return usageError("%s", flagNames.Replace(err.Error()))
	}
	client.Store(ship.client)

	o := c.shipAndDrain(env, in, ship)
	o.degraded = degraded.Load()
	ship.told.close()
	return c.conclude(env, ship, o)
}

// shipAndDrain ships until the input ends or a signal comes, and then waits
// until all is confirmed or time is up.
func (c *sendCmd) shipAndDrain(env *environment, in *input, ship *shipper) (o outcome) {
	limit, giveUp := context.WithCancelCause(env.force)
	defer giveUp(nil)
	within := func(d time.Duration) {
		if d > 0 {
			time.AfterFunc(d, func() { giveUp(fmt.Errorf("not confirmed within %v", d)) })
		}
	}
	afterSignal := c.DrainTimeout
	if afterSignal == 0 {
		afterSignal = signalDrain
	}
	defer context.AfterFunc(env.ctx, func() {
		in.interrupt()
		within(afterSignal)
	})()

	// A client that has stopped for good takes no more lines. The goroutine ends
	// with the client, which the Shutdown below closes.
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		<-ship.client.Done()
		in.interrupt()
	}()

	o.input = ship.run(limit, env.ctx)
	within(c.DrainTimeout)
	o.drain = ship.client.Shutdown(limit)
	<-watched
	if o.stopped = ship.client.Err(); limit.Err() != nil && errors.Is(o.stopped, limit.Err()) {
		o.stopped = nil // it was we who gave up
		o.gaveUp = context.Cause(limit)
	}
	return o
}
