package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What golang.org/x/net/http2 tells its clients.
const (
	maxStreams   = 250
	window       = 1 << 20
	maxFrameRead = 1 << 20
	// It gives window back from this size on (inflowMinRefresh).
	refresh = 4 << 10
)

// An h2 connection on one goroutine: it answers as it reads, and flushes when nothing is left to
// read, as a Go server does when its queue of writes is empty.
type server struct {
	framer  *http2.Framer
	writer  *bufio.Writer
	block   bytes.Buffer
	encoder *hpack.Encoder
	now     func() string
	streams map[uint32]*stream
	spare   []*stream
	// Server streams that have messages left.
	talking []*stream
	// What the peer lets us send, and what it has sent that we did not give back yet.
	sendWindow   int64
	streamWindow int64
	maxFrame     int64
	unsent       uint32
}

type stream struct {
	id          uint32
	kind        kind
	contentType string
	accepts     string
	path        string
	body        []byte
	received    int64
	unsent      uint32
	window      int64
	answered    bool
	rest        answer
	trailers    bool
	messages    int
}

func serveHTTP2(connection net.Conn, reader *bufio.Reader) error {
	if _, err := io.ReadFull(reader, make([]byte, len(preface))); err != nil {
		return err
	}
	stats.connectionsH2.Add(1)
	s := &server{
		writer: bufio.NewWriterSize(connection, 256<<10), now: date(), streams: map[uint32]*stream{},
		sendWindow: 65535, streamWindow: 65535, maxFrame: 16384,
	}
	s.encoder = hpack.NewEncoder(&s.block)
	s.framer = http2.NewFramer(s.writer, reader)
	s.framer.SetReuseFrames()
	s.framer.SetMaxReadFrameSize(maxFrameRead)
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = s.framer.WriteSettings(
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: maxFrameRead},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1048896},
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
	)
	_ = s.framer.WriteWindowUpdate(0, window-65535)
	for {
		for reader.Buffered() == 0 {
			if err := s.writer.Flush(); err != nil {
				return err
			}
			more, err := s.turn()
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		read, err := s.framer.ReadFrame()
		if err != nil {
			return err
		}
		if err := s.frame(read); err != nil {
			return err
		}
	}
}

func (s *server) frame(read http2.Frame) error {
	switch read := read.(type) {
	case *http2.MetaHeadersFrame:
		return s.head(read)
	case *http2.DataFrame:
		return s.data(read)
	case *http2.SettingsFrame:
		return s.settings(read)
	case *http2.PingFrame:
		if !read.IsAck() {
			return s.framer.WritePing(true, read.Data)
		}
	case *http2.WindowUpdateFrame:
		if read.StreamID == 0 {
			s.sendWindow += int64(read.Increment)
			for _, st := range s.streams {
				if err := s.send(st); err != nil {
					return err
				}
			}
		} else if st := s.streams[read.StreamID]; st != nil {
			st.window += int64(read.Increment)
			return s.send(st)
		}
	case *http2.RSTStreamFrame:
		delete(s.streams, read.StreamID)
	}
	return nil
}

func (s *server) settings(read *http2.SettingsFrame) error {
	if read.IsAck() {
		return nil
	}
	_ = read.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			for _, st := range s.streams {
				st.window += int64(setting.Val) - s.streamWindow
			}
			s.streamWindow = int64(setting.Val)
		case http2.SettingMaxFrameSize:
			s.maxFrame = int64(setting.Val)
		case http2.SettingHeaderTableSize:
			s.encoder.SetMaxDynamicTableSize(min(setting.Val, 4096))
		}
		return nil
	})
	return s.framer.WriteSettingsAck()
}

func (s *server) head(read *http2.MetaHeadersFrame) error {
	var st *stream
	if last := len(s.spare) - 1; last >= 0 {
		st, s.spare = s.spare[last], s.spare[:last]
		*st = stream{body: st.body[:0]}
	} else {
		st = &stream{}
	}
	st.id, st.window = read.StreamID, s.streamWindow
	for _, field := range read.Fields {
		switch field.Name {
		case ":path":
			st.path = field.Value
		case "content-type":
			st.contentType = field.Value
		case "accept-encoding":
			st.accepts = field.Value
		}
	}
	if known := s.streams[read.StreamID]; known != nil {
		// Trailers of a request: its end.
		return s.end(known)
	}
	st.kind = kindOf(st.path)
	s.streams[st.id] = st
	stats.http2.Add(1)
	asked(st.path)
	for {
		most := stats.streams.Load()
		if int64(len(s.streams)) <= most || stats.streams.CompareAndSwap(most, int64(len(s.streams))) {
			break
		}
	}
	if read.StreamEnded() {
		return s.end(st)
	}
	if st.kind == bidi {
		return s.writeHead(st, 200, grpcHead(s.now()), false)
	}
	return nil
}

