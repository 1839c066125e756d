package gateway

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter"
)

// maxParameters is how many parameters a query may have.
const maxParameters = 200

// checkQuery refuses a query that means different things to different readers:
// a bad percent escape, a semicolon, a repeated or an unknown parameter.
//
// It never repeats what it did not expect to find. A password whose "&" was not
// escaped spills over into what looks like the name of the next parameter.
func checkQuery(raw string, op *Operation) error {
	seen := make([]string, 0, 8)
	for n := 1; raw != ""; n++ {
		if n > maxParameters {
			return tidewaiter.InvalidField("query", "there are more than %d parameters", maxParameters)
		}
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, err := checkPair(pair, n, op)
		if err != nil {
			return err
		}
		for _, s := range seen {
			if s == name && !op.repeatable[name] {
				return tidewaiter.InvalidField(name, "it is given more than once; give it once")
			}
		}
		seen = append(seen, name)
	}
	return nil
}

// spelledOut returns a query in which parameters without a "=" have one, but
// for flags: the vendor's SDK for Go writes an empty value so, which huma takes
// for true.
func spelledOut(raw string, flags []string) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		if pair != "" && !strings.Contains(pair, "=") && !slices.Contains(flags, pair) {
			pairs[i] += "="
		}
	}
	return strings.Join(pairs, "&")
}

// checkPair checks the n-th "name=value" of a query and returns the name.
func checkPair(pair string, n int, op *Operation) (string, error) {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(rawName)
	if err != nil || strings.Contains(rawName, ";") {
		return "", tidewaiter.InvalidField("query",
			"the name of parameter number %d is not well formed; write %% as %%25 and ; as %%3B", n)
	}
	if !op.parameters[name] {
		if near := nearest(name, op.parameters); near != "" {
			return "", tidewaiter.InvalidField(name, "there is no such parameter; did you mean %s?", near)
		}
		return "", tidewaiter.InvalidField("query",
			"parameter number %d is not one of this operation, which takes %s; inside a value write & as %%26 and # as %%23",
			n, listed(op.parameterNames))
	}
	if strings.Contains(rawValue, ";") {
		return "", tidewaiter.InvalidField(name, "its value has a semicolon; write it as %%3B")
	}
	value, err := url.QueryUnescape(rawValue)
	if err != nil {
		return "", tidewaiter.InvalidField(name, "its value has a %% that is no percent escape; write it as %%25")
	}
	if !utf8.ValidString(value) {
		return "", tidewaiter.InvalidField(name, "its value is not UTF-8")
	}
	if strings.IndexByte(value, 0) >= 0 {
		return "", tidewaiter.InvalidField(name, "its value has the character NUL, which nothing has in its name")
	}
	return name, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// nearest returns the known name that differs from name by letter case, by
// dashes for underscores, or by one or two letters; or "".
func nearest(name string, known map[string]bool) string {
	if len(name) < 4 || len(name) > 64 {
		return ""
	}
	folded := strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	for k := range known {
		if len(k) > 4 && distance(folded, k) <= 2 {
			return k
		}
	}
	return ""
}

// distance is the Levenshtein distance of two short ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
