package everconn

import (
	"container/list"
	"context"
)

// A roomWaiter is a Send that waits for room. It is granted room in turn, so
// that a large message is not overtaken for ever by small ones.
type roomWaiter struct {
	cost    int64
	granted chan struct{} // closed when cost has been reserved, or at the end
	place   *list.Element
}

// grantRoom reserves room for the senders that wait, the first first. Client.mu
// is held.
func (c *Client) grantRoom() {
	for e := c.senders.Front(); e != nil; e = c.senders.Front() {
		w := e.Value.(*roomWaiter)
		if !c.ob.fits(w.cost) {
			return
		}
		c.ob.charge += w.cost
		c.senders.Remove(e)
		w.place = nil
		close(w.granted)
	}
}

// waitRoom waits for room for a message of that cost, which is then reserved.
// It is called with Client.mu held, and returns with it held.
func (c *Client) waitRoom(ctx context.Context, cost int64) error {
	w := &roomWaiter{cost: cost, granted: make(chan struct{})}
	w.place = c.senders.PushBack(w)
	rouse := c.dozing // readings are due sooner while a sender waits
	c.dozing = false
	c.mu.Unlock()
	if rouse {
		c.poke()
	}
	select {
	case <-w.granted:
	case <-ctx.Done():
	case <-c.refusing:
	}
	c.mu.Lock()
	err := ctx.Err()
	if c.phase != phaseOpen {
		err = c.closedError()
	}
	switch {
	case w.place != nil:
		c.senders.Remove(w.place)
		if err == nil {
			panic("everconn: woken without room")
		}
	case err != nil:
		c.ob.charge -= cost
	}
	if err != nil {
		c.grantRoom() // a smaller one behind may fit now
	}
	return err
}

// sendFull deals with a message for which there is no room, or before which
// others wait. Client.mu is held, and unlocked.
func (c *Client) sendFull(ctx context.Context, msg []byte, cost int64, wait bool) (uint64, error) {
	switch {
	case c.opts.Buffer.Overflow == DropNewest, c.opts.Buffer.Overflow == DropOldest:
		return c.dropFor(msg, cost), nil
	case c.opts.Buffer.Overflow == Reject, !wait:
		c.mu.Unlock()
		return 0, ErrFull
	}
	if err := c.waitRoom(ctx, cost); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	c.ob.charge -= cost
	return c.acceptUnlock(msg), nil
}

// dropFor makes room for msg by dropping older messages, if that is the policy,
// or drops msg itself. Client.mu is held, and unlocked.
func (c *Client) dropFor(msg []byte, cost int64) uint64 {
	tell := c.opts.OnDrop != nil
	var drops []drop
	for c.opts.Buffer.Overflow == DropOldest && !c.ob.fits(cost) {
		d, ok := c.ob.dropOldest(tell)
		if !ok { // all that is left is partly written
			break
		}
		c.ob.told(d)
		if tell {
			drops = append(drops, d)
		}
	}
	c.events.dropped() // before the unlocking: after it the client may have ended
	var seq uint64
	if c.ob.fits(cost) {
		seq = c.acceptUnlock(msg)
	} else {
		seq = c.ob.refuse(msg)
		c.settle()
		c.mu.Unlock()
		if tell {
			drops = append(drops, drop{seq: seq, msg: append([]byte(nil), msg...), reason: DroppedNewest})
		}
	}
	for _, d := range drops {
		c.opts.OnDrop(d.seq, d.msg, d.reason)
	}
	return seq
}

// settle follows every change of the cursor confirmed and every release of
// room. Client.mu is held.
func (c *Client) settle() {
	c.grantRoom()
	if len(c.confirms) > 0 {
		c.confirms.release(c.ob.confirmedSeq())
	}
}
