package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// Limits of what is kept of an image's config. What is beyond them is left
// out: nothing in there decides what the image holds.
const (
	MaxSteps      = 4_096 // of the history; of a longer one, none is kept
	MaxStep       = 2_048 // runes of a step's command, and of anything else that has no limit of its own
	MaxArguments  = 256   // of entry point and command
	MaxEnv        = 1_024
	MaxPorts      = 256
	MaxLabels     = 256
	MaxLabel      = 256   // bytes of a label's name, and of the name of an environment variable
	MaxLabelValue = 1_024 // bytes
)

// readConfig gets and checks the config of an image.
func readConfig(ctx context.Context, c Content, repository string, d Document) (*tidewaiter.ImageConfig, error) {
	if d.Config.Size > MaxConfig {
		return nil, failure(tidewaiter.TooLarge, ReasonLimit, "an image has a config of more than %d bytes", MaxConfig)
	}
	var body []byte
	blob, err := c.Blob(ctx, repository, d.Config)
	if err == nil {
		body, err = io.ReadAll(blob)
		_ = blob.Close()
	}
	if err != nil {
		return nil, err
	}
	return ParseConfig(body, len(d.Layers))
}

// ParseConfig reads the config of an image with so many layers. Errors are of
// kind Invalid: it is no JSON, or what it says about platform and layers makes
// no sense. What is odd in the rest is left out, as it is no reason to refuse
// an image that runs.
func ParseConfig(body []byte, layers int) (*tidewaiter.ImageConfig, error) {
	var raw struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
		OSVersion    string `json:"os.version"`
		Created      text   `json:"created"`
		RootFS       struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
		History history   `json:"history"`
		Config  runConfig `json:"config"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, failure(tidewaiter.Invalid, ReasonAnswer, "the config of an image cannot be read: it is no JSON of a config's form")
	}
	if len(raw.RootFS.DiffIDs) != layers {
		return nil, failure(tidewaiter.Invalid, ReasonAnswer, "an image has %d layers in its manifest and %d in its config", layers, len(raw.RootFS.DiffIDs))
	}
	ids := make([]tidewaiter.Digest, layers)
	for i, s := range raw.RootFS.DiffIDs {
		var err error
		if ids[i], err = tidewaiter.ParseDigest(s); err != nil {
			return nil, tidewaiter.Wrap(tidewaiter.Invalid, &Failure{Reason: ReasonDigest, Err: err}, "the config of an image names a digest that is none")
		}
	}
	return &tidewaiter.ImageConfig{
		Platform: tidewaiter.Platform{OS: raw.OS, Architecture: raw.Architecture, Variant: raw.Variant, OSVersion: raw.OSVersion},
		Created:  ParseTime(string(raw.Created)), DiffIDs: ids, Steps: raw.History,
		User: shown(raw.Config.User), WorkDir: shown(raw.Config.WorkDir),
		Entrypoint: arguments(raw.Config.Entrypoint), Command: arguments(raw.Config.Command),
		Env: names(raw.Config.Env), Ports: raw.Config.Ports, Labels: raw.Config.Labels,
	}, nil
}

// runConfig is how a container is to be started. Whatever it is but an object
// is nothing.
type runConfig struct{ runFields }

type runFields struct {
	User       text   `json:"User"`
	WorkDir    text   `json:"WorkingDir"`
	Entrypoint texts  `json:"Entrypoint"`
	Command    texts  `json:"Cmd"`
	Env        texts  `json:"Env"`
	Ports      ports  `json:"ExposedPorts"`
	Labels     labels `json:"Labels"`
}

func (c *runConfig) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, &c.runFields)
}

// text is a string. Anything else is "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if b[0] != '"' {
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// flag is true or false. Anything else is false.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag(string(b) == "true")
	return nil
}

// texts are the strings of a list, or the one string that stands in place of
// it, as docker allows it: at most as many as any list of ours may have.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	*t = nil
	if b[0] == '"' {
		b = slices.Concat([]byte("["), b, []byte("]"))
	}
	if b[0] != '[' {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() && len(*t) < max(MaxArguments, MaxEnv) {
		var s text
		if err := dec.Decode(&s); err != nil {
			return err
		}
		*t = append(*t, string(s))
	}
	return nil
}

// history is read step by step, so that a long one costs no memory.
type history []tidewaiter.BuildStep

func (h *history) UnmarshalJSON(b []byte) error {
	*h = nil
	if b[0] != '[' {
		return nil
	}
	var steps []tidewaiter.BuildStep
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		if len(steps) == MaxSteps {
			return nil // the first ones alone could be taken for all that there are
		}
		var raw step
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		steps = append(steps, tidewaiter.BuildStep{
			Command: shown(raw.CreatedBy), Created: ParseTime(string(raw.Created)), Empty: bool(raw.Empty), Comment: shown(raw.Comment),
		})
	}
	*h = steps
	return nil
}

// step is one entry of the history. One that is no object is a step of which
// nothing is known.
type step struct{ stepFields }

type stepFields struct {
	Created   text `json:"created"`
	CreatedBy text `json:"created_by"`
	Comment   text `json:"comment"`
	Empty     flag `json:"empty_layer"`
}

func (s *step) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, &s.stepFields)
}

// ports are the names of the members of an object.
type ports []string

func (p *ports) UnmarshalJSON(b []byte) error {
	*p = nil
	err := members(b, func(name string, _ text) bool {
		*p = append(*p, cut(redact(clean(name)), MaxLabel))
		return len(*p) < MaxPorts
	})
	slices.Sort(*p)
	*p = slices.Compact(*p)
	return err
}

// labels are the members of an object that are strings.
type labels map[string]string

func (l *labels) UnmarshalJSON(b []byte) error {
	*l = nil
	return members(b, func(name string, value text) bool {
		if *l == nil {
			*l = make(labels)
		}
		kept := redact(clean(string(value)))
		if secretName(name) && value != "" {
			kept = hidden
		}
		(*l)[cut(redact(clean(name)), MaxLabel)] = cut(kept, MaxLabelValue)
		return len(*l) < MaxLabels
	})
}

// members goes through the members of an object, until f returns false.
func members(b []byte, f func(name string, value text) bool) error {
	if b[0] != '{' {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value text
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if !f(name.(string), value) {
			return nil
		}
	}
	return nil
}

// shown returns a text as it may be kept: without secrets, without control
// characters, and no longer than MaxStep runes.
func shown(t text) string { return cutRunes(redact(clean(string(t))), MaxStep) }

// arguments returns the words of a command line as they may be kept.
func arguments(list texts) []string {
	words := make([]string, min(len(list), MaxArguments))
	for i := range words {
		words[i] = clean(list[i])
	}
	words = redactArguments(words)
	for i := range words {
		words[i] = cutRunes(words[i], MaxStep)
	}
	return words
}

// names returns the names of environment variables.
func names(env texts) []string {
	var list []string
	for _, s := range env[:min(len(env), MaxEnv)] {
		if i := strings.IndexFunc(s, func(r rune) bool { return r == '=' || r == ':' || unicode.IsSpace(r) }); i >= 0 {
			s = s[:i]
		}
		if s = cut(clean(s), MaxLabel); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// clean replaces what would act on whoever looks at a text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// cut shortens a text to so many bytes, and leaves no half a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit]) // and not keep all of it
}

// cutRunes shortens a text to so many runes.
func cutRunes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return strings.Clone(s[:i])
		}
		n++
	}
	return s
}
