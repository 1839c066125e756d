package parse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Lines calls visit with each line, less its end. Lines of more than 16 KiB,
// which are no paths, are left out.
func Lines(ctx context.Context, r io.Reader, visit func(line []byte)) error {
	lines := bufio.NewReaderSize(r, maxField)
	for n, whole := 0, true; ; n++ {
		line, err := lines.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if whole && !full && len(line) > 0 {
			visit(bytes.TrimRight(line, "\r\n"))
		}
		whole = !full
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !full {
			return fmt.Errorf("read a line: %w", err)
		}
		if n&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
