package everconn_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/everconn/everconn"
	"github.com/everconn/everconn/wire"
)

// The first steps: make a client, send, wait for confirmation, end.
func Example() {
	collector := startCollector(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := everconn.New(collector.addr, &everconn.Options{Framing: wire.LF})
	if err != nil {
		log.Fatal(err) // about the arguments: New does not wait for a connection
	}
	for _, msg := range []string{"one", "two", "three"} {
		if err := client.Send(ctx, []byte(msg)); err != nil {
			log.Fatal(err)
		}
	}
	if err := client.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("confirmed:", client.Stats().Confirmed.Messages)
	if err := client.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("collected: %q\n", collector.stop())
	// Output:
	// confirmed: 3
	// collected: ["one" "two" "three"]
}

// A framing tells the receiver where a message ends. A message that it cannot
// carry is refused and never altered.
func ExampleOptions_framing() {
	collector := startCollector(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	lines, err := everconn.New(collector.addr, &everconn.Options{Framing: wire.LF})
	if err != nil {
		log.Fatal(err)
	}
	err = lines.Send(ctx, []byte("two\nlines"))
	fmt.Println(errors.Is(err, wire.ErrDelimiter), err)
	lines.Close()

	counted, err := everconn.New(collector.addr, &everconn.Options{Framing: wire.OctetCounting})
	if err != nil {
		log.Fatal(err)
	}
	if err := counted.Send(ctx, []byte("two\nlines")); err != nil {
		log.Fatal(err)
	}
	if err := counted.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", collector.stop())
	// Output:
	// true wire: framing lf: the message contains the delimiter: a line feed at byte 3
	// ["9 two" "lines"]
}

// The outbox is bounded. By default Send waits for room; a drop policy gives
// messages up instead, and OnDrop is told of each.
func ExampleBuffer() {
	client, err := everconn.New(nobody, &everconn.Options{
		Buffer: everconn.Buffer{MaxBytes: 4 << 10, Overflow: everconn.DropOldest},
		OnDrop: func(seq uint64, msg []byte, reason everconn.DropReason) {
			fmt.Printf("dropped %d (%.5s): %v\n", seq, msg, reason)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for i := 1; i <= 5; i++ { // each costs 1000 bytes and 32 for its place
		msg := fmt.Appendf(nil, "msg-%-996d", i)
		if err := client.Send(context.Background(), msg); err != nil {
			log.Fatal(err)
		}
	}
	stats := client.Stats()
	fmt.Println("queued:", stats.Queued.Messages, "dropped:", stats.Dropped.Total().Messages)
	client.Close()
	// Output:
	// dropped 1 (msg-1): oldest
	// dropped 2 (msg-2): oldest
	// queued: 3 dropped: 2
}

// A file tailer remembers how far it has come only once that is confirmed, and
// so begins again at the right place after a crash of its own.
func ExampleClient_WaitConfirmed() {
	collector := startCollector(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := everconn.New(collector.addr, &everconn.Options{Framing: wire.LF})
	if err != nil {
		log.Fatal(err)
	}
	file := bufio.NewScanner(strings.NewReader("first\nsecond\nthird\n"))
	offset, last := 0, uint64(0)
	for file.Scan() {
		if last, err = client.SendSeq(ctx, file.Bytes()); err != nil {
			log.Fatal(err)
		}
		offset += len(file.Bytes()) + 1
	}
	if err := client.WaitConfirmed(ctx, last); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("message %d is confirmed: commit offset %d\n", last, offset)
	if err := client.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	collector.stop()
	// Output:
	// message 3 is confirmed: commit offset 19
}

// With TLS, Dial tells at once that a certificate is refused. Later on a
// refusal is reported and retried, as certificates expire and are renewed.
func ExampleDial_tls() {
	cert, roots := certificate()
	collector := startCollector(&tls.Config{Certificates: []tls.Certificate{cert}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	_, err := everconn.Dial(ctx, collector.addr, &everconn.Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	var unknown x509.UnknownAuthorityError
	fmt.Println("refused:", errors.As(err, &unknown))

	client, err := everconn.Dial(ctx, collector.addr, &everconn.Options{
		TLS:     &tls.Config{RootCAs: roots},
		Framing: wire.LF,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Send(ctx, []byte("in private")); err != nil {
		log.Fatal(err)
	}
	if err := client.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("collected: %q\n", collector.stop())
	// Output:
	// refused: true
	// collected: ["in private"]
}

// OnEvent is told of every change, in order, on one goroutine.
func ExampleEvent() {
	collector := startCollector(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	connected := make(chan struct{}, 2)
	client, err := everconn.New(collector.addr, &everconn.Options{OnEvent: func(e everconn.Event) {
		var cause *everconn.ConnError
		if errors.As(e.Cause, &cause) {
			fmt.Printf("%v: %v\n", e.Kind, cause.Cause)
		} else {
			fmt.Println(e.Kind)
		}
		if e.Kind == everconn.EventConnected {
			connected <- struct{}{}
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	<-connected
	client.Reconnect()
	<-connected
	if err := client.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	<-client.Done() // every event has been told
	collector.stop()
	// Output:
	// connecting
	// connected
	// disconnected: reconnect was asked for
	// connecting
	// connected
	// disconnected: everconn: client is closed
	// closed
}

// What was accepted and not confirmed is handed back after the end.
func ExampleClient_Undelivered() {
	client, err := everconn.New(nobody, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, msg := range []string{"one", "two"} {
		if err := client.Send(context.Background(), []byte(msg)); err != nil {
			log.Fatal(err)
		}
	}
	var left *everconn.UndeliveredError
	if errors.As(client.Close(), &left) {
		fmt.Println(left.Messages, "left:")
	}
	for msg := range client.Undelivered() {
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// 2 left:
	// one
	// two
}

// Each Write is one message. Package log ends its messages with a line feed
// itself, so the framing is Raw, the zero value.
func ExampleClient_Writer() {
	collector := startCollector(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := everconn.New(collector.addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	logger := log.New(client.Writer(), "app: ", 0)
	logger.Print("started")
	logger.Print("ready")
	if err := client.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", collector.stop())
	// Output:
	// ["app: started" "app: ready"]
}

// nobody is an address at which nobody listens.
const nobody = "127.0.0.1:1"

// A lineCollector reads lines, from one connection after the other. It reads
// each to its end before it closes.
type lineCollector struct {
	addr     string
	listener net.Listener
	lines    chan []string // sent once, at the end
}

// startCollector listens on loopback, with TLS if cfg is not nil.
func startCollector(cfg *tls.Config) *lineCollector {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	c := &lineCollector{addr: listener.Addr().String(), listener: listener, lines: make(chan []string)}
	if cfg != nil {
		c.listener = tls.NewListener(listener, cfg)
	}
	go c.run()
	return c
}

func (c *lineCollector) run() {
	var lines []string
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			c.lines <- lines
			return
		}
		in := bufio.NewScanner(conn)
		for in.Scan() {
			lines = append(lines, in.Text())
		}
		conn.Close()
	}
}

// stop ends the collector and returns what it has read.
func (c *lineCollector) stop() []string {
	c.listener.Close()
	return <-c.lines
}

// certificate returns a certificate for 127.0.0.1, and a pool that trusts it.
func certificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
