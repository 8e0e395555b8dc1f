package main

import (
	"io"
	"net/http"
	"strings"
)

// goserver answers what `upstream` answers to gRPC unary calls and to /v2/users, with net/http itself:
// HTTP/2 in plaintext, a goroutine for each stream. It costs five times as much; `benches/run
// --go-upstream` shows that the proxies' figures do not hang on which of the two they stand before.
func goserver(arguments []string) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Addr: arguments[0], Protocols: protocols, Handler: http.HandlerFunc(serve)}
	return server.ListenAndServe()
}

func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/-/stats":
		_, _ = w.Write(statistics())
	case strings.HasSuffix(r.URL.Path, "/Unary") && r.Header.Get("Content-Type") == "application/grpc":
		stats.http2.Add(1)
		body, _ := io.ReadAll(r.Body)
		head := w.Header()
		head.Set("Content-Type", "application/grpc")
		for _, name := range []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"} {
			head.Add("Trailer", name)
		}
		_, _ = w.Write(body)
		// As grpc-go: the message is flushed, the trailers follow.
		_ = http.NewResponseController(w).Flush()
		head.Set("Grpc-Status", "0")
		head.Set("Grpc-Message", "")
	default:
		found := plainAnswer(r.URL.Path, "", "")
		for _, field := range found.fields {
			if field[1] != "" {
				w.Header().Set(field[0], field[1])
			}
		}
		w.WriteHeader(found.status)
		_, _ = w.Write(found.body)
	}
}
