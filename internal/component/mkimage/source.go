package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A source says which state of the project an image is made from.
type source struct {
	revision string    // the commit; with "-dirty" if it is not all; or "unknown"
	time     time.Time // of the commit; the only time in the image
}

// describeSource asks git. Without git, or without a commit, the revision is
// "unknown" and the time 1970. SOURCE_DATE_EPOCH beats the time of the commit
// (https://reproducible-builds.org/specs/source-date-epoch/).
func describeSource(ctx context.Context, tools *toolchain, src string) (source, error) {
	from := source{revision: "unknown", time: time.Unix(0, 0).UTC()}
	if head, err := output(ctx, src, os.Environ(), "git", "log", "-1", "--format=%H %ct"); err == nil {
		commit, seconds, _ := strings.Cut(strings.TrimSpace(string(head)), " ")
		unix, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return source{}, fmt.Errorf("read time of commit: %w", err)
		}
		from = source{revision: commit, time: time.Unix(unix, 0).UTC()}
		dirty, err := dirtyInputs(ctx, tools, src)
		if err != nil {
			return source{}, err
		}
		if dirty {
			from.revision += "-dirty"
		}
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		unix, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || unix < 0 {
			return source{}, fmt.Errorf("SOURCE_DATE_EPOCH must be a number of seconds since 1970")
		}
		from.time = time.Unix(unix, 0).UTC()
	}
	return from, nil
}

// dirtyInputs reports whether anything that goes into the image, or that makes
// it, differs from the commit. Changes elsewhere do not matter.
func dirtyInputs(ctx context.Context, tools *toolchain, src string) (bool, error) {
	// The Go files of each package's folder, so that removed ones count too,
	// and what the packages embed.
	const inputs = `{{with .Module}}{{if .Main}}:(glob){{$.Dir}}/*.go{{"\n"}}{{range $.EmbedFiles}}:(literal){{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	list, err := output(ctx, src, tools.env, "go", "list", "-deps", "-f", inputs, "./cmd/scan-component", "./internal/component/mkimage")
	if err != nil {
		return false, err
	}
	args := []string{"status", "--porcelain", "--", "go.mod", "go.sum", ":(exclude,glob)**/*_test.go"}
	for line := range strings.Lines(string(list)) {
		if pathspec := strings.TrimSpace(line); pathspec != "" {
			args = append(args, pathspec)
		}
	}
	status, err := output(ctx, src, os.Environ(), "git", args...)
	return len(status) > 0, err
}
