// Command everconn shows what the library does: it ships the lines of its
// standard input over one connection that stays up (send), collects them for
// trying things out (recv), and demonstrates both on a collector that is being
// broken all along (demo).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line. Its fields are the commands.
type cli struct {
	Send sendCmd `cmd:"" help:"Ship the lines of standard input to a collector, and never give up."`
	Recv recvCmd `cmd:"" help:"Collect messages and report how each connection ended."`
	Demo demoCmd `cmd:"" help:"Break a collector on purpose and show that nothing is lost."`
}

// Exit codes, a part of the command's contract.
const (
	exitOK      = 0 // all is confirmed at the chosen level
	exitUsage   = 1 // the command line or a file it names cannot be used
	exitLoss    = 2 // something was dropped, refused or not confirmed
	exitStopped = 3 // the client stopped for good
)

// exitError is an error of a command that says with which code to exit. Its
// err may be nil: then everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError marks err as the user's to mend: exit code 1.
func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// environment is what a command may use of its process.
type environment struct {
	// ctx ends at the first SIGINT, SIGTERM or SIGHUP: stop in good order.
	ctx context.Context
	// force ends at the second: stop at once.
	force context.Context

	stdin  *os.File
	stdout *os.File
	stderr *os.File
	// isTerminal reports whether stderr is a terminal.
	isTerminal bool
	// width returns the terminal's width in columns, 80 if it is unknown.
	width func() int
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run parses args, runs the command they name and returns the exit code.
func run(args []string) int {
	parser, err := kong.New(&cli{},
		kong.Name("everconn"),
		kong.Description("One long-lived TCP or TLS connection from a producer to its collector that stays up, "+
			"keeps every message whole and in order, and tells the truth about what has arrived."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		panic(err) // a mistake in the tags of the commands
	}
	selected, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		return exitUsage
	}
	env, stop := newEnvironment()
	defer stop()
	return exitCode(parser, selected.Run(env))
}

// exitCode says what went wrong, if anything is left to be said.
func exitCode(parser *kong.Kong, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitUsage, err: err}
	}
	if exit.err != nil {
		parser.Errorf("%s", exit.err)
	}
	return exit.code
}
