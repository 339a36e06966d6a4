package everconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/everconn/everconn/wire"
)

// Options configures a [Client]. The zero value is a sound choice for a
// producer service: confirmation at the [Kernel] level, an 8 MiB outbox that
// makes senders wait when it is full, a dead path noticed within 30 s, and
// reconnects with full jitter, for ever.
//
// Options is copied by [New] and [Dial]; changing it afterwards has no effect.
// What does not fit together is refused there, with an error that names the
// field, its value and what is allowed.
type Options struct {
	// TLS, if not nil, makes every connection a TLS client connection. It is
	// cloned. An empty ServerName is filled in from the endpoint's host. For
	// mutual TLS and for certificates that are renewed while the client runs,
	// set GetClientCertificate and VerifyConnection: they are asked on each
	// handshake.
	TLS *tls.Config

	// DialContext, if not nil, opens the transport instead of a [net.Dialer]:
	// a proxy, a tunnel, a Unix socket. The levels above Written need a conn of
	// the very type *net.TCPConn (not MPTCP); any other conn is used through its
	// Read and Write and confirms at Written. Behind a proxy, Kernel means the
	// proxy's kernel. An error wrapped by backoff.Permanent stops the client
	// once every endpoint has answered so.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// OnConnect, if not nil, speaks first on every new connection, before any
	// message: a preamble, a login. conn is a *tls.Conn under TLS and otherwise
	// what was dialled; it must not be kept, and its deadlines are reset
	// afterwards. ctx ends with ConnectTimeout and with the client. An error
	// wrapped by backoff.Permanent stops the client once every endpoint has
	// answered so; any other error is retried.
	OnConnect func(ctx context.Context, conn net.Conn) error

	// Receive, if not nil, is run on a goroutine of its own for each connection
	// and reads what the peer sends. Returning nil discards from then on;
	// returning an error reconnects. It must return soon after a Read fails.
	// Without it, whatever arrives is discarded.
	Receive func(io.Reader) error

	// Liveness says how soon a dead path must be noticed.
	Liveness Liveness
	// Backoff says how long to wait between attempts to connect.
	Backoff Backoff
	// Buffer bounds the outbox and says what happens when it is full.
	Buffer Buffer
	// Confirm is the level at which a message counts as confirmed. The zero
	// value is Kernel.
	Confirm Level
	// KernelStrict makes New and Dial fail where the level Kernel cannot be had
	// for certain beforehand (a platform without a send-queue reading, a
	// DialContext), and makes a connection that cannot report its send-queue
	// fail instead of falling back to Written.
	KernelStrict bool
	// Framing delimits messages on the wire. The zero value is wire.Raw: none.
	Framing wire.Framing
	// Heartbeat, if its Interval is not 0, proves that the peer's process, and
	// not only its kernel, is alive.
	Heartbeat Heartbeat

	// Shuffle tries the endpoints in a new random order in each round instead
	// of in the order given.
	Shuffle bool
	// ConnectTimeout bounds one attempt: dial, TLS handshake and OnConnect
	// together. 0 means 10 s.
	ConnectTimeout time.Duration
	// MaxConnAge, if not 0, ends each connection in good order at that age
	// (± 10 %, at random) and opens a new one: to rebalance, to fail back, to
	// see new DNS answers. The smallest is 1 s.
	MaxConnAge time.Duration
	// MaxReplays, if not 0, drops the oldest message when it was begun on that
	// many connections beyond the first without being confirmed, so that one
	// message that makes the peer reset does not block all others. 0 means
	// unlimited; Stats.HeadReplays reports the count all the same.
	MaxReplays int
	// StopOnTLSError makes a certificate that is refused, by either side, stop
	// the client once every endpoint has ended so. By default it is reported and
	// retried at the backoff's cap: an expired certificate or a clock at 1970
	// must not silence a device for ever.
	StopOnTLSError bool

	// OnEvent, if not nil, is told of every change of state, in order, on one
	// goroutine, never under a lock. It may call any method of the client. At
	// most 256 events wait for it; beyond that, repeats are merged and
	// Event.Missed counts.
	OnEvent func(Event)
	// OnDrop, if not nil, is given every message that a drop policy, MaxAge or
	// MaxReplays gave up, as it was given to Send. msg belongs to the callee.
	// Drops caused by a full outbox are told on the goroutine of the Send that
	// caused them, before it returns; the others on the goroutine of OnEvent. A
	// message waiting to be told stays charged against MaxBytes. OnDrop is not
	// called under a lock and may call any method.
	OnDrop func(seq uint64, msg []byte, reason DropReason)

	// Logger receives the client's log records: the first failure of an outage
	// as WARN, then a summary each minute, the recovery as INFO. The zero value
	// is silent. See [SlogLogger] for a bridge to log/slog. Payloads and secrets
	// are never logged.
	Logger zerolog.Logger
}

