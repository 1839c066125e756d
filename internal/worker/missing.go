package worker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// missing says which images of an index could not be read, and why.
func missing(unread []registry.Child, all int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d of its %d images cannot be read: ", len(unread), all)
	for i, c := range unread {
		if i == 3 {
			text.WriteString("; and others")
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		why := "it cannot be read"
		if tidewaiter.KindOf(c.Err) == tidewaiter.NotFound {
			why = "it, or its config, is not in the registry"
		} else if e, ok := errors.AsType[*tidewaiter.Error](c.Err); ok {
			why = e.Message
		}
		name := "an image without a platform"
		if c.Platform.OS != "" {
			name = short(c.Platform.String(), 100)
		}
		fmt.Fprintf(&text, "%s: %s", name, short(why, 200))
	}
	return text.String()
}
