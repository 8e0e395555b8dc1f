package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
)

// The flags that all clients share.
type target struct {
	address, ca, path string
	headers           multi
}

type multi []string

func (m *multi) String() string         { return strings.Join(*m, ", ") }
func (m *multi) Set(value string) error { *m = append(*m, value); return nil }

func (t *target) flags(set *flag.FlagSet) {
	set.StringVar(&t.address, "address", "", "host:port of the proxy")
	set.StringVar(&t.ca, "ca", "", "certificate to trust (PEM)")
	set.StringVar(&t.path, "path", "/", "path to ask for")
	set.Var(&t.headers, "header", "name: value, repeatable")
}

func (t *target) tls(protocols ...string) (*tls.Config, error) {
	text, err := os.ReadFile(t.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", t.ca)
	}
	return &tls.Config{
		RootCAs: pool, ServerName: "localhost", NextProtos: protocols, MinVersion: tls.VersionTLS13,
	}, nil
}

// check asks once and tells what came: Python decides whether it is right.
func check(arguments []string) error {
	var t target
	set := flag.NewFlagSet("check", flag.ExitOnError)
	t.flags(set)
	body := set.String("body", "", "file to post")
	http1 := set.Bool("http1", false, "ask over HTTP/1.1")
	_ = set.Parse(arguments)

	protocol := "h2"
	if *http1 {
		protocol = "http/1.1"
	}
	config, err := t.tls(protocol)
	if err != nil {
		return err
	}
	var seen records
	protocols := new(http.Protocols)
	protocols.SetHTTP1(*http1)
	protocols.SetHTTP2(!*http1)
	client := http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		TLSClientConfig: config, Protocols: protocols, DisableCompression: true,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			connection := tls.Client(&recorder{Conn: raw, seen: &seen}, config)
			return connection, connection.HandshakeContext(ctx)
		},
	}}
	request, err := http.NewRequest(http.MethodGet, "https://"+t.address+t.path, nil)
	if err != nil {
		return err
	}
	if *body != "" {
		file, err := os.Open(*body)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err != nil {
			return err
		}
		request.Method, request.Body, request.ContentLength = http.MethodPost, file, info.Size()
	}
	for _, header := range t.headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	hash := sha256.New()
	var text io.Reader = answer.Body
	if answer.Header.Get("Content-Encoding") == "br" {
		text = brotli.NewReader(text)
	}
	size, err := io.Copy(hash, text)
	if err != nil {
		return err
	}
	flat := func(header http.Header) map[string]string {
		all := map[string]string{}
		for name, values := range header {
			all[strings.ToLower(name)] = strings.Join(values, ", ")
		}
		return all
	}
	return report(map[string]any{
		"status": answer.StatusCode, "protocol": answer.Proto, "bytes": size,
		"sha256": hex.EncodeToString(hash.Sum(nil)), "headers": flat(answer.Header), "trailers": flat(answer.Trailer),
		"tls": tls.VersionName(answer.TLS.Version), "cipher": tls.CipherSuiteName(answer.TLS.CipherSuite),
		"group": answer.TLS.CurveID.String(), "records": seen.all, "full_records": seen.full,
	})
}

// What came in TLS records of application data, and how many of them held the 16 KiB that they can.
type records struct{ all, full int }

// A connection that looks at the header of each record that is read.
type recorder struct {
	net.Conn
	seen *records
	// What of the header is there, and what is left of the record.
	header []byte
	left   int
}

func (r *recorder) Read(into []byte) (int, error) {
	n, err := r.Conn.Read(into)
	for piece := into[:n]; len(piece) > 0; {
		if r.left > 0 {
			skip := min(r.left, len(piece))
			r.left -= skip
			piece = piece[skip:]
			continue
		}
		take := min(5-len(r.header), len(piece))
		r.header = append(r.header, piece[:take]...)
		piece = piece[take:]
		if len(r.header) == 5 {
			r.left = int(r.header[3])<<8 | int(r.header[4])
			if r.header[0] == 23 {
				r.seen.all++
				if r.left >= 16384 {
					r.seen.full++
				}
			}
			r.header = r.header[:0]
		}
	}
	return n, err
}