// Level says what makes a message count as confirmed. The higher levels hold
// on to a message longer and therefore survive more.
type Level uint8

const (
	// Kernel confirms a message when the peer's kernel has acknowledged its
	// last byte: bytes written minus bytes in the send-queue (SIOCOUTQ, tcp(7)).
	// It survives resets, timeouts, partitions and cut cables. What remains: a
	// peer process that is killed, or closes, with unread data; a proxy that
	// acknowledges early.
	Kernel Level = iota
	// Written confirms a message when the local kernel has taken its last byte.
	// Everything in the send buffer is lost with the connection.
	Written
)

// String returns the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Kernel:
		return "kernel"
	case Written:
		return "written"
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}

// ParseLevel is the inverse of [Level.String].
func ParseLevel(s string) (Level, error) {
	for _, l := range []Level{Kernel, Written} {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("everconn: level %q: want kernel or written", s)
}

// Buffer bounds the outbox, the queue of accepted messages that are not yet
// confirmed.
type Buffer struct {
	// MaxBytes bounds the outbox. Each message is charged its framed length
	// plus 32 bytes for its place in the index. 0 means 8 MiB; the smallest is
	// 4 KiB, the largest 1 TiB. Memory is taken in segments of 64 KiB as needed,
	// and given back: an idle client holds none.
	MaxBytes int64
	// Overflow says what Send does when the outbox is full. The zero value is
	// Block.
	Overflow Overflow
	// MaxAge, if not 0, drops a message that has waited longer without a byte of
	// it being written on the live connection. It is measured on the monotonic
	// clock; a step of the wall clock drops nothing. From 1 ms to 24 days.
	MaxAge time.Duration
}

// Overflow says what happens to a message for which there is no room.
type Overflow uint8

const (
	// Block makes Send wait for room until its ctx ends or the client closes.
	Block Overflow = iota
	// Reject makes Send return ErrFull.
	Reject
	// DropOldest makes room by dropping the oldest message of which no byte has
	// been written on the live connection; when every message is in flight, the
	// retained copies of the oldest whole ones, which may still arrive.
	DropOldest
	// DropNewest drops the message given to Send, which then returns nil: the
	// message is accepted, numbered, dropped and counted.
	DropNewest
)

// String returns the policy's name as the command line spells it.
func (o Overflow) String() string {
	switch o {
	case Block:
		return "block"
	case Reject:
		return "reject"
	case DropOldest:
		return "drop-oldest"
	case DropNewest:
		return "drop-newest"
	}
	return fmt.Sprintf("Overflow(%d)", uint8(o))
}

// ParseOverflow is the inverse of [Overflow.String].
func ParseOverflow(s string) (Overflow, error) {
	for _, o := range []Overflow{Block, Reject, DropOldest, DropNewest} {
		if s == o.String() {
			return o, nil
		}
	}
	return 0, fmt.Errorf("everconn: overflow policy %q: want block, reject, drop-oldest or drop-newest", s)
}

// Backoff says how long to wait between attempts to connect. Every wait is
// drawn at random between 0 and a bound that starts at Base and doubles up to
// Cap ("full jitter"), so that a thousand clients do not return as one.
type Backoff struct {
	// Base bounds the first wait. 0 means 500 ms; the smallest is 1 ms.
	Base time.Duration
	// Cap bounds all waits. 0 means 15 s, or Base if that is longer; it must not
	// be smaller than Base.
	Cap time.Duration
}

// Heartbeat asks the peer's process for a sign of life. Whenever nothing has
// been received for Interval, Payload is sent, framed like a message; when
// nothing has been received for Interval + Timeout, the connection is given
// up. Any byte from the peer is a sign of life, so the peer must answer, or
// send of its own accord. A heartbeat is neither counted nor replayed.
type Heartbeat struct {
	// Payload is what is sent. It must not be empty if Interval is set.
	Payload []byte
	// Interval is the longest silence before a heartbeat. 0 means no
	// heartbeats; the smallest is 10 ms.
	Interval time.Duration
	// Timeout is how long to wait for an answer. 0 means Interval. It should
	// exceed the time that a full send buffer takes to drain.
	Timeout time.Duration
}

// withDefaults returns a copy of o in which every zero value that stands for a
// default is replaced by it.
func (o Options) withDefaults() Options {
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.Backoff.Base, 500*time.Millisecond)
	setDefault(&o.Backoff.Cap, max(15*time.Second, o.Backoff.Base))
	setDefault(&o.Buffer.MaxBytes, 8<<20)
	setDefault(&o.Heartbeat.Timeout, o.Heartbeat.Interval)
	o.Liveness = o.Liveness.withDefaults()
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
	}
	o.Heartbeat.Payload = append([]byte(nil), o.Heartbeat.Payload...)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports the first field whose value cannot be used. It is called
