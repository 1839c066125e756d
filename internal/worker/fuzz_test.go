package worker

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func FuzzState(f *testing.F) {
	s, err := newState()
	if err != nil {
		f.Fatal(err)
	}
	s.server, s.componentID = "https://example.com", "c-1"
	text, err := s.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		once, err := s.marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseState(once)
		if err != nil {
			t.Fatalf("what was read does not come back: %v", err)
		}
		if twice, _ := again.marshal(); !bytes.Equal(once, twice) {
			t.Error("what was read is not what is written")
		}
	})
}

func FuzzShort(f *testing.F) {
	f.Add("a\x00\u202e\xff…", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := short(s, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > max(limit, 0) {
			t.Errorf("short(%q, %d) = %q", s, limit, got)
		}
	})
}
