// The two ends that a proxy is measured between: a server that speaks as a Go server does, and the
// clients that h2load cannot be. benches/run builds and starts it; nothing else needs it.
//
//	ends upstream ADDRESS         HTTP/1.1 and h2c on one port
//	ends goserver ADDRESS         the same with net/http, for gRPC unary calls
//	ends check …                  one request, told as JSON: what is verified before it is timed
//	ends pingpong …               bidirectional gRPC streams, one message at a time
//	ends handshake …              connections with full or resumed TLS handshakes
//	ends idle …                   connections that have asked once and then wait
//	ends assets FOLDER            writes what caches are measured with
//	ends ready …                  waits for the first answer of a server that is starting
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

var commands = map[string]func([]string) error{
	"upstream": upstream, "goserver": goserver, "check": check, "pingpong": pingpong,
	"handshake": handshake, "idle": idle, "ready": ready, "assets": makeAssets,
}

func main() {
	if len(os.Args) > 1 {
		if command := commands[os.Args[1]]; command != nil {
			if err := command(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", strings.Join(os.Args[:2], " "), err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "ends: upstream, check, pingpong, handshake, idle or ready")
	os.Exit(64)
}

// report prints one line of JSON: what a client has seen.
func report(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
