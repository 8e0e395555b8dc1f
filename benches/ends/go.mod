module ravelin/benches/ends

go 1.25.0

require (
	github.com/andybalholm/brotli v1.1.1
	golang.org/x/net v0.42.0
)

require golang.org/x/text v0.27.0 // indirect
