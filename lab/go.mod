module github.com/everconn/everconn/lab

go 1.26.0

require (
	github.com/everconn/everconn v0.0.0
	github.com/fluent/fluent-logger-golang v1.10.2
	github.com/nats-io/nats.go v1.55.0
	github.com/tinylib/msgp v1.6.5
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/philhofer/fwd v1.2.0 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/everconn/everconn => ..
