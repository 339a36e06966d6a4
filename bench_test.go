package everconn

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/everconn/everconn/wire"
)

// sinkClient returns a client whose collector reads and discards.
func sinkClient(tb testing.TB, o *Options) *Client {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(struct{ io.Writer }{io.Discard}, conn)
			conn.Close()
		}
	}()
	c, err := Dial(context.Background(), ln.Addr().String(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		ln.Close()
		<-ended
	})
	return c
}

// TestSendDoesNotAllocate counts the allocations of the whole process: those of
// Send, and those of writing and confirming what it accepted.
func TestSendDoesNotAllocate(t *testing.T) {
	if underRace() {
		t.Skip("the race detector allocates")
	}
	ctx, msg := context.Background(), make([]byte, 200)
	for i := range msg {
		msg[i] = 'x'
	}
	for _, f := range allFramings {
		c := sinkClient(t, &Options{Framing: f})
		send := func() {
			if err := c.Send(ctx, msg); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 { // fill the pools
			send()
		}
		if n := testing.AllocsPerRun(20_000, send); n != 0 {
			t.Errorf("%v: %v allocations per Send, want 0", f, n)
		}
		c.Close()
	}
}

func BenchmarkSend(b *testing.B) {
	for _, f := range allFramings {
		b.Run(f.String(), func(b *testing.B) {
			c := sinkClient(b, &Options{Framing: f})
			ctx, msg := context.Background(), make([]byte, 200)
			for i := range msg {
				msg[i] = 'x'
			}
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send(ctx, msg); err != nil {
					b.Fatal(err)
				}
			}
			if err := c.Flush(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOutbox is the life of a message without the network: accepted, lent
// and written with 99 others, confirmed.
func BenchmarkOutbox(b *testing.B) {
	o := newOutbox(wire.LF, 8<<20)
	msg := make([]byte, 200)
	bufs := make([][]byte, 0, 64)
	var sent uint64
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	flush := func() {
		for o.unwritten() {
			n := 0
			for _, p := range o.take(bufs, 1<<20) {
				n += len(p)
			}
			o.wrote(n)
			sent += uint64(n)
		}
		o.confirm(sent)
	}
	for i := 0; b.Loop(); i++ {
		if o.accept(msg, 0); i%100 == 99 {
			flush()
		}
	}
}
