package osv

import (
	"bytes"
	"context"

	"github.com/tidewaiter/tidewaiter"
)

// ReadZip reads a zip file that is in memory.
func ReadZip(content []byte, limits Limits) (Report, error) {
	r := reader{ctx: context.Background(), limits: limits.withDefaults(), visit: func(tidewaiter.Advisory) error { return nil }}
	err := r.zip(bytes.NewReader(content), int64(len(content)))
	return r.report, err
}
