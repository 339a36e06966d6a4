//go:build !unix

package main

import (
	"io"
	"os"
	"sync"
)

// input reads a file until it is interrupted. Here nothing can wait for a file
// without reading it, so a goroutine reads ahead by one buffer; when the input
// is interrupted, what that goroutine reads afterwards is lost, and it ends with
// the process.
type input struct {
	stop      chan struct{}
	chunks    chan chunk
	rest      chunk
	interrupt func()
}

type chunk struct {
	data []byte
	err  error
}

func newInput(file *os.File) (*input, error) {
	in := &input{stop: make(chan struct{}), chunks: make(chan chunk)}
	in.interrupt = sync.OnceFunc(func() { close(in.stop) })
	go in.readAhead(file)
	return in, nil
}

func (in *input) readAhead(file io.Reader) {
	for {
		data := make([]byte, 64<<10)
		n, err := file.Read(data)
		select {
		case in.chunks <- chunk{data[:n], err}:
		case <-in.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read returns errInterrupted once interrupt has been called.
func (in *input) Read(p []byte) (int, error) {
	if len(in.rest.data) == 0 && in.rest.err == nil {
		select {
		case <-in.stop:
			return 0, errInterrupted
		case in.rest = <-in.chunks:
		}
	}
	n := copy(p, in.rest.data)
	in.rest.data = in.rest.data[n:]
	if len(in.rest.data) > 0 {
		return n, nil
	}
	return n, in.rest.err
}

// close frees what newInput has taken; the file stays open.
func (in *input) close() { in.interrupt() }
