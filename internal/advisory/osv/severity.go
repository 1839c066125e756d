package osv

import (
	"encoding/json"
	"math"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/tidewaiter/tidewaiter"
)

// severities reads severities, less those that cannot be understood.
func severities(list []severity) []tidewaiter.Severity {
	var found []tidewaiter.Severity
	for _, s := range list[:min(len(list), 16)] {
		if len(s.Score) > maxVector || len(s.Type) > maxID {
			continue
		}
		is := tidewaiter.Severity{Method: s.Type, Vector: s.Score}
		if strings.HasPrefix(s.Type, "CVSS_") {
			score, ok := Score(s.Score)
			if !ok {
				continue
			}
			is.Score, is.Level = score, LevelOf(score)
		} else if is.Level = levelOfWord(s.Score); is.Level == tidewaiter.UnknownSeverity {
			continue
		}
		found = append(found, is)
	}
	return found
}

// Score returns the score of a vector of CVSS 2.0, 3.0, 3.1 or 4.0: the base
// score, and of 4.0 that of all the metrics that it names. It is false for what
// is no such vector.
func Score(vector string) (score float64, ok bool) {
	defer func() {
		if math.IsNaN(score) || score < 0 || score > 10 {
			score, ok = 0, false
		}
	}()
	vector = strings.TrimSuffix(strings.TrimSpace(vector), "/")
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := gocvss40.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.Score(), true
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := gocvss31.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := gocvss30.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	}
	v, err := gocvss20.ParseVector(strings.Trim(vector, "()"))
	if err != nil {
		return 0, false
	}
	return v.BaseScore(), true
}

// LevelOf returns the level of a score, as CVSS 3 and 4 rate it.
func LevelOf(score float64) tidewaiter.SeverityLevel {
	switch {
	case score >= 9:
		return tidewaiter.CriticalSeverity
	case score >= 7:
		return tidewaiter.HighSeverity
	case score >= 4:
		return tidewaiter.MediumSeverity
	case score > 0:
		return tidewaiter.LowSeverity
	}
	return tidewaiter.NoSeverity
}

// levelOfWord returns the level of a vendor's word: Ubuntu's priority, Debian's
// urgency, Red Hat's and SUSE's impact, GitHub's severity.
func levelOfWord(word string) tidewaiter.SeverityLevel {
	switch strings.ToLower(strings.Trim(word, "* ")) {
	case "critical":
		return tidewaiter.CriticalSeverity
	case "high", "important":
		return tidewaiter.HighSeverity
	case "medium", "moderate":
		return tidewaiter.MediumSeverity
	case "low":
		return tidewaiter.LowSeverity
	case "negligible", "unimportant", "none":
		return tidewaiter.NoSeverity
	}
	return tidewaiter.UnknownSeverity
}

// word is a text, where databases may have anything.
type word string

// UnmarshalJSON implements [json.Unmarshaler]. What is no text says nothing.
func (w *word) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil && len(s) <= maxID {
		*w = word(s)
	}
	return nil
}

// documentDatabase is what matters of the database_specific of an advisory.
type documentDatabase struct {
	Severity      word // of GitHub
	Informational word
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *documentDatabase) UnmarshalJSON(text []byte) error {
	var fields struct {
		Severity      word `json:"severity"`
		Informational word `json:"informational"`
	}
	if json.Unmarshal(text, &fields) == nil {
		*d = documentDatabase(fields)
	}
	return nil
}

func (d documentDatabase) severities() []tidewaiter.Severity {
	if level := levelOfWord(string(d.Severity)); level != tidewaiter.UnknownSeverity {
		return []tidewaiter.Severity{{Method: "database", Vector: string(d.Severity), Level: level}}
	}
	return nil
}

// vendor is what matters of the ecosystem_specific and database_specific of a
// package: what the vendor thinks of it, and does about it.
type vendor struct {
	Urgency       word
	Severity      word
	State         word
	Informational word
}

// UnmarshalJSON implements [json.Unmarshaler].
func (v *vendor) UnmarshalJSON(text []byte) error {
	var fields struct {
		Urgency       word `json:"urgency"`         // Debian
		Priority      word `json:"ubuntu_priority"` // Ubuntu
		Severity      word `json:"severity"`        // Bitnami and others
		Status        word `json:"status"`
		State         word `json:"state"`
		FixState      word `json:"fix_state"`
		FixStateToo   word `json:"fix-state"`
		NoDSA         word `json:"nodsa_reason"` // Debian: ignored, postponed
		Informational word `json:"informational"`
	}
	if json.Unmarshal(text, &fields) != nil {
		return nil // the schema says an object, and leaves all in it open
	}
	v.Urgency = first(fields.Urgency, fields.Priority)
	v.Severity = fields.Severity
	v.State = first(fields.Status, fields.State, fields.FixState, fields.FixStateToo, fields.NoDSA)
	v.Informational = fields.Informational
	return nil
}

func first(words ...word) word {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func (a *affected) urgency() string {
	return cut(string(first(a.Ecosystem.Urgency, a.Database.Urgency)), maxID)
}

// vendorSeverities returns what the vendor's words say, where there is no score.
func (a *affected) vendorSeverities(urgency string) []tidewaiter.Severity {
	for _, text := range []string{string(a.Ecosystem.Severity), string(a.Database.Severity), urgency} {
		if level := levelOfWord(text); level != tidewaiter.UnknownSeverity {
			return []tidewaiter.Severity{{Method: "vendor", Vector: text, Level: level}}
		}
	}
	return nil
}

// stand returns what the vendor says that it does.
func (a *affected) stand() tidewaiter.VendorStand {
	if strings.EqualFold(a.urgency(), "end-of-life") {
		return tidewaiter.WillNotFix
	}
	state := string(first(a.Ecosystem.State, a.Database.State))
	state = strings.NewReplacer("-", " ", "_", " ", "'", "").Replace(strings.ToLower(state))
	switch state {
	case "not affected", "known not affected":
		return tidewaiter.NotAffected
	case "ignored", "wont fix", "will not fix", "end of life", "out of support scope", "unsupported":
		return tidewaiter.WillNotFix
	case "deferred", "fix deferred", "postponed":
		return tidewaiter.FixDeferred
	}
	return tidewaiter.NoStand
}