func (s *server) data(read *http2.DataFrame) error {
	size := read.Length
	if s.unsent += size; s.unsent >= refresh {
		if err := s.framer.WriteWindowUpdate(0, s.unsent); err != nil {
			return err
		}
		s.unsent = 0
	}
	st := s.streams[read.StreamID]
	if st == nil {
		return nil
	}
	st.received += int64(len(read.Data()))
	switch st.kind {
	case bidi:
		if len(read.Data()) > 0 {
			st.rest.body = append(st.rest.body, read.Data()...)
			if err := s.send(st); err != nil {
				return err
			}
		}
	case unary, serverStream:
		st.body = append(st.body, read.Data()...)
	}
	if read.StreamEnded() {
		return s.end(st)
	}
	if st.unsent += size; st.unsent >= refresh {
		if err := s.framer.WriteWindowUpdate(st.id, st.unsent); err != nil {
			return err
		}
		st.unsent = 0
	}
	return nil
}

// grpcHead is what grpc-go sends through net/http.
func grpcHead(date string) [][2]string {
	return [][2]string{
		{"content-type", "application/grpc"}, {"trailer", "Grpc-Status"}, {"trailer", "Grpc-Message"},
		{"trailer", "Grpc-Status-Details-Bin"}, {"date", date},
	}
}

// end is reached when the request has ended; what is left is to answer.
func (s *server) end(st *stream) error {
	st.answered = true
	grpc := st.contentType == "application/grpc" || st.contentType == "application/grpc+proto"
	switch {
	case st.kind == bidi:
		st.trailers = true
	case st.kind == serverStream:
		if err := s.writeHead(st, 200, grpcHead(s.now()), false); err != nil {
			return err
		}
		st.messages, st.trailers = streamed, true
		s.talking = append(s.talking, st)
		return nil
	case st.kind == unary && grpc:
		if err := s.writeHead(st, 200, grpcHead(s.now()), false); err != nil {
			return err
		}
		st.rest.body, st.trailers = st.body, true
	default:
		switch st.kind {
		case unary:
			st.rest = echo(st.contentType, st.body, s.now())
		case upload:
			st.rest = whole(200, "text/plain", fmt.Appendf(nil, "%d", st.received), s.now())
		default:
			st.rest = plainAnswer(st.path, st.accepts, s.now())
		}
		empty := len(st.rest.body) == 0 && st.rest.zeros == 0
		if err := s.writeHead(st, st.rest.status, st.rest.fields, empty); err != nil {
			return err
		}
		if empty {
			delete(s.streams, st.id)
			return nil
		}
	}
	return s.send(st)
}

// turn lets each server stream write one message. What they write together is flushed together, as
// it is when the handlers of a Go server each write a message, flush, and wait until it is out.
func (s *server) turn() (bool, error) {
	left, wrote := s.talking[:0], false
	for _, st := range s.talking {
		if s.streams[st.id] != st {
			continue
		}
		if st.messages > 0 && int64(len(message)) <= min(s.sendWindow, st.window) {
			if err := s.write(st, message, false); err != nil {
				return false, err
			}
			st.messages--
			wrote = true
		}
		if st.messages > 0 {
			left = append(left, st)
		} else if err := s.finish(st); err != nil {
			return false, err
		}
	}
	s.talking = left
	return wrote, nil
}

func (s *server) writeHead(st *stream, status int, fields [][2]string, end bool) error {
	s.block.Reset()
	_ = s.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	for _, field := range fields {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: st.id, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end,
	})
}

// write sends a DATA frame that the windows are known to hold.
func (s *server) write(st *stream, piece []byte, end bool) error {
	s.sendWindow -= int64(len(piece))
	st.window -= int64(len(piece))
	return s.framer.WriteData(st.id, end, piece)
}

// send writes of the body what the windows hold, then the trailers.
func (s *server) send(st *stream) error {
	for {
		room := min(s.sendWindow, st.window, s.maxFrame)
		body := st.rest.body
		switch {
		case len(body) > 0:
			room = min(room, int64(len(body)))
		case st.rest.zeros > 0:
			room = min(room, st.rest.zeros, int64(len(zeros)))
			body = zeros
		default:
			return s.finish(st)
		}
		if room <= 0 {
			return nil
		}
		last := st.answered && !st.trailers &&
			(len(st.rest.body) > 0 && room == int64(len(st.rest.body)) || len(st.rest.body) == 0 && room == st.rest.zeros)
		if err := s.write(st, body[:room], last); err != nil {
			return err
		}
		if len(st.rest.body) > 0 {
			st.rest.body = st.rest.body[room:]
		} else {
			st.rest.zeros -= room
		}
		if last {
			s.forget(st)
			return nil
		}
	}
}

// finish sends the trailers when the body is out.
func (s *server) finish(st *stream) error {
	if !st.answered || !st.trailers || st.messages > 0 {
		st.rest.body = nil
		return nil
	}
	s.forget(st)
	s.block.Reset()
	_ = s.encoder.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "0"})
	_ = s.encoder.WriteField(hpack.HeaderField{Name: "grpc-message", Value: ""})
	return s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: st.id, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: true,
	})
}

func (s *server) forget(st *stream) {
	delete(s.streams, st.id)
	st.rest = answer{}
	s.spare = append(s.spare, st)
}
