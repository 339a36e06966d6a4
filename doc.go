// Package everconn keeps one TCP or TLS connection from a producer to its
// collector up, keeps every message on it whole and in order, and tells the
// truth about what has arrived. It is for programs that mostly send, run for
// months, and are judged by what is missing on the other side.
//
// [New] returns a [Client] at once and connects in the background; [Dial] also
// waits for the first connection. [Client.Send] copies a message into a bounded
// outbox and does not wait for the network, unless the outbox is full. End with
// [Client.Shutdown]. The zero value of [Options] is a sound choice.
//
// # Guarantees
//
//   - A message that Send has accepted is confirmed, or counted as dropped under
//     a policy that you chose, or handed back by [Client.Undelivered].
//   - When a connection is lost, what is not confirmed is sent again on the next
//     one: whole messages, in order, before anything new. So a message can
//     arrive twice; [Stats].Resent is the most that did.
//   - A dead path is noticed within [Liveness].DeadAfter, whether the connection
//     is idle or sending, even if the program never reads; the exceptions stand
//     there.
//   - The client never stops trying, except where you asked it to.
//
// # What confirmed means
//
// That is for [Options].Confirm to say:
//
//   - [Written]: the local kernel has taken the message's last byte. What is in
//     the send buffer is lost with the connection.
//   - [Kernel], the default: the peer's kernel has acknowledged its last byte.
//     That survives resets, timeouts, partitions and cut cables. It does not
//     survive a peer process that is killed, or closes, with unread data, nor a
//     proxy that acknowledges early.
//
// Neither says that the peer's application has read the message. Where a
// connection cannot report its send-queue (Windows, most conns of a
// DialContext) it confirms at Written, and [Stats].Level and an [Event] say so;
// with [Options].KernelStrict that is an error instead.
//
// Package wire has the framings that delimit the messages.
package everconn
