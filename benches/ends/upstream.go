package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"sync/atomic"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// What the proxy did to the upstream; asked for at /-/stats over HTTP/1.1.
var stats struct {
	connections, open           atomic.Int64
	http1, http2, connectionsH2 atomic.Int64
	// The most streams that any connection had at once: 1 means that nothing was multiplexed.
	streams atomic.Int64
	// Requests for scripts, which the cached scenarios ask for; what a proxy asks of its own accord
	// beside them is not among them.
	scripts atomic.Int64
}

// asked counts a request by its path.
func asked(path string) {
	if strings.HasSuffix(path, ".js") {
		stats.scripts.Add(1)
	}
}

func statistics() []byte {
	text, _ := json.Marshal(map[string]int64{
		"connections": stats.connections.Load(), "open": stats.open.Load(),
		"connections_h2": stats.connectionsH2.Load(), "max_streams": stats.streams.Load(),
		"requests_http1": stats.http1.Load(), "requests_http2": stats.http2.Load(),
		"scripts": stats.scripts.Load(),
	})
	return text
}

// upstream serves until it is killed. One goroutine for each connection, none for a stream: it must
// cost less than any proxy before it.
func upstream(arguments []string) error {
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			stats.connections.Add(1)
			stats.open.Add(1)
			defer stats.open.Add(-1)
			defer connection.Close()
			reader := bufio.NewReaderSize(connection, 256<<10)
			if begin, _ := reader.Peek(3); bytes.Equal(begin, []byte("PRI")) {
				_ = serveHTTP2(connection, reader)
			} else {
				_ = serveHTTP1(connection, reader)
			}
		}()
	}
}
