package everconn

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package if a goroutine of its code outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leakedGoroutines(2 * time.Second); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines outlive the tests:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// leakedGoroutines returns the stacks of this package's goroutines that are
// still there after the wait, without the calling one.
func leakedGoroutines(wait time.Duration) []string {
	deadline := time.Now().Add(wait)
	for {
		left := packageGoroutines()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func packageGoroutines() (found []string) {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	stacks := strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
	for _, s := range stacks[1:] { // the first one is the caller's
		if strings.Contains(s, "github.com/everconn/everconn.") {
			found = append(found, s)
		}
	}
	return found
}

// TestLeakCheckSees makes sure that the check at the end can fail.
func TestLeakCheckSees(t *testing.T) {
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		close(begun)
		<-release
	}()
	<-begun
	seen := false
	for _, s := range packageGoroutines() {
		seen = seen || strings.Contains(s, "TestLeakCheckSees.func")
	}
	close(release)
	<-ended
	if !seen {
		t.Error("a goroutine that waits in this package was not found")
	}
}

// underRace reports whether the race detector is on; it allocates by itself.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
