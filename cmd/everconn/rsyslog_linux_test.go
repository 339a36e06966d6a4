package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRsyslogIsStoppedAndStarted ships a log file of 200,000 lines to a real
// rsyslog (imtcp, octet counting), which is stopped with SIGTERM and started
// again on the way, and compares what it stored line by line. It needs rsyslogd
// and nothing else: Debian's package "rsyslog". It runs as any user, on a free
// port of the loopback interface.
//
// What the level Kernel promises is that a line is missing only if rsyslog's
// kernel had it and rsyslog had not read it when it was stopped. Such lines are
// an unbroken run up to the last line confirmed before that stop, and fit into
// the receive buffer; rsyslog itself queues nothing here (queue.type "Direct").
func TestRsyslogIsStoppedAndStarted(t *testing.T) {
	for name, rate := range map[string]int{"40,000 lines a second": 40_000, "as fast as it goes": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shipToRsyslog(t, rate)
		})
	}
}

func shipToRsyslog(t *testing.T, rate int) {
	const lines, stops = 200_000, 5
	rsyslog := newRsyslog(t)
	source := newLogFile(t, lines)

	rsyslog.start()
	s := startProcess(t, everconnCommand("send", "--json", "--frame", "octet", "--rate", strconv.Itoa(rate),
		"--backoff-base", "20ms", "--backoff-cap", "100ms", rsyslog.address))
	stopped := make(chan struct{})
	fed := make(chan error, 1)
	go func() { fed <- source.feed(s.stdin, stopped) }()

	var confirmed []int // the last line confirmed before each stop
	seen := 0
	for range stops {
		rsyslog.waitStored(source.size / (2 * stops))
		rsyslog.stop()
		// Nothing listens, so from the failed attempt that follows the loss on,
		// nothing can be confirmed. No line was refused, so its count is a line.
		var e struct{ Confirmed int }
		seen = s.waitEvent(seen, "disconnected", &e)
		seen = s.waitEvent(seen, "attempt-failed", &e)
		confirmed = append(confirmed, e.Confirmed)
		rsyslog.start()
	}
	close(stopped)
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	s.wantExit(exitOK)
	var got result
	s.lastJSON(&got)
	if got.Accepted != lines || got.Confirmed != lines || got.Refused+got.Empty != 0 || got.Reconnects < stops {
		t.Errorf("result %+v", got)
	}
	rsyslog.stop()
	stored := readStored(t, rsyslog.stored, source)
	t.Logf("confirmed before the stops: %v; %d reconnects, %d resent, %d duplicates stored",
		confirmed, got.Reconnects, got.Resent, stored.duplicates)
	if stored.duplicates > int(got.Resent) {
		t.Errorf("%d duplicates were stored, %d were resent", stored.duplicates, got.Resent)
	}
	checkMissing(t, source, stored, confirmed)
}

// rsyslog is an rsyslogd of our own.
type rsyslog struct {
	t       *testing.T
	args    []string
	address string
	stored  string // what it received, a line each
	own     string // what it has to say itself
	process *process
	before  int64 // bytes stored before it was last started
}

func newRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/rsyslogd"); err != nil {
			t.Skip("needs rsyslogd (Debian: apt-get install rsyslog)")
		}
	}
	dir := t.TempDir()
	r := &rsyslog{t: t, address: nobody(t), stored: filepath.Join(dir, "stored.log"), own: filepath.Join(dir, "own.log")}
	host, port, _ := strings.Cut(r.address, ":")
	config := fmt.Sprintf(`
global(workDirectory=%[1]q maxMessageSize="64k" net.enableDNS="off")
main_queue(queue.type="Direct")
module(load="imtcp")
template(name="raw" type="string" string="%%rawmsg%%\n")
ruleset(name="stored" queue.type="Direct") {
	action(type="omfile" file=%[2]q template="raw")
}
input(type="imtcp" address=%[3]q port=%[4]q supportOctetCountedFraming="on" ruleset="stored")
action(type="omfile" file=%[5]q)
`, dir, r.stored, host, port, r.own)
	file := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r.args = []string{program, "-n", "-f", file, "-i", filepath.Join(dir, "rsyslogd.pid")}
	t.Cleanup(func() {
		if own, err := os.ReadFile(r.own); t.Failed() && err == nil {
			t.Logf("rsyslog says:\n%s", own)
		}
	})
	return r
}

func (r *rsyslog) start() {
	r.t.Helper()
	r.before = r.size()
	r.process = startProcess(r.t, exec.Command(r.args[0], r.args[1:]...))
}

