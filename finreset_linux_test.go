package everconn

import (
	"net"
	"testing"

	"github.com/everconn/everconn/internal/collector"
)

// A half-close that comes after the peer's reset sends no FIN, so none may be
// counted: it would confirm one byte that was never acknowledged.
func TestNoFINIsCountedAfterAReset(t *testing.T) {
	t.Parallel()
	ended := make(chan collector.Ended, 1)
	c, err := collector.Listen("127.0.0.1:0", collector.Config{ReadBuffer: 8 << 10, OnEnd: func(e collector.Ended) { ended <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Pause()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tc, raw := rawOf(conn)
	s := newSock(tc, raw, new(causeSlot))
	if _, err := s.Write(make([]byte, 512<<10)); err != nil { // more than the peer takes
		t.Fatal(err)
	}
	if err := c.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.End(collector.CrashUnread)
	e := <-ended
	if _, err := tc.Read(make([]byte, 1)); err == nil {
		t.Fatal("no reset")
	}
	if err := s.closeWrite(); err == nil {
		t.Fatal("the half-close succeeded")
	}
	if r := s.reading(true); !r.ok || r.acked > uint64(e.DestroyedBytes) {
		t.Errorf("acknowledged %d bytes, the peer's kernel had taken %d", r.acked, e.DestroyedBytes)
	}
}
