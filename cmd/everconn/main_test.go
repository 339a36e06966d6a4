package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// asCommand makes the test binary behave as the command, so that the tests run
// the real thing in a process of its own without building it a second time.
const asCommand = "EVERCONN_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// process is a running command.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout bytes.Buffer
	stderr lineLog
	exited chan struct{} // closed once cmd.Wait has returned
}

// startEverconn starts the command. It is killed when the test ends, if need be.
func startEverconn(t *testing.T, args ...string) *process {
	t.Helper()
	return startProcess(t, everconnCommand(args...))
}

func everconnCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	// Under -race a process would linger for a second at its end.
	cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	return cmd
}

func startProcess(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
	p.stderr.init()
	cmd.Stdout = &p.stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stdin == nil {
		if p.stdin, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.stderr.read(stderr)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("stderr of %v:\n%s", cmd.Args[1:], p.stderr.tail(40))
		}
	})
	return p
}

// patience bounds the wait for what must happen; it is not a measure of speed.
const patience = 20 * time.Second

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("%v is still running after %v", p.cmd.Args[1:], patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// wantExit waits and compares.
func (p *process) wantExit(code int) {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Fatalf("exit code %d, want %d; stdout: %s", got, code, p.stdout.String())
	}
}

// lastJSON decodes the last line of stdout, after the end of the process.
func (p *process) lastJSON(v any) {
	p.t.Helper()
	lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), v); err != nil {
		p.t.Fatalf("last line of stdout %q: %v", lines[len(lines)-1], err)
	}
}

// lineLog gathers lines and lets a test wait for one.
type lineLog struct {
	mu    sync.Mutex // guards the following
	lines []string
	more  chan struct{} // closed and replaced at each line and at the end
	ended bool
}

func (l *lineLog) init() { l.more = make(chan struct{}) }

func (l *lineLog) read(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		l.add(scanner.Text(), false)
	}
	l.add("", true)
}

func (l *lineLog) add(line string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ended {
		l.ended = true
	} else {
		l.lines = append(l.lines, line)
	}
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lineLog) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// find returns the first line from index from on that holds substr, and the
// index after it.
func (l *lineLog) find(from int, substr string) (line string, next int, more chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := from; i < len(l.lines); i++ {
		if strings.Contains(l.lines[i], substr) {
			return l.lines[i], i + 1, nil, nil
		}
	}
	if l.ended {
		return "", 0, nil, errors.New("the output ended before it")
	}
	return "", len(l.lines), l.more, nil
}

// waitLine waits for a line of stderr that holds substr, from index from on, and
// returns it and the index after it.
func (p *process) waitLine(from int, substr string) (string, int) {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		line, next, more, err := p.stderr.find(from, substr)
		if err != nil {
			p.t.Fatalf("no line with %q: %v", substr, err)
		}
		if more == nil {
			return line, next
		}
		from = next
		select {
		case <-more:
		case <-timeout:
			p.t.Fatalf("no line with %q within %v", substr, patience)
		}
	}
}

// waitEvent waits for the next JSON event of that name and decodes it.
func (p *process) waitEvent(from int, name string, v any) int {
	p.t.Helper()
	line, next := p.waitLine(from, `"event":"`+name+`"`)
	if err := json.Unmarshal([]byte(line), v); err != nil {
		p.t.Fatalf("event %q: %v", line, err)
	}
	return next
}

// waitFile waits until the content of a file is what ok wants.
func waitFile(t *testing.T, file string, ok func([]byte) bool) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(time.Millisecond); ; <-tick {
		content, _ := os.ReadFile(file)
		if ok(content) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s is not as expected after %v; it has %d bytes", file, patience, len(content))
		default:
		}
	}
}

func TestUsageErrorsExit1(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, says string }{
		{"", "expected one of"},
		{"frobnicate", "frobnicate"},
		{"send", "host:port"},
		{"send nonsense", "nonsense"},
		{"send --frame morse h:1", `"morse": want raw, lf, octet, nul or u32`},
		{"send --confirm delivered h:1", `"delivered": want kernel or written`},
		{"send --overflow spill h:1", `"spill": want block, reject, drop-oldest or drop-newest`},
		{"send --buffer 8Megs h:1", `--buffer: size "8Megs": want a whole number`},
		{"send --buffer 1KiB h:1", "--buffer is 1024; allowed: 4 KiB to 1 TiB"},
		{"send --buffer 0 h:1", "--buffer is 0; allowed"},
		{"send --dead-after 1s h:1", "--dead-after is 1s; allowed: 3s"},
		{"send --dead-after 0 h:1", "--dead-after"},
		{"send --max-age 1us h:1", "--max-age is 1µs; allowed"},
		{"send --rate=-1 h:1", "--rate is -1; allowed"},
		{"send --drain-timeout=-1s h:1", "--drain-timeout is -1s; allowed"},
		{"send --preamble-reply OK h:1", "--preamble-reply: only together with --preamble"},
		{"send --frame octet --preamble= --preamble-reply OK h:1", "--preamble-reply"},
		{"send --stop-on-tls-error h:1", "--stop-on-tls-error: only together with --tls"},
		{"send --tls-ca /nonexistent h:1", "--tls-ca: open /nonexistent"},
		{"send --tls-ca main_test.go h:1", "--tls-ca main_test.go: no certificate"},
		{"send --tls-insecure --tls-ca main_test.go h:1", "contradict each other"},
		{"send --tls-cert main_test.go h:1", "--tls-cert and --tls-key go together"},
		{"recv", ":port"},
		{"recv 6000", "6000"},
		{"recv --dead-after 1s :0", "--dead-after: 1s; allowed: whole seconds from 3s"},
		{"recv --dead-after 3500ms :0", "--dead-after: 3.5s; allowed"},
		{"recv --max-message 0 :0", "--max-message"},
		{"recv --out /nonexistent/x :0", "--out: open /nonexistent/x"},
		{"recv --tls-client-ca main_test.go :0", "--tls-client-ca: only together"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			p := startEverconn(t, strings.Fields(c.args)...)
			p.stdin.Close()
			p.wantExit(exitUsage)
			if said := p.stderr.tail(3); !strings.Contains(said, c.says) {
				t.Errorf("stderr %q does not say %q", said, c.says)
			}
		})
	}
}

func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"send", "recv"} {
		p := startEverconn(t, command, "--help")
		p.wantExit(exitOK)
		for _, want := range []string{"Examples:", "everconn " + command, "Exit codes:"} {
			if !strings.Contains(p.stdout.String(), want) {
				t.Errorf("%s --help lacks %q", command, want)
			}
		}
	}
}
