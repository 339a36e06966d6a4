package everconn

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/everconn/everconn/wire"
)

func noDial(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }

func keepAlive(idle, interval time.Duration, count int) Liveness {
	return Liveness{KeepAlive: KeepAlive{Idle: idle, Interval: interval, Count: count}}
}

// TestBadOptions wants of every refusal the field's name, its value and what is
// allowed.
func TestBadOptions(t *testing.T) {
	t.Parallel()
	const s, ms = time.Second, time.Millisecond
	type test struct {
		field, value, allowed string
		o                     Options
	}
	beat := func(interval, timeout time.Duration, payload string) Options {
		return Options{Framing: wire.LF, Heartbeat: Heartbeat{Interval: interval, Timeout: timeout, Payload: []byte(payload)}}
	}
	tests := []test{
		{"Confirm", "Level(2)", "kernel or written", Options{Confirm: Written + 1}},
		{"Framing", "Framing(200)", "package wire", Options{Framing: 200}},
		{"ConnectTimeout", "9ms", "10ms to 24h", Options{ConnectTimeout: 9 * ms}},
		{"ConnectTimeout", "-1s", "10ms to 24h", Options{ConnectTimeout: -s}},
		{"ConnectTimeout", "24h0m0.001s", "10ms to 24h", Options{ConnectTimeout: 24*time.Hour + ms}},
		{"Backoff.Base", "999µs", "1ms to 24h", Options{Backoff: Backoff{Base: 999 * time.Microsecond}}},
		{"Backoff.Base", "25h0m0s", "1ms to 24h", Options{Backoff: Backoff{Base: 25 * time.Hour}}},
		{"Backoff.Cap", "1s", "Backoff.Base (2s) to 24h", Options{Backoff: Backoff{Base: 2 * s, Cap: s}}},
		{"Backoff.Cap", "25h0m0s", "to 24h", Options{Backoff: Backoff{Cap: 25 * time.Hour}}},
		{"Buffer.MaxBytes", "4095", "4 KiB to 1 TiB", Options{Buffer: Buffer{MaxBytes: 4095}}},
		{"Buffer.MaxBytes", "-1", "4 KiB to 1 TiB", Options{Buffer: Buffer{MaxBytes: -1}}},
		{"Buffer.MaxBytes", "1099511627777", "4 KiB to 1 TiB", Options{Buffer: Buffer{MaxBytes: 1<<40 + 1}}},
		{"Buffer.Overflow", "Overflow(4)", "Block, Reject, DropOldest or DropNewest", Options{Buffer: Buffer{Overflow: DropNewest + 1}}},
		{"Buffer.MaxAge", "999µs", "1ms to 576h", Options{Buffer: Buffer{MaxAge: 999 * time.Microsecond}}},
		{"Buffer.MaxAge", "-1s", "1ms to 576h", Options{Buffer: Buffer{MaxAge: -s}}},
		{"Buffer.MaxAge", "577h0m0s", "1ms to 576h", Options{Buffer: Buffer{MaxAge: 577 * time.Hour}}},
		{"MaxConnAge", "999ms", "at least 1s", Options{MaxConnAge: 999 * ms}},
		{"MaxReplays", "-1", "0 (unlimited) or more", Options{MaxReplays: -1}},
		{"Heartbeat.Interval", "0s", "at least 10ms", beat(0, 0, "x")},
		{"Heartbeat.Interval", "0s", "at least 10ms", beat(0, s, "")},
		{"Heartbeat.Interval", "9ms", "at least 10ms", beat(9*ms, s, "x")},
		{"Heartbeat.Timeout", "9ms", "at least 10ms", beat(s, 9*ms, "x")},
		{"Heartbeat.Payload", "0 bytes", "1 to 1024 bytes", beat(s, 0, "")},
		{"Heartbeat.Payload", "1025 bytes", "1 to 1024 bytes", beat(s, 0, strings.Repeat("x", 1025))},
		{"Heartbeat.Payload", "", wire.ErrDelimiter.Error(), beat(s, 0, "a\nb")},
		{"Liveness.DeadAfter", "2.999s", "3s to 24h", Options{Liveness: Liveness{DeadAfter: 2999 * ms, KeepAlive: KeepAlive{Disable: true}}}},
		{"Liveness.DeadAfter", "1s", "3s to 24h", Options{Liveness: Liveness{DeadAfter: s}}},
		{"Liveness.DeadAfter", "24h0m1s", "3s to 24h", Options{Liveness: Liveness{DeadAfter: 24*time.Hour + s}}},
		{"Liveness.DeadAfter", "2s", "not less than what KeepAlive adds up to", Options{Liveness: keepAlive(s, s, 1)}},
		{"Liveness.KeepAlive.Disable", "true", "only without Idle", Options{Liveness: Liveness{KeepAlive: KeepAlive{Disable: true, Count: 3}}}},
		{"Liveness.KeepAlive.Idle", "0s", "set all of Idle, Interval and Count", Options{Liveness: keepAlive(0, s, 3)}},
		{"Liveness.KeepAlive.Idle", "1.5s", "whole seconds", Options{Liveness: keepAlive(1500*ms, s, 3)}},
		{"Liveness.KeepAlive.Idle", "9h6m8s", "1s to 32767s", Options{Liveness: keepAlive(32768*s, s, 3)}},
		{"Liveness.KeepAlive.Interval", "0s", "set all of Idle, Interval and Count", Options{Liveness: keepAlive(s, 0, 3)}},
		{"Liveness.KeepAlive.Interval", "500ms", "whole seconds", Options{Liveness: keepAlive(s, 500*ms, 3)}},
		{"Liveness.KeepAlive.Count", "0", "1 to 127", Options{Liveness: keepAlive(s, s, 0)}},
		{"Liveness.KeepAlive.Count", "128", "1 to 127", Options{Liveness: keepAlive(s, s, 128)}},
		{"Liveness.MaxStall", "999ms", "at least 1s", Options{Liveness: Liveness{MaxStall: 999 * ms}}},
	}
	tooMuch := keepAlive(10*s, 5*s, 3)
	tooMuch.DeadAfter = 20 * s
	tests = append(tests, test{"Liveness.KeepAlive", "10s + 3 × 5s = 25s", "DeadAfter (20s)", Options{Liveness: tooMuch}})
	if userTimeoutSettable {
		tests = append(tests,
			test{"Liveness.UserTimeout", "999ms", "1s to DeadAfter (30s)", Options{Liveness: Liveness{UserTimeout: 999 * ms}}},
			test{"Liveness.UserTimeout", "31s", "1s to DeadAfter (30s)", Options{Liveness: Liveness{UserTimeout: 31 * s}}})
	} else {
		tests = append(tests, test{"Liveness.UserTimeout", "5s", "no TCP_USER_TIMEOUT", Options{Liveness: Liveness{UserTimeout: 5 * s}}})
	}
	if queueReadable {
		tests = append(tests, test{"KernelStrict", "true", "not together with DialContext", Options{KernelStrict: true, DialContext: noDial}})
	} else {
		tests = append(tests, test{"KernelStrict", "true", "no send-queue reading", Options{KernelStrict: true}})
	}
	for _, test := range tests {
		c, err := New("127.0.0.1:9", &test.o)
		if err == nil {
			c.Close()
			t.Errorf("Options.%s = %s was accepted", test.field, test.value)
			continue
		}
		is := ""
		if test.value != "" {
			is = " is " + test.value + ";"
		}
		if msg := err.Error(); !strings.Contains(msg, test.field+is) || !strings.Contains(msg, test.allowed) {
			t.Errorf("Options.%s = %s: error %q does not name field, value, and %q", test.field, test.value, msg, test.allowed)
		}
		if _, err := Dial(t.Context(), "127.0.0.1:9", &test.o); err == nil {
			t.Errorf("Options.%s = %s was accepted by Dial", test.field, test.value)
		}
	}
}

