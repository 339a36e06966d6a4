//go:build !linux

package collector

import (
	"net"
	"syscall"
	"time"
)

const canPeek = false

// refuseMore only tells the peer that we are done: other kernels throw unread
// data away when the receiving side is shut down.
func refuseMore(tcp *net.TCPConn) error { return tcp.CloseWrite() }

func freeze(*net.TCPConn) bool                   { return false }
func thaw(*net.TCPConn)                          {}
func peek(*net.TCPConn) (unread []byte, ok bool) { return nil, false }

// awaitUnread cannot look, so it gives data time to come.
func awaitUnread(_ *net.TCPConn, d time.Duration) { time.Sleep(d) }

// readBufferControl leaves the receive buffer as it is.
func readBufferControl(int) func(network, address string, raw syscall.RawConn) error { return nil }
