package tidewaiter

import "time"

// Advisory is what a database of vulnerabilities says about one of them, or a
// distribution about several: a record of https://ossf.github.io/osv-schema/
// less what no part of ours uses.
type Advisory struct {
	ID         string
	Modified   time.Time
	Published  time.Time // or zero
	Withdrawn  time.Time // since when it is about nothing, or zero
	Aliases    []string  // the same vulnerability elsewhere
	Upstream   []string  // the vulnerabilities that a distribution's advisory is about
	Related    []string
	Summary    string
	Details    string // Markdown; hostile text
	Kind       string // what it is about instead of a vulnerability: unmaintained, unsound, notice, …; or ""
	Severities []Severity
	References []Reference
	Affected   []Affected
}

// Reference is a place where more is said.
type Reference struct {
	Type string // FIX, ADVISORY, WEB, …
	URL  string // hostile text, of any scheme
}

// Affected says which versions of one package an advisory is about: those
// within a range, and those listed.
type Affected struct {
	Ecosystem  string // as in OSV, with the suffix of a release: Debian:12
	Name       string
	Severities []Severity // of this package; else those of the advisory count
	Ranges     []VersionRange
	Versions   []string
	Stand      VendorStand
	Urgency    string // the vendor's own word: Debian's urgency, Ubuntu's priority; or ""
}

// VendorStand is what a vendor says that it does about a vulnerability in one
// of its packages.
type VendorStand string

// What vendors say.
const (
	NoStand     VendorStand = ""
	NotAffected VendorStand = "not affected"
	WillNotFix  VendorStand = "will not fix" // ignored, end of life, out of support
	FixDeferred VendorStand = "fix deferred"
)

// RangeType says how the versions of a range are ordered.
type RangeType string

// The types of range.
const (
	SemVerRange    RangeType = "SEMVER"
	EcosystemRange RangeType = "ECOSYSTEM"
	GitRange       RangeType = "GIT" // by commits: cannot be judged without the repository
)

// VersionRange is a line of versions, along which a vulnerability comes and goes.
type VersionRange struct {
	Type   RangeType
	Events []VersionEvent
}

// EventKind says what happens in a version.
type EventKind string

// The kinds of event.
const (
	Introduced   EventKind = "introduced"    // there from this version on; "0" is before all
	Fixed        EventKind = "fixed"         // no longer there in this version
	LastAffected EventKind = "last_affected" // no longer there after this version
	Limit        EventKind = "limit"         // nothing is said from this version on; "*" is after all
)

// VersionEvent is what happens in a version.
type VersionEvent struct {
	Kind    EventKind
	Version string
}

// SeverityLevel says in a word how bad a vulnerability is.
type SeverityLevel string

// The levels. CVSS scores from 9.0, 7.0, 4.0 and 0.1 are the first four.
const (
	UnknownSeverity  SeverityLevel = ""
	CriticalSeverity SeverityLevel = "critical"
	HighSeverity     SeverityLevel = "high"
	MediumSeverity   SeverityLevel = "medium"
	LowSeverity      SeverityLevel = "low"
	NoSeverity       SeverityLevel = "none" // the vendor holds that it is none
)

// Severity is how bad a vulnerability is, to somebody.
type Severity struct {
	Method string // CVSS_V2, CVSS_V3, CVSS_V4; a vendor's word: Ubuntu, Debian, GitHub, …
	Vector string // of CVSS; else the word
	Score  float64
	Level  SeverityLevel
	Source string // in a [Match]: the advisory that says so
}

// Release is the release of a distribution, as advisories name it.
type Release struct {
	// Ecosystems are those whose advisories count, such as Debian:12; the first
	// that has a word to say about a vulnerability in a package has the last one.
	Ecosystems []string
}

// Match says that an advisory is about a version of a package.
type Match struct {
	AdvisoryID string
	Aliases    []string
	Upstream   []string
	Kind       string // of the advisory
	Severity   Severity
	Ecosystem  string // as the advisory has it
	Name       string // as the advisory has it: mostly of the source package
	Version    string // what was compared
	Status     MatchStatus
	Fixed      []string // later versions that do not have it, the nearest first
	Urgency    string   // the vendor's own word
	Reason     MatchReason
	Range      []VersionEvent // the range that holds the version, or nil
}

// MatchStatus says what can be done about a match.
type MatchStatus string

// The states of a match.
const (
	MatchFixable  MatchStatus = "fixed"    // a later version does not have it
	MatchAffected MatchStatus = "affected" // there is no fix that we know of
	MatchIgnored  MatchStatus = "will not fix"
	MatchDeferred MatchStatus = "fix deferred"
)

// MatchReason says why an advisory is about a version.
type MatchReason string

// The reasons.
const (
	ByRange   MatchReason = "range"
	ByVersion MatchReason = "version" // the advisory lists it
	// ByUnreadableRange is of a boundary or a version that the order of the
	// ecosystem does not know. What cannot be compared counts as affected.
	ByUnreadableRange MatchReason = "unreadable range"
)

// MatchGap says why the list of matches of a package may lack some: what has
// one is not known to be clean.
type MatchGap string

// The gaps.
const (
	NoGap        MatchGap = ""
	GapVersion   MatchGap = "version"   // there is none, or the order of the ecosystem does not know it
	GapEcosystem MatchGap = "ecosystem" // there are no advisories about the ecosystem or the release
	GapRelease   MatchGap = "release"   // nobody knows of which release of which distribution it is
)
