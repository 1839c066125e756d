package advisory

// MakeStale has an index make the keys in it anew as it is read.
func MakeStale(x *Index) { x.stale = true }
