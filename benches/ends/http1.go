package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
)

// serveHTTP1 answers one request after the other, for proxies that speak nothing else upstream.
func serveHTTP1(connection net.Conn, reader *bufio.Reader) error {
	writer := bufio.NewWriterSize(connection, 256<<10)
	now := date()
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return err
		}
		var found answer
		switch path := request.URL.Path; kindOf(path) {
		case plain:
			if path == "/-/stats" {
				found = whole(200, "application/json", statistics(), now())
			} else {
				found = plainAnswer(path, request.Header.Get("Accept-Encoding"), now())
			}
		case upload:
			size, err := io.Copy(io.Discard, request.Body)
			if err != nil {
				return err
			}
			found = whole(200, "text/plain", fmt.Appendf(nil, "%d", size), now())
		default:
			body, err := io.ReadAll(request.Body)
			if err != nil {
				return err
			}
			found = echo(request.Header.Get("Content-Type"), body, now())
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return err
		}
		stats.http1.Add(1)
		asked(request.URL.Path)
		if err := writeHTTP1(writer, request, found); err != nil {
			return err
		}
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
		if request.Close {
			return writer.Flush()
		}
	}
}

func writeHTTP1(writer *bufio.Writer, request *http.Request, found answer) error {
	fmt.Fprintf(writer, "HTTP/1.1 %d %s\r\n", found.status, http.StatusText(found.status))
	sized := false
	for _, field := range found.fields {
		sized = sized || field[0] == "content-length"
		fmt.Fprintf(writer, "%s: %s\r\n", field[0], field[1])
	}
	if !sized {
		fmt.Fprintf(writer, "content-length: %d\r\n", len(found.body))
	}
	fmt.Fprint(writer, "\r\n")
	if request.Method == http.MethodHead {
		return nil
	}
	_, err := writer.Write(found.body)
	for left := found.zeros; err == nil && left > 0; {
		piece := min(left, int64(len(zeros)))
		_, err = writer.Write(zeros[:piece])
		left -= piece
	}
	return err
}

var zeros = make([]byte, 1<<20)
