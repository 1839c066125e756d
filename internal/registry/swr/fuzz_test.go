package swr

import (
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`[{"Tag":"v1","digest":"sha256:x","size":1,"updated":"2026-03-01T10:20:30Z"}]`))
	f.Add([]byte(`[{"name":"a$b","namespace":"team","domain_name":"owner"}]`))
	f.Add([]byte(`{"total":-1,"repositories":[{"name":"a","namespace_name":"b"}],"artifacts":[{"digest":"x","tags":[{"name":"v1"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range []edition{basic{}, enterprise{}} {
			if _, _, err := e.decodeRepositories(b); err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("repositories: %v", err)
			}
			if _, _, _, err := e.decodeTags(b); err != nil && tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Errorf("tags: %v", err)
			}
		}
	})
}
