package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// errSecondSignal is the cause of the end of environment.force.
var errSecondSignal = errors.New("a second signal came")

// newEnvironment returns the environment of this process and a function that
// gives the signals back.
func newEnvironment() (*environment, func()) {
	// A reader of our output that goes away must not take the shipping with it:
	// writes then fail with EPIPE, which is not fatal.
	signal.Ignore(syscall.SIGPIPE)

	ctx, soft := context.WithCancel(context.Background())
	force, hard := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for _, end := range []func(){soft, func() { hard(errSecondSignal) }} {
			select {
			case <-signals:
			case <-quit:
			}
			end()
		}
	}()
	env := &environment{
		ctx: ctx, force: force,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		isTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		width:      stderrWidth,
	}
	return env, func() {
		signal.Stop(signals)
		close(quit)
		<-gone
	}
}

// stopSignals are the signals that end a command in good order. nohup(1) and
// shells start background jobs with some of them ignored; that is respected.
func stopSignals() []os.Signal {
	var list []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
}

func stderrWidth() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}
