package everconn

import "time"

// poisoned drops the oldest message if it was begun too often.
func (c *Client) poisoned() {
	limit := c.opts.MaxReplays
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 && c.ob.waiting.n > 0 && int(c.ob.waiting.front().begun) > limit {
		c.drop(c.ob.dropWaiting(DroppedReplays, c.opts.OnDrop != nil))
	}
}

// expire drops what is older than MaxAge. Client.mu is held.
func (c *Client) expire() {
	age := uint32(c.opts.Buffer.MaxAge.Milliseconds())
	if age == 0 {
		return
	}
	for now := c.clock(); c.ob.expired(now, age); {
		c.drop(c.ob.dropWaiting(DroppedExpired, c.opts.OnDrop != nil))
	}
}

// drop deals with a message that run has dropped. Client.mu is held.
func (c *Client) drop(d drop) {
	if c.opts.OnDrop == nil {
		c.ob.told(d)
	} else {
		c.events.drop(d)
	}
	c.events.dropped()
	c.settle()
}

// nextExpiry is when the oldest waiting message will be older than MaxAge, or
// zero.
func (c *Client) nextExpiry() time.Time {
	if c.opts.Buffer.MaxAge == 0 {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ob.waiting.n == 0 {
		return time.Time{}
	}
	age := time.Duration(c.clock()-c.ob.waiting.front().at) * time.Millisecond
	return time.Now().Add(c.opts.Buffer.MaxAge - age + time.Millisecond)
}
