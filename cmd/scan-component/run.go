package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/tidewaiter/tidewaiter"
	extractors "github.com/tidewaiter/tidewaiter/internal/extract/all"
	"github.com/tidewaiter/tidewaiter/internal/registry/all"
	"github.com/tidewaiter/tidewaiter/internal/worker"
)

// The exit statuses.
const (
	statusFailed  = 1
	statusUsage   = 2
	statusRemoved = 3 // the server does not know the component any more
	statusVersion = 4 // no version of the protocol in common
)

const defaultState = "/var/lib/tidewaiter"

// settings are what the environment and the flags say. A flag wins; an empty
// variable counts as none.
type settings struct {
	server, state, tokenFile, ca, name string
	parallel                           int
	insecureHTTP                       bool
	logFormat, logLevel                string
}

// readSettings reads the flags after "run", and the environment.
func readSettings(args []string, getenv func(string) string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var wrong error
	text := func(to *string, name, otherwise string) {
		*to = otherwise
		if v := getenv(variable(name)); v != "" {
			*to = v
		}
		flags.StringVar(to, name, *to, "")
	}
	text(&s.server, "server", "")
	text(&s.state, "state", defaultState)
	text(&s.tokenFile, "token-file", "")
	text(&s.ca, "ca", "")
	text(&s.name, "name", "")
	text(&s.logFormat, "log-format", "text")
	text(&s.logLevel, "log-level", "info")
	var parallel, insecure string
	text(&parallel, "parallel", "2")
	if v := getenv(variable("insecure-http")); v != "" {
		insecure = v
	}
	flags.Func("token", "", func(string) error {
		wrong = failure{statusUsage, "the token is not taken as an argument, which everybody on the machine can read; use TIDEWAITER_TOKEN or TIDEWAITER_TOKEN_FILE"}
		return wrong
	})
	flags.BoolFunc("insecure-http", "", func(v string) error {
		insecure = v
		return nil
	})
	err := flags.Parse(args)
	switch {
	case wrong != nil:
		return s, wrong
	case errors.Is(err, flag.ErrHelp):
		return s, failure{0, ""}
	case err != nil:
		return s, failure{statusUsage, err.Error() + "; try: scan-component help"}
	case flags.NArg() > 0:
		return s, failure{statusUsage, "run takes flags only; try: scan-component help"}
	}
	if s.parallel, err = strconv.Atoi(parallel); err != nil {
		return s, wrongSetting("parallel", "is no number; give how many registries to synchronise at a time, such as 2")
	}
	if insecure != "" {
		if s.insecureHTTP, err = strconv.ParseBool(insecure); err != nil {
			return s, wrongSetting("insecure-http", "is neither true nor false")
		}
	}
	return s, nil
}

// variable returns the environment variable of a flag.
func variable(name string) string {
	return "TIDEWAITER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func wrongSetting(name, problem string) error {
	return failure{statusUsage, fmt.Sprintf("%s (--%s): %s", variable(name), name, problem)}
}

// work is the command run: it returns when a signal comes, or when there is no
// point in going on.
func work(args []string, getenv func(string) string, stderr io.Writer) error {
	s, err := readSettings(args, getenv)
	if err != nil {
		return err
	}
	log, err := s.logger(stderr)
	if err != nil {
		return err
	}
	o := worker.Options{
		Folder: s.state, Server: s.server, Token: s.token(getenv("TIDEWAITER_TOKEN")),
		InsecureHTTP: s.insecureHTTP, Name: s.name, Parallel: s.parallel, Connect: all.New, Logger: log,
		Extractors: extractors.Extractors(),
	}
	if s.ca != "" {
		if o.CA, err = os.ReadFile(s.ca); err != nil {
			return wrongSetting("ca", "the file cannot be read: "+reason(err))
		}
	}
	container := selfCheck{root: rootFS(), getenv: getenv, writable: canWrite}
	limitMemory(container)
	w, err := worker.New(o)
	if err != nil {
		return status(err)
	}
	if !container.lasting(s.state) {
		log.Warn("the state folder is in the container's own file system and goes with the container; mount a volume there", "folder", s.state)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the program at once
	}()
	log.Info("scan component starts", "version", tidewaiter.Version, "revision", revision)
	err = w.Run(ctx)
	if err == nil {
		log.Info("scan component ends, as it was asked to")
	}
	return status(errors.Join(err, w.Close()))
}

// reason returns why a file cannot be used, without its name.
func reason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// logger returns the log, to standard error.
func (s settings) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, wrongSetting("log-level", "is not known; use debug, info, warn or error")
	}
	o := &slog.HandlerOptions{Level: level}
	switch s.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, wrongSetting("log-format", "is not known; use text or json")
}

const maxToken = 4 << 10 // bytes

// token returns what gives the one-time token, once it is needed: a file that
// is gone after the enrolment is no mistake.
func (s settings) token(given string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if given = strings.TrimSpace(given); given != "" || s.tokenFile == "" {
			return given, nil
		}
		f, err := os.Open(s.tokenFile) //nolint:gosec // whoever starts the program may have it read what it can
		if err != nil {
			return "", wrongSetting("token-file", "the file cannot be read: "+reason(err))
		}
		defer f.Close() //nolint:errcheck // only read
		text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
		if err != nil {
			return "", wrongSetting("token-file", "the file cannot be read: "+reason(err))
		}
		if token := strings.TrimSpace(string(text)); token != "" && len(text) <= maxToken {
			return token, nil
		}
		return "", wrongSetting("token-file", "the file holds no token")
	}
}

// limitMemory has the garbage collector keep within the container's limit.
func limitMemory(c selfCheck) {
	if limit := c.memoryLimit(); limit > 0 && limit < math.MaxInt64/10 && c.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// status gives an error its exit status, and the names under which a setting
// is known here.
func status(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, worker.ErrRemoved):
		return failure{statusRemoved, worker.ErrRemoved.Error()}
	case errors.Is(err, worker.ErrVersion):
		return failure{statusVersion, err.Error()}
	}
	if f, ok := errors.AsType[failure](err); ok {
		return f
	}
	e, ok := errors.AsType[*tidewaiter.Error](err)
	if ok && e.Kind == tidewaiter.Invalid {
		switch e.Field {
		case "server", "state", "ca", "parallel":
			return wrongSetting(e.Field, e.Message)
		case "token":
			return failure{statusUsage, e.Error()}
		}
	}
	return failure{statusFailed, err.Error()}
}
