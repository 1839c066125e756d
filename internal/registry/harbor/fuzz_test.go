package harbor

import (
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func FuzzTags(f *testing.F) {
	f.Add([]byte(`[{"digest":"sha256:x","size":1,"manifest_media_type":"m","tags":[{"name":"v1","push_time":"2026-03-01T10:20:30.123Z"}]},{"tags":null}]`))
	f.Add([]byte(`[{"name":"v1","digest":"sha256:x","size":-1,"push_time":"yesterday"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, api := range []dialect{v1{}, v2{}} {
			items, tags, err := api.decodeTags(b)
			if err != nil && (tidewaiter.KindOf(err) != tidewaiter.Invalid || items != 0 || tags != nil) {
				t.Errorf("%d items, %d tags, %v", items, len(tags), err)
			}
		}
	})
}
