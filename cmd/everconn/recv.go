package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// recvCmd is "everconn recv".
type recvCmd struct {
	Frame      framingFlag   `default:"lf" help:"How messages are delimited: lf, octet (RFC 6587), nul, u32 or raw (counted in bytes only)."`
	Out        string        `placeholder:"FILE" help:"Append each message and a line feed to FILE (with --frame raw, the bytes as they come); - is standard output."`
	DeadAfter  time.Duration `default:"30s" help:"Reap a connection whose peer is gone after this time, in whole seconds from 3s on."`
	MaxMessage byteSize      `default:"8MiB" help:"End a connection that sends a longer message."`
	TLSCert    string        `name:"tls-cert" placeholder:"FILE" help:"Speak TLS with this certificate, PEM."`
	TLSKey     string        `name:"tls-key" placeholder:"FILE" help:"Its private key, PEM."`
	TLSClients string        `name:"tls-client-ca" placeholder:"FILE" help:"Demand a client certificate that these certificates, PEM, vouch for."`
	JSON       bool          `name:"json" help:"Report to stderr, and the total to stdout, as JSON, one object a line."`

	Address string `arg:"" name:"[host]:port" help:"Where to listen; port 0 takes a free one and tells which."`
}

// Help is shown by --help below the flags' summary.
func (c *recvCmd) Help() string {
	return `Every accepted connection gets TCP keepalive, with idle time, interval and count
derived from --dead-after, since a collector that only reads would never learn
that a silent peer is gone. For each connection it reports how it ended (the
peer's FIN, a reset, a timeout, an unreachable host), how many messages and
bytes came, and how many bytes of an unfinished message were left over.

On SIGINT, SIGTERM or SIGHUP it accepts no more, ends each connection so that
what its kernel has acknowledged is still read, and prints the total.

Exit codes:

    0  ended by a signal
    1  usage, or the address cannot be listened on
    2  what was received could not be written to --out, or was not read to the end

Examples:

    everconn recv :6000
    everconn recv --frame octet --out collected.log 127.0.0.1:6000
    everconn recv --tls-cert server.pem --tls-key server.key --json :6514
`
}

// Run collects until a signal comes or the output fails.
func (c *recvCmd) Run(env *environment) error {
	keepAlive, err := keepAliveFor(c.DeadAfter)
	if err != nil {
		return usageError("--dead-after: %w", err)
	}
	if c.MaxMessage < 1 || c.MaxMessage > 1<<30 {
		return usageError("--max-message is %v; allowed: 1B to 1GiB", c.MaxMessage)
	}
	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return usageError("%w", err)
	}
	out, toStdout, err := c.openOut(env)
	if err != nil {
		return usageError("--out: %w", err)
	}
	if out != nil && !toStdout {
		defer out.Close()
	}
	listener, err := listen(env.ctx, c.Address)
	if err != nil {
		return usageError("%w", err)
	}
	told := newCollectorLog(env, c.JSON)
	collector := &collector{
		listener:  listener,
		framing:   c.Frame.Framing,
		limit:     int(c.MaxMessage),
		keepAlive: keepAlive,
		tls:       tlsConfig,
		out:       out,
		told:      told,
	}
	told.listening(listener.Addr())
	total, err := collector.run(env.ctx, env.force)
	c.printTotal(env, total, toStdout)
	if err == nil && total.Unread > 0 {
		err = fmt.Errorf("%d connections were closed before they were read to the end", total.Unread)
	}
	if err != nil {
		return &exitError{code: exitLoss, err: err}
	}
	return nil
}

// printTotal writes the total where it does not mix with messages.
func (c *recvCmd) printTotal(env *environment, total totals, toStdout bool) {
	w := env.stdout
	if toStdout {
		w = env.stderr
	}
	if c.JSON {
		writeJSON(w, total)
		return
	}
	io.WriteString(w, total.text())
}

func (c *recvCmd) openOut(env *environment) (out *os.File, toStdout bool, err error) {
	switch c.Out {
	case "":
		return nil, false, nil
	case "-":
		return env.stdout, true, nil
	}
	out, err = os.OpenFile(c.Out, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	return out, false, err
}

func (c *recvCmd) tlsConfig() (*tls.Config, error) {
	load, err := keyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, err
	}
	if load == nil {
		if c.TLSClients != "" {
			return nil, errors.New("--tls-client-ca: only together with --tls-cert and --tls-key")
		}
		return nil, nil
	}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() }}
	if c.TLSClients != "" {
		if config.ClientCAs, err = certPool("--tls-client-ca", c.TLSClients); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// keepAliveFor divides a budget: half of it idle, the rest three probes, in the
// whole seconds that the kernel wants (tcp(7)).
func keepAliveFor(budget time.Duration) (net.KeepAliveConfig, error) {
	const probes, longest = 3, 9 * time.Hour // the kernel takes at most 32,767 s
	if budget < 3*time.Second || budget > longest || budget%time.Second != 0 {
		return net.KeepAliveConfig{}, fmt.Errorf("%v; allowed: whole seconds from 3s to %v", budget, longest)
	}
	k := net.KeepAliveConfig{Enable: true, Count: probes}
	k.Interval = max(time.Second, (budget / (2 * probes)).Truncate(time.Second))
	if budget < (probes+1)*time.Second {
		k.Count = probes - 1
	}
	k.Idle = budget - time.Duration(k.Count)*k.Interval
	return k, nil
}
