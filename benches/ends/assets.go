package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Assets as ZITADEL serves its Console: files of the folder in ENDS_ASSETS, storable by a shared
// cache. NAME is served as it is, and NAME.br in its place to who takes brotli if that file exists:
// a cache that cannot encode has something encoded to store.
var assets sync.Map

func asset(name, accepts, date string) (answer, bool) {
	folder := os.Getenv("ENDS_ASSETS")
	if folder == "" || strings.ContainsAny(name, "/\\") {
		return answer{}, false
	}
	coding, varies := "", false
	body, ok := stored(filepath.Join(folder, name))
	if !ok {
		return answer{}, false
	}
	if encoded, ok := stored(filepath.Join(folder, name+".br")); ok {
		varies = true
		if strings.Contains(accepts, "br") {
			body, coding = encoded, "br"
		}
	}
	fields := [][2]string{
		{"content-type", "text/javascript; charset=utf-8"}, {"date", date},
		{"cache-control", "public, max-age=604800, s-maxage=604800"},
		{"content-length", strconv.Itoa(len(body))},
	}
	if varies {
		fields = append(fields, [2]string{"vary", "accept-encoding"})
	}
	if coding != "" {
		fields = append(fields, [2]string{"content-encoding", coding})
	}
	return answer{status: 200, body: body, fields: fields}, true
}

func stored(path string) ([]byte, bool) {
	if body, ok := assets.Load(path); ok {
		return body.([]byte), body.([]byte) != nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		body = nil
	}
	assets.Store(path, body)
	return body, body != nil
}
