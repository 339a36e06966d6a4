package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// demoRun runs the demo and returns the object that --json prints.
func demoRun(t *testing.T, d demoCmd) (demoReport, error) {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	env := &environment{ctx: t.Context(), force: t.Context(), stdout: open("out"), stderr: open("err")}
	err := d.Run(env)
	out, rerr := os.ReadFile(env.stdout.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	var r demoReport
	if len(out) > 0 {
		if jerr := json.Unmarshal(out, &r); jerr != nil {
			t.Fatalf("%v: %s", jerr, out)
		}
	}
	t.Logf("seed %d: %s", r.Seed, out)
	return r, err
}

func TestDemoLosesNothing(t *testing.T) {
	t.Parallel()
	r, err := demoRun(t, demoCmd{JSON: true, Duration: 4 * time.Second, Rate: 2000, Confirm: "kernel", Destructive: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Accepted == 0 || r.Received != r.Accepted || r.Lost+r.Torn+r.OutOfOrder+r.Undelivered+r.Unknown != 0 {
		t.Errorf("first act: %+v", r)
	}
	if r.Reconnects == 0 || r.Faults == 0 {
		t.Errorf("nothing was broken: %+v", r)
	}
	second := r.Destructive
	if second == nil || second.Destroyed == 0 || second.Unexplained != 0 {
		t.Errorf("second act, whose losses must be in the collector's record: %+v", second)
	}
}

func TestDemoRefusesBadValues(t *testing.T) {
	t.Parallel()
	for _, d := range []demoCmd{
		{Duration: time.Second, Rate: 1, Confirm: "kernel"},
		{Duration: 5 * time.Second, Rate: 0, Confirm: "kernel"},
		{Duration: 5 * time.Second, Rate: 1, Confirm: "acked"},
	} {
		if _, err := demoRun(t, d); err == nil {
			t.Errorf("%+v was accepted", d)
		}
	}
}
