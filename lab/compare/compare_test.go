package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"
)

// Every producer that can be run here ships and is judged, and everconn at
// Kernel loses nothing.
func TestCompare(t *testing.T) {
	var out bytes.Buffer
	c := config{json: true, duration: 2 * time.Second, rate: 1000, seed: 11}
	if err := run(t.Context(), c, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out.Bytes())
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != len(producers) {
		t.Fatalf("%d results of %d producers", len(results), len(producers))
	}
	for _, r := range results {
		if r.Connections == 0 {
			if r.Note == "" {
				t.Errorf("%s was not run, and nothing says why", r.Name)
			}
			continue
		}
		if r.Received == 0 || r.Received+r.Lost != r.Accepted+r.Unknown || r.Malformed != 0 {
			t.Errorf("the ledger does not balance: %+v", r)
		}
	}
	if ours := results[0]; ours.Name != "everconn (kernel)" || ours.Lost+ours.Torn+ours.OutOfOrder != 0 {
		t.Errorf("%+v", ours)
	}
}
