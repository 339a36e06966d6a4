package everconn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// SlogLogger returns a logger for [Options] whose records go to l. A nil l
// gives a silent logger.
//
// A record keeps its message and its fields, in order; objects become groups.
// Levels become those of slog, with trace at -8, fatal at 12, panic at 16 and no
// level at info; l decides at each record which are enabled. The time is slog's
// own: a field of zerolog's timestamp name is left out. Durations stay what
// zerolog has made of them, by default a number of milliseconds.
//
// The logger is safe for concurrent use. A record costs some microseconds, as
// it passes through zerolog's JSON. An error of l's handler goes to
// zerolog.ErrorHandler.
func SlogLogger(l *slog.Logger) zerolog.Logger {
	if l == nil {
		return zerolog.Nop()
	}
	return zerolog.New(slogWriter{l.Handler()})
}

// slogWriter takes zerolog's encoded records and hands them to a slog handler.
type slogWriter struct{ handler slog.Handler }

var _ zerolog.LevelWriter = slogWriter{}

func (w slogWriter) Write(p []byte) (int, error) {
	return w.WriteLevel(zerolog.NoLevel, p)
}

func (w slogWriter) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	ctx := context.Background()
	if !w.handler.Enabled(ctx, slogLevel(level)) {
		return len(p), nil
	}
	if err := w.handler.Handle(ctx, slogRecord(level, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func slogLevel(level zerolog.Level) slog.Level {
	switch level {
	case zerolog.DebugLevel:
		return slog.LevelDebug
	case zerolog.InfoLevel, zerolog.NoLevel:
		return slog.LevelInfo
	case zerolog.WarnLevel:
		return slog.LevelWarn
	case zerolog.ErrorLevel:
		return slog.LevelError
	case zerolog.FatalLevel:
		return slog.LevelError + 4
	case zerolog.PanicLevel:
		return slog.LevelError + 8
	}
	return slog.LevelDebug - 4
}

// slogRecord decodes p. What is no JSON (zerolog takes fields of raw JSON
// unseen) is not lost: the message is then p as it stands.
func slogRecord(level zerolog.Level, p []byte) slog.Record {
	attrs, err := decodeRecord(p)
	if err != nil {
		attrs = []slog.Attr{slog.String(zerolog.MessageFieldName, string(bytes.TrimSpace(p))), slog.Any("error", err)}
	}
	message := ""
	kept := attrs[:0]
	for _, a := range attrs {
		switch a.Key {
		case zerolog.LevelFieldName, zerolog.TimestampFieldName:
		case zerolog.MessageFieldName:
			message = a.Value.String()
		default:
			kept = append(kept, a)
		}
	}
	r := slog.NewRecord(time.Now(), slogLevel(level), message, 0)
	r.AddAttrs(kept...)
	return r
}

func decodeRecord(p []byte) ([]slog.Attr, error) {
	dec := json.NewDecoder(bytes.NewReader(p))
	dec.UseNumber()
	switch token, err := dec.Token(); {
	case err != nil:
		return nil, err
	case token != json.Delim('{'):
		return nil, errors.New("not a JSON object")
	}
	return decodeFields(dec)
}

// decodeFields reads the fields of an object and the brace that ends it.
func decodeFields(dec *json.Decoder) (attrs []slog.Attr, err error) {
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := decodeValue(dec)
		if err != nil {
			return nil, err
		}
		name, _ := key.(string) // the decoder takes nothing else here
		attrs = append(attrs, slog.Attr{Key: name, Value: value})
	}
	_, err = dec.Token()
	return attrs, err
}

func decodeValue(dec *json.Decoder) (slog.Value, error) {
	token, err := dec.Token()
	if err != nil {
		return slog.Value{}, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return decodeList(dec)
		}
		fields, err := decodeFields(dec)
		if len(fields) == 0 { // handlers leave out empty groups
			return slog.AnyValue(struct{}{}), err
		}
		return slog.GroupValue(fields...), err
	case json.Number:
		return decodeNumber(token), nil
	}
	return slog.AnyValue(token), nil
}

// decodeList reads the elements of an array and the bracket that ends it.
func decodeList(dec *json.Decoder) (slog.Value, error) {
	list := []any{}
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			return slog.Value{}, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return slog.AnyValue(list), err
}

// decodeNumber returns the narrowest kind that holds n exactly; an integer
// beyond 64 bits stays as it is written.
func decodeNumber(n json.Number) slog.Value {
	s := n.String()
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return slog.Int64Value(i)
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return slog.Uint64Value(u)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".eE") {
		return slog.Float64Value(f)
	}
	return slog.AnyValue(n)
}