// TestGoodOptions takes the last values that are allowed.
func TestGoodOptions(t *testing.T) {
	t.Parallel()
	const s, ms, day = time.Second, time.Millisecond, 24 * time.Hour
	for name, o := range map[string]Options{
		"zero":          {},
		"smallest":      {ConnectTimeout: 10 * ms, Backoff: Backoff{Base: ms, Cap: ms}, Buffer: Buffer{MaxBytes: 4 << 10, MaxAge: ms}, MaxConnAge: s, Liveness: Liveness{DeadAfter: 3 * s, MaxStall: s}},
		"largest":       {ConnectTimeout: day, Backoff: Backoff{Base: day, Cap: day}, Buffer: Buffer{MaxBytes: 1 << 40, MaxAge: 24 * day}, Liveness: Liveness{DeadAfter: day}},
		"base only":     {Backoff: Backoff{Base: time.Minute}},
		"heartbeat":     {Framing: wire.LF, Heartbeat: Heartbeat{Interval: 10 * ms, Timeout: 10 * ms, Payload: make([]byte, 1<<10)}},
		"keepalive":     {Liveness: keepAlive(s, s, 2)},
		"keepalive max": {Liveness: keepAlive(32767*s, s, 127)},
		"no keepalive":  {Liveness: Liveness{KeepAlive: KeepAlive{Disable: true}}},
		"levels":        {Confirm: Written, KernelStrict: true, DialContext: noDial},
	} {
		if err := o.withDefaults().validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	payload, cfg := []byte("ping"), &tls.Config{ServerName: "a"}
	o := Options{TLS: cfg, Heartbeat: Heartbeat{Interval: 7 * time.Second, Payload: payload}}.withDefaults()
	if o.TLS == cfg || o.TLS.ServerName != "a" {
		t.Error("TLS was not cloned")
	}
	if payload[0] = 'X'; string(o.Heartbeat.Payload) != "ping" {
		t.Error("Heartbeat.Payload was not copied")
	}
	for _, d := range []struct {
		name      string
		got, want any
	}{
		{"Confirm", o.Confirm, Kernel},
		{"ConnectTimeout", o.ConnectTimeout, 10 * time.Second},
		{"Backoff.Base", o.Backoff.Base, 500 * time.Millisecond},
		{"Backoff.Cap", o.Backoff.Cap, 15 * time.Second},
		{"Backoff.Cap above Base", Options{Backoff: Backoff{Base: time.Minute}}.withDefaults().Backoff.Cap, time.Minute},
		{"Buffer.MaxBytes", o.Buffer.MaxBytes, int64(8 << 20)},
		{"Buffer.Overflow", o.Buffer.Overflow, Block},
		{"Heartbeat.Timeout", o.Heartbeat.Timeout, 7 * time.Second},
		{"Liveness.DeadAfter", o.Liveness.DeadAfter, 30 * time.Second},
		{"Liveness.KeepAlive", o.Liveness.KeepAlive, KeepAlive{Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}},
	} {
		if d.got != d.want {
			t.Errorf("%s: default %v, want %v", d.name, d.got, d.want)
		}
	}
}

// TestKeepAliveKeepsTheBudget: what is derived from DeadAfter is valid, and
// adds up to no more.
func TestKeepAliveKeepsTheBudget(t *testing.T) {
	t.Parallel()
	budgets := []time.Duration{3 * time.Second, 3999 * time.Millisecond, 4 * time.Second, 5 * time.Second, 30 * time.Second}
	for d := 6 * time.Second; d <= 24*time.Hour; d += 7777 * time.Millisecond {
		budgets = append(budgets, d)
	}
	budgets = append(budgets, 24*time.Hour)
	for _, d := range budgets {
		l := Liveness{DeadAfter: d}.withDefaults()
		if err := l.validate(); err != nil {
			t.Errorf("DeadAfter %v: %v", d, err)
		}
		k := l.KeepAlive
		if b := k.Idle + time.Duration(k.Count)*k.Interval; l.DeadAfter != d || b > d || b < min(d-time.Second, time.Hour) {
			t.Errorf("DeadAfter %v became %v, with keepalive %v + %d × %v = %v", d, l.DeadAfter, k.Idle, k.Count, k.Interval, b)
		}
	}
	l := keepAlive(4*time.Second, 2*time.Second, 5).withDefaults()
	if want := 14 * time.Second; l.DeadAfter != want {
		t.Errorf("keepalive alone makes DeadAfter %v, want %v", l.DeadAfter, want)
	}
}

// TestParseNames: what String writes, Parse reads, and a refusal says what is
// allowed.
func TestParseNames(t *testing.T) {
	t.Parallel()
	for _, l := range []Level{Kernel, Written} {
		if got, err := ParseLevel(l.String()); got != l || err != nil {
			t.Errorf("ParseLevel(%q) = %v, %v", l, got, err)
		}
	}
	for _, o := range []Overflow{Block, Reject, DropOldest, DropNewest} {
		if got, err := ParseOverflow(o.String()); got != o || err != nil {
			t.Errorf("ParseOverflow(%q) = %v, %v", o, got, err)
		}
	}
	if _, err := ParseLevel("peer"); err == nil || !strings.Contains(err.Error(), `"peer": want kernel or written`) {
		t.Errorf("ParseLevel: %v", err)
	}
	if _, err := ParseOverflow("drop"); err == nil || !strings.Contains(err.Error(), `"drop": want block, reject, drop-oldest or drop-newest`) {
		t.Errorf("ParseOverflow: %v", err)
	}
}
