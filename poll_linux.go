package everconn

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// epoll is one epoll instance that itself waits in Go's network poller: no
// thread, no tick, no cost while nothing happens.
type epoll struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events [128]unix.EpollEvent
}

func newPoller() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// A non-blocking descriptor is what makes os.NewFile use the network poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &epoll{fd: fd, file: file, raw: raw}, nil
}

func (p *epoll) add(w *watch) error    { return p.control(unix.EPOLL_CTL_ADD, w) }
func (p *epoll) change(w *watch) error { return p.control(unix.EPOLL_CTL_MOD, w) }
func (p *epoll) remove(w *watch)       { _ = p.control(unix.EPOLL_CTL_DEL, w) }

func (p *epoll) control(op int, w *watch) error {
	// Edge-triggered: RDHUP, ERR and HUP alone are not woken by data.
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLET}
	w.mu.Lock()
	if w.drain {
		ev.Events |= unix.EPOLLIN
	}
	w.mu.Unlock()
	ev.Fd, ev.Pad = int32(w.token), int32(w.token>>32)
	var err error
	if cerr := w.raw.Control(func(fd uintptr) { err = unix.EpollCtl(p.fd, op, int(fd), &ev) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("epoll_ctl", err)
}

func (p *epoll) wait(found []ready, block bool) ([]ready, error) {
	n, werr := 0, error(nil)
	err := p.raw.Read(func(fd uintptr) bool {
		n, werr = unix.EpollWait(int(fd), p.events[:], 0)
		if werr == unix.EINTR {
			n, werr = 0, nil
		}
		return n > 0 || werr != nil || !block
	})
	if err == nil {
		err = os.NewSyscallError("epoll_wait", werr)
	}
	for _, ev := range p.events[:max(n, 0)] {
		r := ready{token: uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32}
		if ev.Events&unix.EPOLLIN != 0 {
			r.what |= readable
		}
		if ev.Events&unix.EPOLLRDHUP != 0 {
			r.what |= peerClosed
		}
		if ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			r.what |= failed
		}
		found = append(found, r)
	}
	return found, err
}

func (p *epoll) close() { p.file.Close() }
