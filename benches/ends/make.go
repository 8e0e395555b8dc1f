package main

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"
)

// makeAssets writes the files that caches are measured with: `small.js` of 5 KB, and `large.js`, whose
// brotli coding beside it has about 350 KB.
func makeAssets(arguments []string) error {
	folder := arguments[0]
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var coded strings.Builder
	for name, size := range map[string]int{"small.js": 5_000, "large.js": 1_450_000} {
		text := script(size)
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return err
		}
	}
	writer := brotli.NewWriterLevel(&coded, 6)
	if _, err := writer.Write(script(1_450_000)); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "large.js.br"), []byte(coded.String()), 0o644)
}

// script is text that compresses about as a bundle does, the same each time.
func script(size int) []byte {
	random := rand.New(rand.NewSource(7))
	words := make([]string, 4000)
	for i := range words {
		letters := make([]byte, 3+random.Intn(9))
		for j := range letters {
			letters[j] = byte('a' + random.Intn(26))
		}
		words[i] = string(letters)
	}
	word := func() string { return words[int(float64(len(words))*random.Float64()*random.Float64())] }
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprintf(&text, "function %s(%s){return this.%s(%q,%d)}\n", word(), word(), word(), word(), random.Intn(1000))
	}
	return []byte(text.String()[:size])
}
