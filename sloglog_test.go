package everconn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// slogLines returns a logger and a function that returns what it has logged
// through slog's JSON handler, without the times.
func slogLines(level slog.Leveler) (zerolog.Logger, func() string) {
	var out bytes.Buffer
	h := slog.NewJSONHandler(&out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.Attr{}
			}
			return a
		},
	})
	return SlogLogger(slog.New(h)), out.String
}

func TestSlogLoggerFields(t *testing.T) {
	t.Parallel()
	log, lines := slogLines(slog.LevelDebug)
	log = log.With().Timestamp().Str("client", "a").Logger()
	log.Info().
		Str("z", "first \"quoted\" <&> ☃").Int("a", -1).Bool("b", true).
		Uint64("max", math.MaxUint64).Int64("min", math.MinInt64).Float64("pi", math.Pi).Float32("third", 1.0/3).
		RawJSON("huge", []byte("123456789012345678901234567890")).
		AnErr("cause", errors.New("reset")).Dur("wait", 1500*time.Microsecond).
		Strs("list", []string{"x", "y"}).Ints("none", nil).Interface("nil", nil).
		RawJSON("mixed", []byte(`[9007199254740993,{"k":[]}]`)).
		Dict("group", zerolog.Dict().Str("q", "1").Dict("p", zerolog.Dict().Int("deep", 2))).
		Dict("empty", zerolog.Dict()).
		Str("z", "again").
		Msg("hello")
	want := `{"level":"INFO","msg":"hello","client":"a","z":"first \"quoted\" <&> ☃","a":-1,"b":true,` +
		`"max":18446744073709551615,"min":-9223372036854775808,"pi":3.141592653589793,"third":0.33333334,` +
		`"huge":123456789012345678901234567890,` +
		`"cause":"reset","wait":1.5,"list":["x","y"],"none":[],"nil":null,` +
		`"mixed":[9007199254740993,{"k":[]}],` +
		`"group":{"q":"1","p":{"deep":2}},"empty":{},"z":"again"}` + "\n"
	if got := lines(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSlogLoggerKinds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]slog.Value{
		"0":                    slog.Int64Value(0),
		"-9223372036854775808": slog.Int64Value(math.MinInt64),
		"9223372036854775808":  slog.Uint64Value(1 << 63),
		"18446744073709551616": slog.AnyValue(json.Number("18446744073709551616")),
		"0.5":                  slog.Float64Value(0.5),
		"1e3":                  slog.Float64Value(1000),
		"1e999":                slog.AnyValue(json.Number("1e999")),
		`"5"`:                  slog.StringValue("5"),
		"false":                slog.BoolValue(false),
	} {
		attrs, err := decodeRecord([]byte(`{"v":` + in + `}`))
		if err != nil || len(attrs) != 1 || attrs[0].Value.Kind() != want.Kind() || !attrs[0].Value.Equal(want) {
			t.Errorf("%s gives %v, %v; want %v of kind %v", in, attrs, err, want, want.Kind())
		}
	}
}

func TestSlogLoggerLevels(t *testing.T) {
	t.Parallel()
	log, lines := slogLines(slog.LevelDebug - 4)
	for _, level := range []zerolog.Level{
		zerolog.TraceLevel, zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel,
		zerolog.FatalLevel, zerolog.PanicLevel, zerolog.NoLevel,
	} {
		log.WithLevel(level).Send()
	}
	want := `{"level":"DEBUG-4","msg":""}
{"level":"DEBUG","msg":""}
{"level":"INFO","msg":""}
{"level":"WARN","msg":""}
{"level":"ERROR","msg":""}
{"level":"ERROR+4","msg":""}
{"level":"ERROR+8","msg":""}
{"level":"INFO","msg":""}
`
	if got := lines(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestSlogLoggerEnabled: slog's level is asked at each record, so it can be
// changed while the logger is in use.
func TestSlogLoggerEnabled(t *testing.T) {
	t.Parallel()
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	log, lines := slogLines(&level)
	log.Info().Msg("dropped")
	log.Warn().Msg("kept")
	level.Set(slog.LevelInfo)
	log.Info().Msg("kept too")
	if got, want := lines(), `{"level":"WARN","msg":"kept"}`+"\n"+`{"level":"INFO","msg":"kept too"}`+"\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestSlogLoggerTime: the time is set by slog, once, and now.
func TestSlogLoggerTime(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := SlogLogger(slog.New(slog.NewJSONHandler(&out, nil))).With().Timestamp().Logger()
	before := time.Now()
	log.Info().Msg("m")
	after := time.Now()
	var record struct{ Time time.Time }
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `"time"`); n != 1 || record.Time.Before(before.Round(0)) || record.Time.After(after) {
		t.Errorf("%d times in %s, logged between %v and %v", n, out.String(), before, after)
	}
}

// TestSlogLoggerGroup: groups and attributes of the slog logger stay in force.
func TestSlogLoggerGroup(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := slog.New(slog.NewTextHandler(&out, nil)).With("app", "x").WithGroup("conn")
	log := SlogLogger(l)
	log.Warn().Int("n", 1).Dict("d", zerolog.Dict().Bool("b", true)).Msg("m")
	if got, want := out.String(), " level=WARN msg=m app=x conn.n=1 conn.d.b=true\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end in %q", got, want)
	}
}

