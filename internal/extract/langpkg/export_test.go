package langpkg

// NewSmallJava returns an extractor of smaller limits than others have.
func NewSmallJava(inflated, held int64, entries int) Java {
	java := NewJava()
	java.limits.inflated, java.limits.held, java.limits.entries = inflated, held, entries
	return java
}
