package tidewaiter

import "time"

// VulnerabilityKind says in what kind of software a vulnerability is, as the
// contract names it.
type VulnerabilityKind string

// The kinds. The same vulnerability can be of both.
const (
	SystemVulnerability      VulnerabilityKind = "linux_vul" // in a package of the operating system
	ApplicationVulnerability VulnerabilityKind = "app_vul"
)

// SeverityRank orders levels of severity. What nobody has judged yet stands
// between low and medium, and is treated as medium.
type SeverityRank int

// The ranks, as they are stored.
const (
	RankNone SeverityRank = iota
	RankLow
	RankUnknown
	RankMedium
	RankHigh
	RankCritical
	Ranks int = iota
)

// Rank returns where a level stands.
func (l SeverityLevel) Rank() SeverityRank {
	switch l {
	case NoSeverity:
		return RankNone
	case LowSeverity:
		return RankLow
	case MediumSeverity:
		return RankMedium
	case HighSeverity:
		return RankHigh
	case CriticalSeverity:
		return RankCritical
	}
	return RankUnknown
}

// Level is the inverse of [SeverityLevel.Rank].
func (r SeverityRank) Level() SeverityLevel {
	return [...]SeverityLevel{NoSeverity, LowSeverity, UnknownSeverity, MediumSeverity, HighSeverity, CriticalSeverity}[r]
}

// Risk counts what an image of one platform has: each vulnerability once for
// each version of a package that has it.
type Risk struct {
	Found   [Ranks]int // that nobody has handled
	Handled int
	Gaps    int // packages of which it is not known what they have
}

// Vulnerabilities returns how many there are that nobody has handled.
func (r Risk) Vulnerabilities() (n int) {
	for _, found := range r.Found {
		n += found
	}
	return n
}

// Level returns the contract's word for the risk of an image that was scanned
// to its end: that of the worst vulnerability, Security if there is none, and
// "" if that is not known.
func (r Risk) Level() string {
	switch {
	case r.Found[RankCritical]+r.Found[RankHigh] > 0:
		return "High"
	case r.Found[RankMedium]+r.Found[RankUnknown] > 0:
		return "Medium"
	case r.Found[RankLow]+r.Found[RankNone] > 0:
		return "Low"
	case r.Gaps > 0:
		return ""
	}
	return "Security"
}

// ExceptionAction is what somebody did about a vulnerability.
type ExceptionAction string

// The actions.
const (
	ActionIgnore       ExceptionAction = "ignore"
	ActionManualRepair ExceptionAction = "manual_repair"
	ActionWhitelist    ExceptionAction = "whitelist"
	ActionVEX          ExceptionAction = "vex" // a document says so
)

// ExceptionScope says which images an exception is about.
type ExceptionScope string

// The scopes. The first two hold for images to come as well.
const (
	ScopeAllImages  ExceptionScope = "all_images"
	ScopeImageTypes ExceptionScope = "image_types" // those of registries of some types
	ScopeImages     ExceptionScope = "images"      // given ones
)

// Exception says where a vulnerability counts as handled, and why.
type Exception struct {
	ID                  string
	ProjectID           string
	EnterpriseProjectID string            // of the registries whose images it is about, "" for all
	Vulnerability       string            // its name
	Kind                VulnerabilityKind // "" for both
	Action              ExceptionAction
	Scope               ExceptionScope
	RegistryTypes       []RegistryType   // of ScopeImageTypes
	Images              []ExceptionImage // of ScopeImages
	Package             string           // a package URL without qualifiers, "" for all; without a version it is about all versions
	Status              string           // of VEX: not_affected or fixed
	Justification       string           // of VEX
	Remark              string
	Source              string // of VEX: the document
	Author              string
	Created, Updated    time.Time
	Expires             time.Time // or zero
}

// ExceptionImage is an image that an exception is about. With an ImageID, it is
// what the tag stands for, whatever that is at the time.
type ExceptionImage struct {
	ImageID    int64 // of a tag, or 0
	ManifestID int64 // 0 if the tag is gone
}
