package protocol

import "github.com/tidewaiter/tidewaiter"

// Ours are the versions that this program speaks.
func Ours() Versions { return Versions{Newest: Newest, Oldest: Oldest} }

// Negotiate returns the newest version that a component and this server both
// speak. Errors are of kind [tidewaiter.Invalid]: the component's versions are
// no range, or, with the code [ErrVersion], the two have none in common.
func Negotiate(theirs Versions) (int, error) { return negotiate(Ours(), theirs) }

func negotiate(ours, theirs Versions) (int, error) {
	switch {
	case theirs.Oldest < 1 || theirs.Newest < theirs.Oldest:
		return 0, tidewaiter.InvalidField("protocol", "is no range of versions; give the newest as protocol and the oldest, at least 1, as oldest_protocol")
	case theirs.Newest < ours.Oldest:
		return 0, Errorf(ErrVersion, tidewaiter.Invalid,
			"the scan component is too old for this server: it speaks the component protocol up to version %d, the server from version %d; update the scan component",
			theirs.Newest, ours.Oldest)
	case theirs.Oldest > ours.Newest:
		return 0, Errorf(ErrVersion, tidewaiter.Invalid,
			"the scan component is too new for this server: it speaks the component protocol from version %d, the server up to version %d; update the server",
			theirs.Oldest, ours.Newest)
	}
	return min(ours.Newest, theirs.Newest), nil
}
