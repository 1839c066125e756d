package tidewaiter

import "time"

// ImageConfig is what an image's config says about it, less every value that
// looks like a secret
// (https://github.com/opencontainers/image-spec/blob/main/config.md).
// All of it is hostile text: valid UTF-8 without control characters, bounded,
// and otherwise whatever the builder of the image wrote there.
type ImageConfig struct {
	Platform   Platform
	Created    time.Time // zero if it does not say
	DiffIDs    []Digest  // of the layers, uncompressed
	Steps      []BuildStep
	User       string
	Entrypoint []string
	Command    []string
	Env        []string // names only, never values
	Ports      []string // "8080/tcp"
	Labels     map[string]string
	WorkDir    string
}

// BuildStep is one step of how an image was built. It made one layer, unless
// it is Empty.
type BuildStep struct {
	Command string // as the builder wrote it down: /bin/sh -c …, COPY …, ENV …
	Created time.Time
	Empty   bool // it changed the config only
	Comment string
}

// StepOf returns the index into Steps of the step that made a layer, or -1 if
// there is no such layer, or if the steps do not account for exactly the
// layers that there are: then none of them can be trusted to be the right one.
func (c ImageConfig) StepOf(layer int) int {
	made, found := 0, -1
	for i, s := range c.Steps {
		if s.Empty {
			continue
		}
		if made == layer {
			found = i
		}
		made++
	}
	if made != len(c.DiffIDs) {
		return -1
	}
	return found
}
