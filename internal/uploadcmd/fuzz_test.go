package uploadcmd

import (
	"strings"
	"testing"
)

func FuzzQuote(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	languages := parsers()
	f.Fuzz(func(t *testing.T, s string) {
		if checkCredential("", s, MaxPassword) != nil {
			t.Skip()
		}
		want := []call{{Args: []string{"x", s}}}
		for lang, parser := range languages {
			checkMeaning(t, lang, parser, "docker x "+quote(s), want)
		}
	})
}

func FuzzPush(f *testing.F) {
	f.Add("registry.example.com:5000", "library", "robot", "s3cret")
	f.Add("http://[::1]:5000", "a/b__c", "-p", `'!'"$()`)
	f.Add(longestAddress, longestNamespace, strings.Repeat("'!", 64), markers[:80]+"'")
	languages := parsers()
	f.Fuzz(func(t *testing.T, addr, namespace, username, password string) {
		r, err := ParseRequest(addr, namespace, username, password)
		if err != nil {
			t.Skip()
		}
		checkCommand(t, r, languages)
	})
}
