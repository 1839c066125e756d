package registry

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Lister turns names from a registry into what a connector yields: it leaves
// out what the patterns do not admit and what was there already, marks what
// cannot be used, and stops at the limits.
type Lister struct {
	config Config
	seen   map[string]bool
}

// NewLister returns a lister for one listing.
func NewLister(c Config) *Lister { return &Lister{config: c, seen: make(map[string]bool)} }

// Repository returns what to yield for a repository, or ok=false for nothing.
func (l *Lister) Repository(name string) (r Repository, ok bool, err error) {
	if l.seen[name] || !l.config.AdmitsRepository(name) {
		return Repository{}, false, nil
	}
	if len(l.seen) >= MaxRepositories {
		return Repository{}, false, failure(tidewaiter.TooLarge, ReasonLimit, "the registry lists more than %d repositories; narrow them down with patterns", MaxRepositories)
	}
	l.seen[name] = true
	r = Repository{Name: name, Problem: CheckRepository(name)}
	if r.Problem != "" {
		r.Name = display(name)
	}
	return r, true, nil
}

// Tag returns what to yield for a tag, or ok=false for nothing. digest is as
// the registry gave it, or "".
func (l *Lister) Tag(t Tag, digest string) (Tag, bool, error) {
	if l.seen[t.Name] || !l.config.AdmitsTag(t.Name) {
		return Tag{}, false, nil
	}
	if len(l.seen) >= MaxTags {
		return Tag{}, false, failure(tidewaiter.TooLarge, ReasonLimit, "a repository has more than %d tags; narrow them down with patterns", MaxTags)
	}
	l.seen[t.Name] = true
	t.Problem = CheckTag(t.Name)
	if digest != "" {
		d, err := tidewaiter.ParseDigest(digest)
		if err != nil && t.Problem == "" {
			t.Problem = "the registry gives it a digest that is none"
		}
		t.Digest = d
	}
	if t.Problem != "" {
		t.Name, t.Digest = display(t.Name), ""
	}
	t.Size = max(t.Size, 0)
	return t, true, nil
}

// Decode reads the JSON of a page. Errors are of kind Invalid.
func Decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return failure(tidewaiter.Invalid, ReasonAnswer, "the registry gives an answer that cannot be read; check that the address is that of a registry of the given type and version")
	}
	return nil
}

// Given yields the repositories that the configuration lists.
func (c Config) Given(yield func(Repository, error) bool) {
	l := NewLister(c)
	for _, name := range slices.Sorted(slices.Values(c.Repositories)) {
		r, ok, err := l.Repository(name)
		if err != nil || ok {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// ParseTime reads a time of RFC 3339. What cannot be read is no time, and
// nothing to fail for; nor is a time whose year in UTC has no four digits,
// which nobody could write down in that form again.
func ParseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
