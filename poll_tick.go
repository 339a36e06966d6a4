//go:build !linux

package everconn

import "time"

func newPoller() (poller, error) { return newTickPoller(100 * time.Millisecond), nil }
