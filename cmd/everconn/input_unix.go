//go:build unix

package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// input reads a file until it is interrupted. It waits for the file to become
// readable before it reads, so that an interrupted input has taken nothing from
// a pipe that it does not return. (Non-blocking mode would do it too, but it is
// a property of the open file, which a shell shares with us.)
type input struct {
	file       *os.File
	wake, wait *os.File // the two ends of a pipe; closing wake interrupts
	interrupt  func()
}

func newInput(file *os.File) (*input, error) {
	wait, wake, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in := &input{file: file, wake: wake, wait: wait}
	in.interrupt = sync.OnceFunc(func() { wake.Close() })
	return in, nil
}

// Read returns errInterrupted once interrupt has been called.
func (in *input) Read(p []byte) (int, error) {
	for {
		fds := []unix.PollFd{
			{Fd: int32(in.wait.Fd()), Events: unix.POLLIN},
			{Fd: int32(in.file.Fd()), Events: unix.POLLIN},
		}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case fds[0].Revents != 0:
			return 0, errInterrupted
		case fds[1].Revents&unix.POLLNVAL != 0:
			return 0, io.EOF // standard input was closed by our parent
		}
		return in.file.Read(p)
	}
}

// close frees what newInput has taken; file stays open.
func (in *input) close() {
	in.interrupt()
	in.wait.Close()
}
