package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/everconn/everconn"
	broken "github.com/everconn/everconn/internal/collector"
	"github.com/everconn/everconn/wire"
)

// act is what happens while a client ships to a collector.
type act struct {
	faults   []broken.Fault
	duration time.Duration
	seed     uint64
}

const (
	// demoReadBuffer is small, so that a collector that does not read is felt
	// within the act.
	demoReadBuffer = 32 << 10
	// demoDrain bounds the end of an act.
	demoDrain = 30 * time.Second
	// lostRuns is how many runs of lost messages are told.
	lostRuns = 10
)

// play plays an act and balances the ledger.
func (d *demoCmd) play(env *environment, story io.Writer, a act) (*actResult, error) {
	var ledger broken.Ledger
	view := newDemoView(env, story)
	defer view.close()
	collector, err := broken.Listen("127.0.0.1:0", broken.Config{
		Framing:    wire.OctetCounting,
		ReadBuffer: demoReadBuffer,
		Ordered:    true,
		OnMessage:  ledger.Receive,
		OnEnd:      func(e broken.Ended) { ledger.End(e); view.ended(e) },
	})
	if err != nil {
		return nil, err
	}
	defer collector.Close()
	client, err := everconn.New(collector.Addr(), &everconn.Options{
		Framing: wire.OctetCounting,
		Confirm: d.Confirm.Level,
		// Both are much shorter than what suits a fleet, for the audience's sake.
		Backoff:  everconn.Backoff{Base: 50 * time.Millisecond, Cap: 300 * time.Millisecond},
		Liveness: everconn.Liveness{DeadAfter: 5 * time.Second},
		OnEvent:  view.event,
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	view.watch(client)

	faults, err := d.ship(env.ctx, a, collector, client, &ledger, view.fault)
	if err != nil {
		return nil, err
	}
	undelivered, err := drain(env.force, client, collector)
	if err != nil {
		return nil, err
	}
	stats := client.Stats()
	return &actResult{
		Level:       stats.Level.String(),
		Seed:        a.seed,
		Report:      ledger.Report(),
		Undelivered: undelivered,
		Resent:      stats.Resent.Messages,
		Reconnects:  stats.Reconnects,
		Faults:      faults,
		LostRuns:    ledger.Lost(lostRuns),
	}, nil
}

// ship sends numbered messages while the faults of the act happen, until they
// have all happened and its time is over, or ctx ends.
func (d *demoCmd) ship(ctx context.Context, a act, collector *broken.Collector, client *everconn.Client,
	ledger *broken.Ledger, tell func(string)) (faults int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	performed := make(chan error, 1)
	go func() {
		defer stop()
		var err error
		faults, err = collector.Perform(ctx, broken.Schedule(a.faults, a.duration, a.seed), tell)
		if err == nil {
			select {
			case <-ctx.Done():
			case <-time.After(a.duration - time.Since(began)):
			}
		}
		performed <- err
	}()
	err = produce(ctx, client, d.Rate, ledger.Accept)
	stop()
	return faults, errors.Join(err, <-performed)
}

// produce sends the numbered messages 1, 2, 3 … until ctx ends.
func produce(ctx context.Context, client *everconn.Client, rate int, accepted func(uint64)) error {
	pace := newPacer(float64(rate))
	var line []byte
	for n := uint64(1); ; n++ {
		pace.wait(ctx)
		line = broken.AppendLine(line[:0], n)
		err := client.Send(ctx, line)
		switch {
		case ctx.Err() != nil && err != nil:
			return nil
		case err != nil:
			return err
		}
		accepted(n)
	}
}

// drain ends the client in good order, and then the collector, which has read
// everything by then. It returns how many messages the client did not confirm.
func drain(force context.Context, client *everconn.Client, collector *broken.Collector) (undelivered uint64, err error) {
	ctx, cancel := context.WithTimeout(force, demoDrain)
	defer cancel()
	err = client.Shutdown(ctx)
	var left *everconn.UndeliveredError
	if errors.As(err, &left) {
		undelivered, err = left.Messages, nil
	}
	return undelivered, errors.Join(err, collector.Close())
}
