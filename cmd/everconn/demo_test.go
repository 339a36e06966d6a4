package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
)

// runDemo runs the demo and returns what it wrote.
func runDemo(t *testing.T, d demoCmd) (stdout, stderr string, err error) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	env := &environment{ctx: t.Context(), force: t.Context(), stdout: open("out"), stderr: open("err")}
	err = d.Run(env)
	return read(env.stdout), read(env.stderr), err
}

// jsonResult returns the object on the last line of stdout, with exactly the
// keys that are promised among its own.
func jsonResult(t *testing.T, stdout string) actResult {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	last := []byte(lines[len(lines)-1])
	var keys map[string]json.RawMessage
	var r actResult
	for _, v := range []any{&keys, &r} {
		if err := json.Unmarshal(last, v); err != nil {
			t.Fatalf("%v: %q", err, last)
		}
	}
	for _, key := range []string{"accepted", "received", "lost", "duplicates", "torn", "out_of_order", "reconnects", "undelivered"} {
		var n uint64
		if err := json.Unmarshal(keys[key], &n); err != nil {
			t.Errorf("key %s: %v in %s", key, err, last)
		}
	}
	return r
}

func kernel() levelFlag { return levelFlag{everconn.Kernel} }

func TestDemoLosesNothing(t *testing.T) {
	t.Parallel()
	stdout, story, err := runDemo(t, demoCmd{JSON: true, Duration: 4 * time.Second, Rate: 3000, Confirm: kernel()})
	t.Logf("%s%s", story, stdout)
	if err != nil {
		t.Fatal(err)
	}
	r := jsonResult(t, stdout)
	if r.Accepted < 4000 || r.Received != r.Accepted || r.Lost+r.Torn+r.OutOfOrder+r.Undelivered+r.Unknown+r.Malformed != 0 {
		t.Errorf("%+v", r)
	}
	// Each fault but one ends a connection, and one ends three.
	if r.Faults != len(broken.Gentle) || r.Reconnects < uint64(len(broken.Gentle)-1) {
		t.Errorf("nothing was broken, or not everything: %+v", r)
	}
	if r.Level != "kernel" {
		t.Errorf("level %s", r.Level)
	}
	for _, fault := range broken.Gentle {
		if !strings.Contains(story, fault.Name) {
			t.Errorf("the story lacks %q", fault.Name)
		}
	}
	for _, want := range []string{"Level kernel promises", "Every one of the", fmt.Sprintf("seed %d", r.Seed)} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q", want)
		}
	}
}

// What the destructive act loses is in the collector's own record, to the
// message, and does not count as a failure.
func TestDemoShowsDestruction(t *testing.T) {
	t.Parallel()
	stdout, story, err := runDemo(t, demoCmd{JSON: true, Duration: 2 * time.Second, Rate: 3000, Confirm: kernel(), Destructive: true})
	t.Logf("%s%s", story, stdout)
	if err != nil {
		t.Fatal(err)
	}
	second := jsonResult(t, stdout).Destructive
	if second == nil {
		t.Fatal("no second act")
	}
	if second.Lost == 0 || second.Lost > second.Destroyed || second.Unexplained != 0 || second.damaged() {
		t.Errorf("second act: %+v", second)
	}
	if second.Received+second.Lost != second.Accepted {
		t.Errorf("the ledger does not balance: %+v", second)
	}
	if !strings.Contains(story, "The collector destroyed each of them itself") {
		t.Error("the story does not own up to the loss")
	}
}

// Level written loses what the collector's kernel had no room for, and the exit
// code admits it.
func TestDemoAtWritten(t *testing.T) {
	t.Parallel()
	stdout, _, err := runDemo(t, demoCmd{Duration: 2 * time.Second, Rate: 20_000, Confirm: levelFlag{everconn.Written}})
	t.Log(stdout)
	if code := exitCode(nil, err); code != exitBroken {
		t.Errorf("exit code %d, want %d", code, exitBroken)
	}
	if !strings.Contains(stdout, "LOST") {
		t.Error("the loss is not shown")
	}
}

func TestDemoRefusesBadValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		d    demoCmd
		want string
	}{
		{demoCmd{Duration: time.Second, Rate: 1}, "--duration is 1s; allowed: 2s to 10m"},
		{demoCmd{Duration: time.Hour, Rate: 1}, "--duration is 1h0m0s; allowed: 2s to 10m"},
		{demoCmd{Duration: 5 * time.Second}, "--rate is 0; allowed: 1 to 100000"},
		{demoCmd{Duration: 5 * time.Second, Rate: 1_000_000}, "--rate is 1000000; allowed: 1 to 100000"},
	} {
		stdout, _, err := runDemo(t, test.d)
		if err == nil || err.Error() != test.want || stdout != "" {
			t.Errorf("%+v: %v, %q", test.d, err, stdout)
		}
	}
}

func TestLedgerVerdict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		result actResult
		print  func(*actResult, *bytes.Buffer)
		want   string
	}{
		{"clean", actResult{Level: "kernel", Report: broken.Report{Accepted: 7, Received: 7}}, printFirst, "Every one of the 7 messages arrived whole and in order."},
		{"lost", actResult{Level: "kernel", Report: broken.Report{Accepted: 7, Received: 3, Lost: 4}, LostRuns: []broken.Run{{First: 2, Last: 4}, {First: 6, Last: 6}}}, printFirst, "LOST: 4 messages: 2–4, 6\n"},
		{"lost, not all named", actResult{Report: broken.Report{Lost: 9}, LostRuns: []broken.Run{{First: 2, Last: 4}}}, printFirst, "LOST: 9 messages: 2–4, …\n"},
		{"torn", actResult{Report: broken.Report{Torn: 1}}, printFirst, "DAMAGED: torn 1,"},
		{"lower level", actResult{Level: "written"}, printFirst, "the level was written, not kernel"},
		{"destroyed", actResult{Report: broken.Report{Lost: 2, Destroyed: 5}}, printSecond, "2 messages are LOST"},
		{"unexplained", actResult{Report: broken.Report{Lost: 2, Destroyed: 5, Unexplained: 1}}, printSecond, "UNEXPLAINED: 1 of the 2 lost"},
	} {
		var out bytes.Buffer
		test.print(&test.result, &out)
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: no %q in\n%s", test.name, test.want, out.String())
		}
		if clean := strings.Contains(out.String(), "Every one"); clean != (test.name == "clean" || test.name == "lower level") {
			t.Errorf("%s: the verdict is wrong:\n%s", test.name, out.String())
		}
	}
}

func printFirst(r *actResult, w *bytes.Buffer)  { r.print(w, everconn.Kernel) }
func printSecond(r *actResult, w *bytes.Buffer) { r.printDestruction(w) }
