package everconn

import "time"

// logEvery throttles the log during an outage.
const logEvery = time.Minute

// An outage is what run remembers of the time without a connection, for the log
// and for Event.Down. Connections that come and go are one outage to the log:
// it says so once a minute.
type outage struct {
	connected bool      // there has been a connection
	began     time.Time // zero: there is a connection, or there was none yet
	failures  int       // since the last WARN
	resend    Count     // begun on lost connections and not confirmed
	warned    time.Time // the last WARN
	open      bool      // a WARN wants its INFO
}

// failure notes, and perhaps logs, a failed attempt or a lost connection.
func (o *outage) failure(c *Client, cerr *ConnError, wait time.Duration, unconfirmed Count) {
	now := time.Now()
	if o.began.IsZero() {
		o.began = now
	}
	o.failures++
	o.resend = unconfirmed
	if cerr.By == ByClient || !o.warned.IsZero() && now.Sub(o.warned) < logEvery {
		return
	}
	s := c.Stats()
	c.opts.Logger.Warn().Str("endpoint", cerr.Endpoint).Str("op", cerr.Op).AnErr("cause", cerr.Cause).
		Stringer("by", cerr.By).Stringer("down", now.Sub(o.began)).Stringer("wait", wait).Int("failures", o.failures).
		Uint64("queued", s.Queued.Messages).Uint64("dropped", s.Dropped.Total().Messages).
		Msg("no connection to the collector; trying on")
	o.warned, o.open, o.failures = now, true, 0
}

// over notes, and perhaps logs, a new connection. It returns how long there was
// none; 0 before the first.
func (o *outage) over(c *Client, l *live) (down time.Duration) {
	if !o.began.IsZero() {
		down = time.Since(o.began)
	}
	if !o.connected || o.open {
		c.opts.Logger.Info().Str("endpoint", l.endpoint).Stringer("confirm", l.level).Stringer("down", down).
			Uint64("resending", o.resend.Messages).Msg("connected")
	}
	if l.level != c.opts.Confirm && !o.connected {
		c.opts.Logger.Warn().Str("endpoint", l.endpoint).Stringer("wanted", c.opts.Confirm).Stringer("confirm", l.level).
			Msg("the connection cannot report its send-queue; confirmation follows what was written")
	}
	if !o.connected {
		down = 0
	}
	o.connected, o.began, o.open, o.resend = true, time.Time{}, false, Count{}
	return down
}

func (c *Client) logKeepAlive(want, got KeepAlive) {
	c.opts.Logger.Warn().
		Stringer("idle", want.Idle).Stringer("interval", want.Interval).Int("count", want.Count).
		Stringer("got_idle", got.Idle).Stringer("got_interval", got.Interval).Int("got_count", got.Count).
		Msg("the kernel changed the keepalive values")
}

func (c *Client) logClosed(err error) {
	if err != nil {
		c.opts.Logger.Error().Err(err).Uint64("unconfirmed", c.Stats().Queued.Messages).Msg("closed")
	}
}
