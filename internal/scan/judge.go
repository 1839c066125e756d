package scan

import (
	"fmt"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/overlay"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

// codes maps why something was not looked into (package extract) to the
// contract's codes.
func codes() map[string]string {
	return map[string]string{
		"file_too_large":  tidewaiter.FailSoftware,
		"layer_too_large": tidewaiter.FailImageSize,
		"path":            tidewaiter.FailFiles,
		"entry":           tidewaiter.FailFiles,
		"parse":           tidewaiter.FailSoftware,
		"nesting":         tidewaiter.FailSoftware,
		"foreign_layer":   tidewaiter.FailDownload,
		"encrypted_layer": tidewaiter.FailFiles,
		"digest":          tidewaiter.FailFiles,
		"compression":     tidewaiter.FailFiles,
		"time":            tidewaiter.FailTimeout,
	}
}

// judge returns what an image with cuts has come to, both "" without any: the
// code and the words of the first cut of a whole layer, else of the first.
func judge(cuts []overlay.Cut) (code, reason string) {
	if len(cuts) == 0 {
		return "", ""
	}
	worst := cuts[0]
	for _, c := range cuts {
		if c.Path == "" {
			worst = c
			break
		}
	}
	code = codes()[worst.Code]
	if code == "" {
		code = tidewaiter.FailUnknown
	}
	where := fmt.Sprintf("layer %d", worst.Layer+1)
	if worst.Path != "" {
		where += ", " + stored(worst.Path)
	}
	reason = where + ": " + stored(worst.Reason)
	if n := len(cuts) - 1; n > 0 {
		reason += fmt.Sprintf(" (and %d more)", n)
	}
	return code, clean(reason, protocol.MaxMessage)
}

// checkFailure bounds what a component says of a failure.
func checkFailure(f protocol.ScanFailure) (code, reason string) {
	switch f.Code {
	case tidewaiter.FailAuthentication, tidewaiter.FailDownload, tidewaiter.FailImageSize, tidewaiter.FailLayers, tidewaiter.FailNotFound,
		tidewaiter.FailSchema1, tidewaiter.FailFiles, tidewaiter.FailSoftware, tidewaiter.FailTimeout, tidewaiter.FailNotSent:
		code = f.Code
	default:
		code = tidewaiter.FailUnknown
	}
	reason = clean(f.Message, protocol.MaxMessage)
	if reason == "" {
		reason = "the scan component does not say why; look at its log"
	}
	return code, reason
}

// clean makes a text that a component sent fit to be kept and shown on one line.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

func checkProgress(p protocol.Progress) tidewaiter.WorkProgress {
	for _, n := range []*int{&p.Repositories, &p.RepositoriesDone, &p.Images, &p.Skipped, &p.Requests} {
		*n = max(*n, 0)
	}
	return tidewaiter.WorkProgress(p)
}

// Bounds of what is kept of an image's config.
const (
	maxConfigText  = 4 << 10 // characters
	maxConfigItems = 1 << 10
)

// checkConfig bounds what a component says of an image's config.
func checkConfig(c protocol.ImageConfig, diffIDs []tidewaiter.Digest) tidewaiter.ImageConfig {
	text := func(s *string) { *s = clean(*s, maxConfigText) }
	list := func(l *[]string) {
		*l = (*l)[:min(len(*l), maxConfigItems)]
		for i := range *l {
			text(&(*l)[i])
		}
	}
	for _, s := range []*string{&c.OS, &c.Architecture, &c.Variant, &c.OSVersion, &c.User, &c.WorkDir} {
		text(s)
	}
	for _, l := range []*[]string{&c.Entrypoint, &c.Command, &c.Env, &c.Ports} {
		list(l)
	}
	c.Steps = c.Steps[:min(len(c.Steps), protocol.MaxSteps)]
	for i := range c.Steps {
		text(&c.Steps[i].Command)
		text(&c.Steps[i].Comment)
	}
	labels := make(map[string]string, min(len(c.Labels), maxConfigItems))
	for k, v := range c.Labels {
		if len(labels) == maxConfigItems {
			break
		}
		labels[clean(k, maxConfigText)] = clean(v, maxConfigText)
	}
	c.Labels = labels
	return c.Noun(diffIDs)
}
