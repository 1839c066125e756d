package registry

import (
	"path"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// Match tells whether a name matches a pattern: parts between slashes match
// as in path.Match, and "**" stands for any number of parts, none included.
// A pattern that cannot be read matches nothing: see [CheckPatterns].
func Match(pattern, name string) bool {
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	// reach[j] tells whether the parts of the pattern so far match name[:j]:
	// no backtracking, so no pattern takes long.
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for _, part := range pattern {
		next := make([]bool, len(name)+1)
		if part == "**" {
			on := false
			for j := range reach {
				on = on || reach[j]
				next[j] = on
			}
		} else {
			for j := range name {
				if reach[j] {
					ok, err := path.Match(part, name[j])
					next[j+1] = ok && err == nil
				}
			}
		}
		reach = next
	}
	return reach[len(name)]
}

// CheckPatterns refuses patterns that cannot be read. Errors are of kind
// Invalid and name the field.
func CheckPatterns(field string, patterns []string) error {
	if len(patterns) > 100 {
		return tidewaiter.InvalidField(field, "has more than 100 patterns; use fewer and wider ones")
	}
	for _, p := range patterns {
		if err := tidewaiter.CheckText(field, p, 256); err != nil {
			return err
		}
		for part := range strings.SplitSeq(p, "/") {
			if _, err := path.Match(part, ""); err != nil {
				return tidewaiter.InvalidField(field, "has a pattern that cannot be read; '*' stands for any characters but '/', '?' for one, '[a-z]' for one of several, '**' for any number of parts")
			}
		}
	}
	return nil
}

// AdmitsRepository tells whether the patterns admit a repository.
func (c Config) AdmitsRepository(name string) bool { return admits(c.Include, c.Exclude, name) }

// AdmitsTag tells whether the patterns admit a tag.
func (c Config) AdmitsTag(name string) bool { return admits(c.IncludeTags, c.ExcludeTags, name) }

func admits(include, exclude []string, name string) bool {
	return (len(include) == 0 || matchAny(include, name)) && !matchAny(exclude, name)
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return false
}

// CheckRepository says why a name can be no repository's, or "".
func CheckRepository(name string) string {
	if len(name) > 255 {
		return "its name is longer than 255 characters"
	}
	for part := range strings.SplitSeq(name, "/") {
		if !isNamePart(part) {
			return "its name is none that a registry may have"
		}
	}
	return ""
}

// isNamePart follows the <name> grammar of the distribution specification.
func isNamePart(s string) bool {
	run := "" // of separators
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			if run != "" && run != "." && run != "_" && run != "__" && strings.Trim(run, "-") != "" {
				return false
			}
			run = ""
		case (c == '.' || c == '_' || c == '-') && i > 0:
			run += string(rune(c))
		default:
			return false
		}
	}
	return s != "" && run == ""
}

// CheckTag says why a name can be no tag's, or "".
func CheckTag(name string) string {
	if len(name) == 0 || len(name) > 128 {
		return "its name is empty or longer than 128 characters"
	}
	for i, c := range []byte(name) {
		word := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return "its name is none that a registry may have"
		}
	}
	return ""
}
