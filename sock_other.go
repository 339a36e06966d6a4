//go:build !unix

package everconn

import (
	"crypto/tls"
	"net"
)

// openLink returns the link of a new connection, and the conn to be greeted
// through: with cfg, a TLS conn before its handshake. Here writes cannot be
// counted one by one.
func openLink(conn net.Conn, cfg *tls.Config, slot *causeSlot) (link, net.Conn) {
	return openStream(conn, cfg, slot)
}