// after withDefaults.
func (o Options) validate() error {
	const day = 24 * time.Hour
	switch {
	case o.Confirm > Written:
		return badOption("Confirm", o.Confirm, "kernel or written")
	case o.KernelStrict && o.Confirm == Kernel && !queueReadable:
		return badOption("KernelStrict", true, "not available here: this platform has no send-queue reading")
	case o.KernelStrict && o.Confirm == Kernel && o.DialContext != nil:
		return badOption("KernelStrict", true, "not together with DialContext, whose conns may hide their send-queue")
	case !o.Framing.Valid():
		return badOption("Framing", o.Framing, "one of the framings of package wire")
	case o.ConnectTimeout < 10*time.Millisecond || o.ConnectTimeout > day:
		return badOption("ConnectTimeout", o.ConnectTimeout, "10ms to 24h")
	case o.Backoff.Base < time.Millisecond || o.Backoff.Base > day:
		return badOption("Backoff.Base", o.Backoff.Base, "1ms to 24h")
	case o.Backoff.Cap < o.Backoff.Base || o.Backoff.Cap > day:
		return badOption("Backoff.Cap", o.Backoff.Cap, fmt.Sprintf("Backoff.Base (%v) to 24h", o.Backoff.Base))
	case o.Buffer.MaxBytes < 4<<10 || o.Buffer.MaxBytes > 1<<40:
		return badOption("Buffer.MaxBytes", o.Buffer.MaxBytes, "4 KiB to 1 TiB")
	case o.Buffer.Overflow > DropNewest:
		return badOption("Buffer.Overflow", o.Buffer.Overflow, "Block, Reject, DropOldest or DropNewest")
	case o.Buffer.MaxAge != 0 && (o.Buffer.MaxAge < time.Millisecond || o.Buffer.MaxAge > 24*day):
		return badOption("Buffer.MaxAge", o.Buffer.MaxAge, "0 (none), or 1ms to 576h")
	case o.MaxConnAge != 0 && o.MaxConnAge < time.Second:
		return badOption("MaxConnAge", o.MaxConnAge, "0 (none), or at least 1s")
	case o.MaxReplays < 0:
		return badOption("MaxReplays", o.MaxReplays, "0 (unlimited) or more")
	}
	if err := o.Heartbeat.validate(o.Framing); err != nil {
		return err
	}
	return o.Liveness.validate()
}

func (h Heartbeat) validate(f wire.Framing) error {
	if h.Interval == 0 {
		if h.Timeout != 0 || len(h.Payload) != 0 {
			return badOption("Heartbeat.Interval", h.Interval, "at least 10ms when Payload or Timeout is set")
		}
		return nil
	}
	switch {
	case h.Interval < 10*time.Millisecond:
		return badOption("Heartbeat.Interval", h.Interval, "0 (none), or at least 10ms")
	case h.Timeout < 10*time.Millisecond:
		return badOption("Heartbeat.Timeout", h.Timeout, "at least 10ms")
	case len(h.Payload) == 0 || len(h.Payload) > 1<<10:
		return badOption("Heartbeat.Payload", fmt.Sprintf("%d bytes", len(h.Payload)), "1 to 1024 bytes")
	}
	if err := f.Check(h.Payload); err != nil {
		return fmt.Errorf("everconn: Heartbeat.Payload: %w", err)
	}
	return nil
}

// badOption says which field cannot be used, its value, and what is allowed.
func badOption(field string, value any, allowed string) error {
	return fmt.Errorf("everconn: Options.%s is %v; allowed: %s", field, value, allowed)
}