// TestSlogLoggerNoJSON: zerolog takes raw JSON unseen; a record that it spoils
// is logged all the same.
func TestSlogLoggerNoJSON(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"open`, `]`, `}`, `1 2`, `[1,]`, `{"k" 1}`, ``} {
		log, lines := slogLines(slog.LevelInfo)
		log.Error().Str("before", "kept").RawJSON("raw", []byte(raw)).Str("after", "kept").Msg("said")
		var record struct{ Level, Msg, Error string }
		if err := json.Unmarshal([]byte(lines()), &record); err != nil {
			t.Fatalf("raw %q: %v in %q", raw, err, lines())
		}
		if record.Level != "ERROR" || record.Error == "" || !strings.Contains(record.Msg, raw) || !strings.Contains(record.Msg, "said") {
			t.Errorf("raw %q gives %+v", raw, record)
		}
	}
	for _, p := range []string{"", "5", "[1]", "{", `{"k":`, "text"} {
		if attrs, err := decodeRecord([]byte(p)); err == nil {
			t.Errorf("%q is taken for a record: %v", p, attrs)
		}
	}
}

func TestSlogLoggerNil(t *testing.T) {
	t.Parallel()
	if log := SlogLogger(nil); log.GetLevel() != zerolog.Disabled || log.Error().Enabled() {
		t.Errorf("the logger of a nil *slog.Logger is at level %v", log.GetLevel())
	}
}

// failingHandler is a slog handler whose output is gone.
type failingHandler struct{ slog.Handler }

func (failingHandler) Handle(context.Context, slog.Record) error { return io.ErrClosedPipe }

func TestSlogLoggerHandlerError(t *testing.T) {
	t.Parallel()
	w := slogWriter{failingHandler{slog.NewTextHandler(io.Discard, nil)}}
	if n, err := w.Write([]byte("{}")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write = %d, %v; want the handler's error", n, err)
	}
}

func TestSlogLoggerConcurrently(t *testing.T) {
	t.Parallel()
	const writers, records = 8, 100
	log, lines := slogLines(slog.LevelInfo)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for r := range records {
				log.Info().Int("w", w).Int("r", r).Msg("m")
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for line := range strings.Lines(lines()) {
		seen[line] = true
	}
	for w := range writers {
		for r := range records {
			if want := fmt.Sprintf(`{"level":"INFO","msg":"m","w":%d,"r":%d}`+"\n", w, r); !seen[want] {
				t.Fatalf("missing: %s", want)
			}
		}
	}
	if len(seen) != writers*records {
		t.Errorf("%d different lines, want %d", len(seen), writers*records)
	}
}

func BenchmarkSlogLogger(b *testing.B) {
	for _, bench := range []struct {
		name  string
		level slog.Level
	}{{"enabled", slog.LevelInfo}, {"disabled", slog.LevelWarn}} {
		b.Run(bench.name, func(b *testing.B) {
			log := SlogLogger(slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: bench.level})))
			b.ReportAllocs()
			for b.Loop() {
				log.Info().Str("endpoint", "collector:601").Int("attempt", 3).Dur("wait", time.Second).Msg("reconnected")
			}
		})
	}
}
