package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// pingpong keeps so many streams open on one connection; each sends a message when the one before
// has come back.
func pingpong(arguments []string) error {
	var t target
	set := flag.NewFlagSet("pingpong", flag.ExitOnError)
	t.flags(set)
	streams := set.Int("streams", 10, "streams at once")
	messages := set.Int("messages", 1000, "messages of each stream")
	_ = set.Parse(arguments)
	config, err := t.tls("h2")
	if err != nil {
		return err
	}
	c, err := t.dial(config, 64<<10)
	if err != nil {
		return err
	}
	_ = c.connection.SetDeadline(time.Now().Add(10 * time.Minute))
	type state struct {
		sent, bytes int
		at          time.Time
	}
	all := map[uint32]*state{}
	waits := make([]int64, 0, *streams**messages)
	send := func(id uint32, st *state) error {
		st.sent++
		st.at = time.Now()
		return c.framer.WriteData(id, st.sent == *messages, message)
	}
	begin := time.Now()
	for range *streams {
		id, err := c.open(&t, "POST", false)
		if err != nil {
			return err
		}
		all[id] = &state{}
		if err := send(id, all[id]); err != nil {
			return err
		}
	}
	statuses := 0
	for len(all) > 0 {
		if c.reader.Buffered() == 0 {
			if err := c.writer.Flush(); err != nil {
				return err
			}
		}
		read, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		if done, err := c.control(read); err != nil {
			return err
		} else if done {
			continue
		}
		switch read := read.(type) {
		case *http2.DataFrame:
			st := all[read.StreamID]
			if st == nil {
				return fmt.Errorf("data of a stream that has ended")
			}
			for st.bytes += len(read.Data()); st.bytes >= len(message); st.bytes -= len(message) {
				waits = append(waits, time.Since(st.at).Microseconds())
				if st.sent < *messages {
					if err := send(read.StreamID, st); err != nil {
						return err
					}
				}
			}
		case *http2.MetaHeadersFrame:
			if read.StreamEnded() {
				for _, field := range read.Fields {
					if field.Name == "grpc-status" && field.Value == "0" {
						statuses++
					}
				}
				delete(all, read.StreamID)
			}
		}
	}
	seconds := time.Since(begin).Seconds()
	if statuses != *streams || len(waits) != *streams**messages {
		return fmt.Errorf("%d messages and %d statuses of %d streams", len(waits), statuses, *streams)
	}
	slices.Sort(waits)
	return report(map[string]any{
		"count": len(waits), "seconds": seconds,
		"p50_us": waits[len(waits)/2], "p99_us": waits[len(waits)*99/100],
	})
}

// handshake connects again and again: TCP, TLS, SETTINGS both ways, end.
func handshake(arguments []string) error {
	var t target
	set := flag.NewFlagSet("handshake", flag.ExitOnError)
	t.flags(set)
	count := set.Int("count", 100, "connections")
	hybrid := set.Bool("hybrid", false, "X25519MLKEM768 in the place of X25519")
	resume := set.Bool("resume", false, "resume the session of the connection before")
	_ = set.Parse(arguments)
	config, err := t.tls("h2")
	if err != nil {
		return err
	}
	group := tls.X25519
	if *hybrid {
		group = tls.X25519MLKEM768
	}
	config.CurvePreferences = []tls.CurveID{group}
	if *resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		// The first has nothing to resume; SETTINGS came behind the ticket.
		c, err := t.dial(config, 4096)
		if err != nil {
			return err
		}
		c.connection.Close()
	}
	// Time for the caller to take the counter, when this session exists.
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	waits := make([]int64, 0, *count)
	begin := time.Now()
	for range *count {
		at := time.Now()
		c, err := t.dial(config, 4096)
		if err != nil {
			return err
		}
		state := c.connection.ConnectionState()
		if state.DidResume != *resume || state.CurveID != group {
			return fmt.Errorf("resumed: %v, group: %v", state.DidResume, state.CurveID)
		}
		waits = append(waits, time.Since(at).Microseconds())
		c.connection.Close()
	}
	seconds := time.Since(begin).Seconds()
	slices.Sort(waits)
	return report(map[string]any{
		"count": *count, "seconds": seconds, "p50_us": waits[len(waits)/2], "p99_us": waits[len(waits)*99/100],
	})
}

// idle opens connections, asks once on each, and holds them until its input ends.
func idle(arguments []string) error {
	var t target
	set := flag.NewFlagSet("idle", flag.ExitOnError)
	t.flags(set)
	count := set.Int("count", 1000, "connections")
	_ = set.Parse(arguments)
	config, err := t.tls("h2")
	if err != nil {
		return err
	}
	held := make([]*client, 0, *count)
	for range *count {
		c, err := t.dial(config, 4096)
		if err != nil {
			return fmt.Errorf("after %d connections: %w", len(held), err)
		}
		if err := c.once(&t); err != nil {
			return fmt.Errorf("after %d connections: %w", len(held), err)
		}
		_ = c.connection.SetDeadline(time.Time{})
		held = append(held, c)
	}
	if err := report(map[string]any{"count": len(held)}); err != nil {
		return err
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// once asks and reads the answer to its end.
func (c *client) once(t *target) error {
	id, err := c.open(t, "GET", true)
	if err != nil {
		return err
	}
	for {
		if err := c.writer.Flush(); err != nil {
			return err
		}
		read, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		if done, err := c.control(read); err != nil {
			return err
		} else if done {
			continue
		}
		if head, ok := read.(*http2.MetaHeadersFrame); ok && head.StreamID == id && head.PseudoValue("status") != "200" {
			return fmt.Errorf("status %s", head.PseudoValue("status"))
		}
		if end, ok := read.(interface{ StreamEnded() bool }); ok && end.StreamEnded() {
			return c.writer.Flush()
		}
	}
}

// ready asks until it is answered, and says how long that took since -since (nanoseconds of the
// system's clock).
func ready(arguments []string) error {
	var t target
	set := flag.NewFlagSet("ready", flag.ExitOnError)
	t.flags(set)
	since := set.Int64("since", 0, "when the server was started, Unix nanoseconds")
	_ = set.Parse(arguments)
	config, err := t.tls("h2")
	if err != nil {
		return err
	}
	for until := time.Now().Add(30 * time.Second); ; {
		c, err := t.dial(config, 4096)
		if err == nil {
			err = c.once(&t)
			c.connection.Close()
		}
		if err == nil {
			return report(map[string]any{"ms": float64(time.Now().UnixNano()-*since) / 1e6})
		}
		if time.Now().After(until) {
			return err
		}
		time.Sleep(200 * time.Microsecond)
	}
}
