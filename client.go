package everconn

import (
	"context"
	"io"
	"iter"
)

const queueReadable, userTimeoutSettable = true, true

func sameErrno(err, target error) bool { return false }

// Client STUB: signatures are final, bodies follow.
type Client struct{}

func New(addr string, o *Options) (*Client, error)                       { panic("stub") }
func Dial(ctx context.Context, addr string, o *Options) (*Client, error) { panic("stub") }
func (c *Client) Send(ctx context.Context, msg []byte) error             { panic("stub") }
func (c *Client) SendSeq(ctx context.Context, msg []byte) (seq uint64, err error) {
	panic("stub")
}
func (c *Client) TrySend(msg []byte) error                            { panic("stub") }
func (c *Client) Writer() io.Writer                                   { panic("stub") }
func (c *Client) Confirmed() uint64                                   { panic("stub") }
func (c *Client) WaitConfirmed(ctx context.Context, seq uint64) error { panic("stub") }
func (c *Client) Flush(ctx context.Context) error                     { panic("stub") }
func (c *Client) Shutdown(ctx context.Context) error                  { panic("stub") }
func (c *Client) Close() error                                        { panic("stub") }
func (c *Client) Done() <-chan struct{}                               { panic("stub") }
func (c *Client) Undelivered() iter.Seq[[]byte]                       { panic("stub") }
func (c *Client) WaitConnected(ctx context.Context) error             { panic("stub") }
func (c *Client) Reconnect()                                          { panic("stub") }
func (c *Client) State() State                                        { panic("stub") }
func (c *Client) Stats() Stats                                        { panic("stub") }
func (c *Client) Err() error                                          { panic("stub") }
