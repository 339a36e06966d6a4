package everconn

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TCP_USER_TIMEOUT is set if it is asked for, and TCP_RTO_MAX_MS where there is
// one (Linux 6.15).
func TestTimeoutsReachTheKernel(t *testing.T) {
	t.Parallel()
	_, raw := tuned(t, Liveness{DeadAfter: 12 * time.Second, UserTimeout: 5 * time.Second})
	get := func(opt int) (v int, err error) {
		if cerr := raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, opt) }); cerr != nil {
			t.Fatal(cerr)
		}
		return v, err
	}
	if v, err := get(unix.TCP_USER_TIMEOUT); v != 5000 || err != nil {
		t.Errorf("TCP_USER_TIMEOUT %d ms, %v", v, err)
	}
	v, err := get(unix.TCP_RTO_MAX_MS)
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel has no TCP_RTO_MAX_MS")
	}
	if v != 3000 || err != nil {
		t.Errorf("TCP_RTO_MAX_MS %d, %v", v, err)
	}
}
