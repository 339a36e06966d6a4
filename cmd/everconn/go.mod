module github.com/everconn/everconn/cmd/everconn

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/cenkalti/backoff/v4 v4.3.0
	github.com/everconn/everconn v0.0.0-00010101000000-000000000000
	github.com/rs/zerolog v1.35.1
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
)

// The command lives beside the library and is built from the same tree. The
// replacement lets "go mod tidy", "go build" and "go vet" work in this module
// alone, without go.work. The consequence: "go install ...@version" refuses a
// module with replacements, so the command is built from a clone, until a
// tagged library version can be required in its stead.
replace github.com/everconn/everconn => ../..