func (r *rsyslog) stop() {
	r.t.Helper()
	r.process.signal(syscall.SIGTERM)
	r.process.wantExit(0)
}

// size returns how many bytes are stored.
func (r *rsyslog) size() int64 {
	info, err := os.Stat(r.stored)
	if err != nil {
		return 0 // not yet
	}
	return info.Size()
}

// waitStored waits until so many bytes have been stored since the last start.
func (r *rsyslog) waitStored(size int64) {
	r.t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(5 * time.Millisecond); r.size() < r.before+size; <-tick {
		select {
		case <-deadline:
			r.t.Fatalf("rsyslog has not stored %d bytes within %v", size, patience)
		default:
		}
	}
}

// logFile is a log file of numbered lines, each of which follows from its
// number and the seed.
type logFile struct {
	path string
	size int64
	line []string // from index 1 on
}

func newLogFile(t *testing.T, lines int) *logFile {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	words := strings.Fields("request served cache miss user session opened closed retry timeout upstream 404 200 GET POST /index")
	f := &logFile{path: filepath.Join(t.TempDir(), "app.log"), line: make([]string, lines+1)}
	file, err := os.Create(f.path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	var b strings.Builder
	for n := 1; n <= lines; n++ {
		b.Reset()
		fmt.Fprintf(&b, "<13>1 2026-01-01T00:00:00Z host app - - - line %06d", n)
		count := 2 + random.IntN(20)
		if random.IntN(1000) == 0 {
			count = 1000 // longer than a buffer here and there
		}
		for range count {
			b.WriteString(" " + words[random.IntN(len(words))])
		}
		f.line[n] = b.String()
		f.size += int64(len(f.line[n])) + 1
		w.WriteString(f.line[n] + "\n")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// feed writes the file to w and closes it. The last eighth waits for a signal,
// so that whoever takes it cannot have come to the end before.
func (f *logFile) feed(w io.WriteCloser, last <-chan struct{}) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.CopyN(w, file, f.size*7/8); err != nil {
		return err
	}
	<-last
	if _, err := io.Copy(w, file); err != nil {
		return err
	}
	return w.Close()
}

// storedLines is what rsyslog stored of a logFile.
type storedLines struct {
	has        []bool // by number
	duplicates int
}

// readStored compares each stored line with the one of its number; any other
// line is torn.
func readStored(t *testing.T, path string, source *logFile) storedLines {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stored := storedLines{has: make([]bool, len(source.line))}
	latest, torn, disordered := 0, 0, 0
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		n := 0
		if _, after, ok := strings.Cut(scanner.Text(), " line "); ok && len(after) >= 6 {
			n, _ = strconv.Atoi(after[:6])
		}
		switch {
		case n < 1 || n >= len(source.line) || source.line[n] != scanner.Text():
			if torn++; torn <= 10 {
				t.Errorf("torn: %.200q", scanner.Text())
			}
		case stored.has[n]:
			stored.duplicates++
		default:
			stored.has[n] = true
			if n < latest {
				disordered++
			}
			latest = max(latest, n)
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	if torn+disordered > 0 {
		t.Errorf("%d lines are torn, %d came out of order", torn, disordered)
	}
	return stored
}

// checkMissing reports each run of missing lines, and fails for one that is not
// rsyslog's own.
func checkMissing(t *testing.T, source *logFile, stored storedLines, confirmed []int) {
	t.Helper()
	buffer := receiveBuffer(t)
	own := make(map[int]bool)
	for _, n := range confirmed {
		own[n] = true
	}
	for first := 1; first < len(stored.has); first++ {
		if stored.has[first] {
			continue
		}
		last, size := first, 0
		for ; last < len(stored.has) && !stored.has[last]; last++ {
			size += len(source.line[last]) + len("0000 ")
		}
		last--
		t.Logf("lines %d to %d (%d bytes) are missing", first, last, size)
		switch {
		case !own[last]:
			t.Errorf("lines %d to %d are missing, and %d is not the last line confirmed before a stop", first, last, last)
		case size > buffer:
			t.Errorf("lines %d to %d are missing: %d bytes, more than the receive buffer of %d", first, last, size, buffer)
		}
		first = last
	}
}

// receiveBuffer is the most that the kernel holds for a connection: the upper
// limit of tcp_rmem, since rsyslog leaves the buffer to the kernel.
func receiveBuffer(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(content))
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		t.Fatal(err)
	}
	return size
}
