package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal of 200 columns.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 200}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestSendOnATerminal: one line, drawn again and again; notices stand above it.
func TestSendOnATerminal(t *testing.T) {
	t.Parallel()
	ours, theirs := openTerminal(t)
	r := startRecv(t, "--frame", "nul")
	cmd := everconnCommand("send", "--frame", "nul", r.address)
	cmd.Stderr = theirs
	cmd.Stdin = strings.NewReader("good\nba\x00d\n")
	cmd.Run() // exit code 2, for the bad line
	theirs.Close()
	screen, _ := io.ReadAll(ours) // ends with EIO: nobody holds the other end
	shown := string(screen)
	notice := strings.Index(shown, "refused (line 2): ")
	line := strings.LastIndex(shown, "\rclosed "+r.address+" | ")
	if notice < 0 || line < notice {
		t.Errorf("shown: %q", shown)
	}
	if !strings.HasSuffix(shown, "| queued 0 | in flight 0 | resent 0 | reconnects 0 | refused 1\x1b[K\r\n") {
		t.Errorf("shown: %q", shown)
	}
	r.stop(exitOK)
}
