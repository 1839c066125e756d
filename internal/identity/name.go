package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// Limits of texts, in characters.
const (
	maxName        = 64
	maxDescription = 255
)

// checkName checks the name of a thing, which stands in the field.
func checkName(field, name string) error {
	switch n := utf8.RuneCountInString(name); {
	case n < 1 || n > maxName:
		return tidewaiter.InvalidField(field, "it must have 1 to %d characters", maxName)
	case strings.TrimSpace(name) != name:
		return tidewaiter.InvalidField(field, "it must not begin or end with a blank")
	}
	return checkText(field, name, maxName)
}

// checkText checks a text for length, and for characters that do not show or
// that change the order of others.
func checkText(field, text string, limit int) error {
	if utf8.RuneCountInString(text) > limit {
		return tidewaiter.InvalidField(field, "it must have at most %d characters", limit)
	}
	if !utf8.ValidString(text) {
		return tidewaiter.InvalidField(field, "it is not UTF-8")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) {
			return tidewaiter.InvalidField(field, "it has a character that cannot be printed")
		}
	}
	return nil
}
