package everconn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/cenkalti/backoff/v4"
)

// targets chooses the endpoint of each attempt.
type targets struct {
	order   []string // of this round
	shuffle bool
	at      int                // the next one in order
	answers map[string]refusal // of endpoints whose last answer was a refusal
}

// A refusal is an answer that will not change by waiting.
type refusal uint8

const (
	refusedForGood     refusal = iota + 1 // backoff.Permanent
	refusedCertificate                    // by either side
)

func newTargets(c *Client) targets {
	t := targets{
		order:   append([]string(nil), c.endpoints...),
		shuffle: c.opts.Shuffle,
		answers: make(map[string]refusal),
	}
	t.restart()
	return t
}

// restart begins a new round, at the first endpoint.
func (t *targets) restart() {
	t.at = 0
	if t.shuffle {
		rand.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	}
}

// next returns the endpoint to try. One that has refused for good is passed
// over as long as another is left.
func (t *targets) next() string {
	for range len(t.order) {
		if t.at == len(t.order) {
			t.restart()
		}
		e := t.order[t.at]
		t.at++
		if t.answers[e] != refusedForGood {
			return e
		}
	}
	return t.order[0]
}

// proven notes that a connection has proved itself: refusals are forgotten, and
// the next round begins.
func (t *targets) proven() {
	clear(t.answers)
	t.restart()
}

// hopeless notes the answer of an endpoint, and returns err if every endpoint's
// last answer was a refusal.
func (t *targets) hopeless(endpoint string, err error, certificate bool) error {
	var permanent *backoff.PermanentError
	switch {
	case errors.As(err, &permanent):
		t.answers[endpoint] = refusedForGood
	case certificate:
		t.answers[endpoint] = refusedCertificate
	default:
		delete(t.answers, endpoint)
	}
	for _, e := range t.order {
		if t.answers[e] == 0 {
			return nil
		}
	}
	return err
}

// refusedByAll reports whether every endpoint has refused for good; a refused
// certificate counts if the client is to stop on it.
func (t *targets) refusedByAll(certificates bool) bool {
	for _, e := range t.order {
		switch r := t.answers[e]; {
		case r == 0, r == refusedCertificate && !certificates:
			return false
		}
	}
	return true
}

// parseEndpoints splits a list of host:port. With a DialContext of the user's
// an endpoint may be any word.
func parseEndpoints(addr string, anyWord bool) ([]string, error) {
	var list []string
	for _, e := range strings.Split(addr, ",") {
		e = strings.TrimSpace(e)
		if e == "" {
			return nil, fmt.Errorf("everconn: address %q: an endpoint is empty; want host:port[,host:port...]", addr)
		}
		if !anyWord {
			_, port, err := net.SplitHostPort(e)
			if err != nil || port == "" {
				return nil, fmt.Errorf("everconn: address %q: endpoint %q is not host:port", addr, e)
			}
		}
		list = append(list, e)
	}
	return list, nil
}
