package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2 client on the goroutine of its caller, without tasks of its own: cheap enough for ten
// thousand of them.
type client struct {
	connection *tls.Conn
	framer     *http2.Framer
	reader     *bufio.Reader
	writer     *bufio.Writer
	block      strings.Builder
	encoder    *hpack.Encoder
	next       uint32
}

// dial connects and exchanges SETTINGS. buffer: bytes of its buffers, few for those who idle.
func (t *target) dial(config *tls.Config, buffer int) (*client, error) {
	connection, err := net.DialTimeout("tcp", t.address, 30*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{connection: tls.Client(connection, config), next: 1}
	_ = connection.SetDeadline(time.Now().Add(60 * time.Second))
	if err := c.connection.Handshake(); err != nil {
		connection.Close()
		return nil, err
	}
	if protocol := c.connection.ConnectionState().NegotiatedProtocol; protocol != "h2" {
		connection.Close()
		return nil, fmt.Errorf("the server chose %q", protocol)
	}
	c.reader = bufio.NewReaderSize(c.connection, buffer)
	c.writer = bufio.NewWriterSize(c.connection, buffer)
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.writer, c.reader)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = c.writer.WriteString(preface)
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 28},
	)
	_ = c.framer.WriteWindowUpdate(0, 1<<28)
	if err := c.writer.Flush(); err != nil {
		return nil, err
	}
	for {
		read, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		if settings, ok := read.(*http2.SettingsFrame); ok && !settings.IsAck() {
			return c, c.framer.WriteSettingsAck()
		}
	}
}

// open begins a request and returns its stream.
func (c *client) open(t *target, method string, end bool) (uint32, error) {
	c.block.Reset()
	fields := [][2]string{{":method", method}, {":scheme", "https"}, {":authority", t.address}, {":path", t.path}}
	for _, header := range t.headers {
		name, value, _ := strings.Cut(header, ": ")
		fields = append(fields, [2]string{strings.ToLower(name), value})
	}
	for _, field := range fields {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	id := c.next
	c.next += 2
	return id, c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: []byte(c.block.String()), EndHeaders: true, EndStream: end,
	})
}

// control answers what every client must answer; true if the frame was of that kind.
func (c *client) control(read http2.Frame) (bool, error) {
	switch read := read.(type) {
	case *http2.SettingsFrame:
		if !read.IsAck() {
			return true, c.framer.WriteSettingsAck()
		}
		return true, nil
	case *http2.PingFrame:
		if !read.IsAck() {
			return true, c.framer.WritePing(true, read.Data)
		}
		return true, nil
	case *http2.WindowUpdateFrame:
		return true, nil
	case *http2.GoAwayFrame:
		return true, fmt.Errorf("GOAWAY with %v", read.ErrCode)
	case *http2.RSTStreamFrame:
		return true, fmt.Errorf("stream %d was reset: %v", read.StreamID, read.ErrCode)
	}
	return false, nil
}
