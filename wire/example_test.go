package wire_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/everconn/everconn/wire"
)

// A sender frames each message; a receiver takes the frames apart again.
func Example() {
	framing := wire.OctetCounting

	var stream []byte
	for _, msg := range []string{"first", "second\nwith a line feed"} {
		if err := framing.Check([]byte(msg)); err != nil {
			fmt.Println(err)
			return
		}
		stream = framing.Append(stream, []byte(msg))
	}
	fmt.Printf("%q\n", stream)

	messages := framing.Scanner(strings.NewReader(string(stream)), 1024)
	for messages.Scan() {
		fmt.Printf("%q\n", messages.Text())
	}
	fmt.Println(messages.Err())
	// Output:
	// "5 first23 second\nwith a line feed"
	// "first"
	// "second\nwith a line feed"
	// <nil>
}

// Not every framing carries every message. What it cannot carry is refused, not
// altered.
func ExampleFraming_Check() {
	msg := []byte("two\nlines")
	fmt.Println(wire.LF.Check(msg))
	fmt.Println(wire.OctetCounting.Check(msg))
	// Output:
	// wire: framing lf: the message contains the delimiter: a line feed at byte 3
	// <nil>
}

// The same message under each framing.
func ExampleFraming_Append() {
	for _, name := range []string{"raw", "lf", "octet", "nul", "u32"} {
		framing, err := wire.ParseFraming(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%-5v %q\n", framing, framing.Append(nil, []byte("hello")))
	}
	// Output:
	// raw   "hello"
	// lf    "hello\n"
	// octet "5 hello"
	// nul   "hello\x00"
	// u32   "\x00\x00\x00\x05hello"
}

// A sender can write prefix, message and suffix one after another and so spare
// itself a copy of the message.
func ExampleFraming_AppendPrefix() {
	framing, msg := wire.OctetCounting, "hello"
	var scratch [16]byte // a prefix takes at most 11 bytes, a suffix one
	prefix := framing.AppendPrefix(scratch[:0], len(msg))
	fmt.Printf("%q %q %q\n", prefix, msg, framing.AppendSuffix(nil))
	// Output:
	// "5 " "hello" ""
}

// A connection was cut in the middle of the second message. The receiver gets
// the first, and can tell that the rest is a fragment.
func ExampleFraming_Scanner_torn() {
	cut := strings.NewReader("5 first6 sec")
	messages := wire.OctetCounting.Scanner(cut, 1024)
	for messages.Scan() {
		fmt.Printf("%q\n", messages.Text())
	}
	fmt.Println(errors.Is(messages.Err(), wire.ErrTorn))
	fmt.Println(messages.Err())
	// Output:
	// "first"
	// true
	// wire: framing octet: the stream ended inside a message: unexpected EOF: 5 bytes of its frame had come
}
