package tidewaiter

// PolicyDocument is a policy document of Version 1.1.
type PolicyDocument struct {
	Version   string
	Statement []PolicyStatement
}

// PolicyStatement allows or denies actions. An action is
// "service:resource:verb"; "*" stands for any run of characters within one of
// the three parts.
type PolicyStatement struct {
	Effect Effect
	Action []string
}

// Effect is what a statement does.
type Effect string

// The effects. A Deny that matches beats every Allow.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Decision is what policies say about one action.
type Decision int

// The decisions, in the order of their weight: of several, the greatest wins.
const (
	NoMatch Decision = iota // nothing said: the action is refused
	Allowed
	Denied
)

// String returns the decision in words, for logs.
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case Denied:
		return "denied"
	}
	return "no match"
}

// Decide returns what the document says about an action.
func (d PolicyDocument) Decide(action string) Decision {
	decision := NoMatch
	for _, s := range d.Statement {
		for _, pattern := range s.Action {
			if !MatchAction(pattern, action) {
				continue
			}
			if s.Effect != Allow {
				return Denied
			}
			decision = Allowed
			break
		}
	}
	return decision
}

// MatchAction reports whether a pattern such as "hss:*:get" covers an action
// such as "hss:images:get". A "*" stands for any run of characters, the empty
// one too, but never for the colon between two parts; letter case counts. It
// allocates nothing and takes at most len(pattern)*len(action) steps.
func MatchAction(pattern, action string) bool {
	var p, a int
	star, retry := -1, 0 // the last star seen, and where it stopped eating
	for a < len(action) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, a
			p++
		case p < len(pattern) && pattern[p] == action[a]:
			if pattern[p] == ':' {
				star = -1 // what is before the colon has matched
			}
			p++
			a++
		case star >= 0 && action[retry] != ':':
			retry++
			p, a = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
