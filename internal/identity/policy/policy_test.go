package policy_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/identity/policy"
)

func TestParse(t *testing.T) {
	got, err := policy.Parse([]byte(` {"Version": "1.1", "Statement": [
		{"Effect": "Allow", "Action": ["hss:images:get", "hss:*:list"]},
		{"Action": ["hss:image*:s*t"], "Effect": "Deny"}]} `))
	if err != nil {
		t.Fatal(err)
	}
	want := tidewaiter.PolicyDocument{Version: "1.1", Statement: []tidewaiter.PolicyStatement{
		{Effect: tidewaiter.Allow, Action: []string{"hss:images:get", "hss:*:list"}},
		{Effect: tidewaiter.Deny, Action: []string{"hss:image*:s*t"}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	statement := func(s string) string { return `{"Version":"1.1","Statement":[` + s + `]}` }
	allow := func(action string) string {
		return statement(`{"Effect":"Allow","Action":["hss:a:get",` + action + `]}`)
	}
	for document, field := range map[string]string{
		"":                  "document",
		"null":              "document",
		"[]":                "document",
		"{":                 "document",
		`{"Version":"1.1"}`: "Statement",
		`{"Version":"1.0","Statement":[{"Effect":"Allow","Action":["a:b:c"]}]}`: "Version",
		`{"Version":1.1,"Statement":[]}`:                                        "Version",
		`{"version":"1.1","Statement":[]}`:                                      "document",
		`{"Version":"1.1","Version":"1.1"}`:                                     "Version",
		`{"Version":"1.1","Statement":{}}`:                                      "Statement",
		`{"Version":"1.1","Statement":[],"Id":"x"}`:                             "document",
		statement(``): "Statement",
		statement(`{"Effect":"Allow","Action":["a:b:c"]}`) + "x":                 "document",
		statement(`{"Effect":"Allow","Action":["a:b:c"]}`) + "{}":                "document",
		statement(`{"Action":["a:b:c"]}`):                                        "Statement[0].Effect",
		statement(`{"Effect":"allow","Action":["a:b:c"]}`):                       "Statement[0].Effect",
		statement(`{"Effect":"Allow"}`):                                          "Statement[0].Action",
		statement(`{"Effect":"Allow","Action":[]}`):                              "Statement[0].Action",
		statement(`{"Effect":"Allow","Action":"a:b:c"}`):                         "Statement[0].Action",
		statement(`{"Effect":"Allow","Effect":"Deny","Action":["a:b:c"]}`):       "Statement[0].Effect",
		statement(`{"Effect":"Allow","Action":["a:b:c"],"Action":["a:b:c"]}`):    "Statement[0].Action",
		statement(`{"Effect":"Allow","Action":["a:b:c"],"NotAction":["a:b:c"]}`): "Statement[0]",
		statement(`{"Effect":"Allow","Action":["a:b:c"],"Condition":{}}`):        "Statement[0].Condition",
		statement(`{"Effect":"Allow","Action":["a:b:c"],"Resource":["*"]}`):      "Statement[0].Resource",
		statement(`{"Effect":"Allow","Action":["a:b:c"]},null`):                  "Statement[1]",
		allow(`1`):           "Statement[0].Action[1]",
		allow(`""`):          "Statement[0].Action[1]",
		allow(`"*"`):         "Statement[0].Action[1]",
		allow(`"hss:get"`):   "Statement[0].Action[1]",
		allow(`"a:b:c:d"`):   "Statement[0].Action[1]",
		allow(`"hss::get"`):  "Statement[0].Action[1]",
		allow(`"hss:a:g?t"`): "Statement[0].Action[1]",
		allow(`"hss:a b:c"`): "Statement[0].Action[1]",
		allow(`"hss:é:get"`): "Statement[0].Action[1]",
		allow(`"hss:` + strings.Repeat("a", 130) + `:get"`):                                 "Statement[0].Action[1]",
		statement(strings.Repeat(`{"Effect":"Allow","Action":["a:b:c"]},`, 8) + `{}`):       "Statement",
		statement(`{"Effect":"Allow","Action":[` + strings.Repeat(`"a:b:c",`, 100) + `1]}`): "Statement[0].Action",
		statement(strings.Repeat(" ", policy.MaxSize)):                                      "document",
		allow("\"hss:a:\xff\""):             "document",
		strings.Repeat("[", policy.MaxSize): "document",
	} {
		_, err := policy.Parse([]byte(document))
		e, ok := errors.AsType[*tidewaiter.Error](err)
		if !ok || e.Kind != tidewaiter.Invalid || e.Field != field {
			t.Errorf("%.120s\ngot %v, want an error about %s", document, err, field)
		}
	}
}

func TestBuiltIn(t *testing.T) {
	byName := map[string]tidewaiter.PolicyDocument{}
	for _, p := range policy.BuiltIn() {
		if err := policy.Validate(p.Document); err != nil || !p.BuiltIn || p.ID == "" {
			t.Errorf("%s: %+v, %v", p.Name, p, err)
		}
		byName[p.Name] = p.Document
	}
	for _, c := range []struct {
		name, action string
		want         tidewaiter.Decision
	}{
		{"HSS Administrator", "hss:images:set", tidewaiter.Allowed},
		{"HSS Administrator", "iam:users:create", tidewaiter.NoMatch},
		{"HSS FullAccess", "hss:images:operate", tidewaiter.Allowed},
		{"HSS FullAccess", "hssx:images:get", tidewaiter.NoMatch},
		{"HSS ReadOnlyAccess", "hss:images:get", tidewaiter.Allowed},
		{"HSS ReadOnlyAccess", "hss:images:list", tidewaiter.Allowed},
		{"HSS ReadOnlyAccess", "hss:images:set", tidewaiter.NoMatch},
		{"HSS ReadOnlyAccess", "hss:images:getX", tidewaiter.NoMatch},
		{"IAM FullAccess", "iam:users:delete", tidewaiter.Allowed},
		{"IAM FullAccess", "hss:images:get", tidewaiter.NoMatch},
	} {
		if got := policy.Decide([]tidewaiter.PolicyDocument{byName[c.name]}, c.action); got != c.want {
			t.Errorf("%s, %s: %v, want %v", c.name, c.action, got, c.want)
		}
	}
}

// TestDenyWins: of several documents in any order, with a Deny that matches
// the decision is Denied, else with an Allow that matches Allowed.
func TestDenyWins(t *testing.T) {
	actions := rapid.SampledFrom([]string{"hss:images:get", "hss:images:set", "hss:*:get", "*:*:*", "iam:*:*", "hss:i*s:*t"})
	statement := rapid.Custom(func(t *rapid.T) tidewaiter.PolicyStatement {
		return tidewaiter.PolicyStatement{
			Effect: rapid.SampledFrom([]tidewaiter.Effect{tidewaiter.Allow, tidewaiter.Deny}).Draw(t, "effect"),
			Action: rapid.SliceOfN(actions, 1, 3).Draw(t, "action"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var documents []tidewaiter.PolicyDocument
		want := tidewaiter.NoMatch
		const action = "hss:images:get"
		for range rapid.IntRange(0, 3).Draw(t, "documents") {
			d := tidewaiter.PolicyDocument{Version: "1.1", Statement: rapid.SliceOfN(statement, 1, 3).Draw(t, "statements")}
			documents = append(documents, d)
			for _, s := range d.Statement {
				for _, a := range s.Action {
					if !naive(a, action) {
						continue
					}
					if s.Effect == tidewaiter.Deny {
						want = tidewaiter.Denied
					} else if want == tidewaiter.NoMatch {
						want = tidewaiter.Allowed
					}
				}
			}
		}
		if got := policy.Decide(documents, action); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// naive is MatchAction by a regular expression.
func naive(pattern, action string) bool {
	e := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `[^:]*`)
	return regexp.MustCompile(`\A(?s:` + e + `)\z`).MatchString(action)
}

func TestMatchActionIsTheNaiveOne(t *testing.T) {
	matched := 0
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*:]{0,12}`).Draw(t, "pattern")
		action := rapid.StringMatching(`[ab:]{0,12}`).Draw(t, "action")
		if rapid.Bool().Draw(t, "derived") { // an action made from the pattern matches often
			action = strings.ReplaceAll(pattern, "*", rapid.StringMatching(`[ab:]{0,3}`).Draw(t, "star"))
		}
		want := naive(pattern, action)
		if want {
			matched++
		}
		if got := tidewaiter.MatchAction(pattern, action); got != want {
			t.Fatalf("MatchAction(%q, %q) = %v", pattern, action, got)
		}
	})
	if matched == 0 {
		t.Error("nothing ever matched")
	}
}

// FuzzParse: what is accepted is valid, and is read back as the same by
// encoding/json.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["hss:images:get"]}]}`))
	f.Add([]byte(`{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["a:*:c","*:*:*"]},{"Action":[]}]}`))
	f.Add([]byte(`{"Version":"1.1","Version":"1.1"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		d, err := policy.Parse(document)
		if err != nil {
			if tidewaiter.KindOf(err) != tidewaiter.Invalid {
				t.Fatal(err)
			}
			return
		}
		if err := policy.Validate(d); err != nil {
			t.Fatal(err)
		}
		var std tidewaiter.PolicyDocument
		if err := json.Unmarshal(document, &std); err != nil || !cmp.Equal(d, std) {
			t.Fatalf("%s\nread as %+v, by encoding/json as %+v, %v", document, d, std, err)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	var documents []tidewaiter.PolicyDocument
	for _, p := range policy.BuiltIn() {
		documents = append(documents, p.Document)
	}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(documents, "hss:images:get") != tidewaiter.Allowed {
			b.Fatal("not allowed")
		}
	}
}
