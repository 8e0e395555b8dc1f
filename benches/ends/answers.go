package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How a path is answered; h2 and HTTP/1.1 alike, except what needs trailers or both directions.
type kind int

const (
	plain kind = iota
	unary
	serverStream
	bidi
	upload
)

// An answer that is known from the head and, for an echo, the request's body.
type answer struct {
	status int
	// Names in lower case, in order.
	fields [][2]string
	body   []byte
	// What is left to make of the body: bytes that are all the same, not held in memory.
	zeros int64
}

func kindOf(path string) kind {
	switch {
	case strings.HasSuffix(path, "/Unary"):
		return unary
	case strings.HasSuffix(path, "/ServerStream"):
		return serverStream
	case strings.HasSuffix(path, "/Bidi"):
		return bidi
	case path == "/upload":
		return upload
	}
	return plain
}

// One gRPC message of 16 bytes, and the trailer frame that ends a gRPC-Web answer.
var (
	message     = append([]byte{0, 0, 0, 0, 16}, "0123456789abcdef"...)
	webTrailers = frame(0x80, "grpc-status: 0\r\ngrpc-message: \r\n")
	document    = jsonDocument(2500)
)

const streamed = 100

func frame(flags byte, text string) []byte {
	return append([]byte{flags, 0, 0, 0, byte(len(text))}, text...)
}

// A list of users of exactly so many bytes.
func jsonDocument(size int) []byte {
	var text bytes.Buffer
	text.WriteString(`{"details":{"totalResult":"12","processedSequence":"4711"},"result":[`)
	for i := 0; text.Len() < size-200; i++ {
		fmt.Fprintf(&text, `{"userId":"2%017d","state":"USER_STATE_ACTIVE","username":"user-%d@id.example.com"},`, i*7919, i)
	}
	text.WriteString(`{"padding":"`)
	for text.Len() < size-4 {
		text.WriteByte('x')
	}
	text.WriteString(`"}]}`)
	return text.Bytes()
}

// The date of answers, made once a second as net/http does not (it formats each): never the limit.
var date = func() func() string {
	var at int64
	var text string
	return func() string {
		if now := time.Now(); now.Unix() != at {
			at, text = now.Unix(), now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
		}
		return text
	}
}

func plainAnswer(path, accepts, date string) answer {
	switch {
	case path == "/v2/users":
		return whole(200, "application/json", document, date)
	case strings.HasPrefix(path, "/download/"):
		if size, err := strconv.ParseInt(path[len("/download/"):], 10, 64); err == nil {
			return answer{status: 200, zeros: size, fields: [][2]string{
				{"content-type", "application/octet-stream"}, {"date", date},
				{"content-length", strconv.FormatInt(size, 10)},
			}}
		}
	case strings.HasPrefix(path, "/ui/console/"):
		if found, ok := asset(path[len("/ui/console/"):], accepts, date); ok {
			return found
		}
	}
	return whole(404, "text/plain", []byte("not here\n"), date)
}

func whole(status int, contentType string, body []byte, date string) answer {
	return answer{status: status, body: body, fields: [][2]string{
		{"content-type", contentType}, {"date", date}, {"content-length", strconv.Itoa(len(body))},
	}}
}

// echo answers gRPC-Web and Connect, which need no trailers of HTTP.
func echo(contentType string, body []byte, date string) answer {
	if strings.HasPrefix(contentType, "application/grpc-web") {
		answered := make([]byte, 0, len(body)+len(webTrailers))
		body = append(append(answered, body...), webTrailers...)
		return answer{status: 200, body: body, fields: [][2]string{{"content-type", contentType}, {"date", date}}}
	}
	return whole(200, contentType, body, date)
}
