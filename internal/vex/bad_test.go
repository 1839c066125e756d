package vex_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

func TestBadDocuments(t *testing.T) {
	statement := func(more string) string {
		return openVEX(`{"vulnerability": {"name": "CVE-2026-1000"}, "products": [{"@id": "pkg:deb/debian/curl"}]` + more + `}`)
	}
	fixed := func(products string) string {
		return openVEX(`{"vulnerability": "CVE-2026-1000", "products": ` + products + `, "status": "fixed"}`)
	}
	of := func(vulnerability string) string {
		return openVEX(`{"vulnerability": ` + vulnerability + `, "products": ["pkg:deb/debian/curl"], "status": "fixed"}`)
	}
	analysis := func(analysis, affects string) string {
		return cyclone(`{"id": "CVE-2026-1000", "analysis": {` + analysis + `}, "affects": [` + affects + `]}`)
	}
	image, resolved := `{"ref": "image"}`, `"state": "resolved"`
	good := statement(`, "status": "fixed"`)
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }

	for name, tt := range map[string]struct{ text, field, says string }{
		"empty":              {"", "document", "no JSON object"},
		"a list":             {"[]", "document", "no JSON object"},
		"cut off":            {good[:80], "document", "no JSON object"},
		"two values":         {good + "{}", "document", "no JSON object"},
		"not UTF-8":          {strings.Replace(good, "Harbour", "Harb\xffur", 1), "document", "not UTF-8"},
		"something else":     {`{"bomFormat": "SPDX"}`, "document", "neither OpenVEX"},
		"odd context":        {`{"@context": ["https://openvex.dev/ns/v0.2.0"]}`, "document", "neither OpenVEX"},
		"a later version":    {strings.Replace(good, "v0.2.0", "v1.0.0", 1), "@context", "0.0.1 to 0.2.0"},
		"no such version":    {strings.Replace(good, "/v0.2.0", "v0.2.0", 1), "@context", "0.0.1 to 0.2.0"},
		"deep":               {strings.Replace(good, `"version": 1`, `"version": `+strings.Repeat("[", 300)+strings.Repeat("]", 300), 1), "document", "nested"},
		"too large":          {statement(strings.Repeat(" ", vex.MaxBytes)), "", "more than"},
		"no statements":      {openVEX(), "statements", "says nothing"},
		"no id":              {strings.Replace(good, "https://example.com/vex/1", "", 1), "document", "has no id; give it one (@id)"},
		"odd id":             {strings.Replace(good, "vex/1", `vex/\n1`, 1), "@id", "control character"},
		"odd author":         {strings.Replace(good, "Harbour", `\u202eHarbour`, 1), "author", "control character"},
		"odd time":           {strings.Replace(good, "2026-01-02T", "2026-01-02 ", 1), "timestamp", "write it as 2027-01-31T00:00:00Z"},
		"a number for an id": {`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": 5}`, "@id", "wrong type (number); the form has a string"},

		"a key twice":                {strings.Replace(good, `"version": 1`, `"author": "Another"`, 1), "author", "twice"},
		"a key twice, in other case": {statement(`, "status": "affected", "STATUS": "not_affected"`), "statements[0].STATUS", "twice"},
		"the same by Unicode":        {statement(`, "status": "affected", "\u017ftatus": "not_affected"`), "statements[0].…", "twice"},
		"a key twice, deep":          {fixed(`["pkg:npm/a", {"@id": "pkg:npm/b", "identifiers": {"purl": "pkg:npm/c", "purl": "pkg:npm/d"}}]`), "statements[0].products[1].identifiers.purl", "twice"},

		"statements of no list":  {strings.Replace(openVEX(), "[]", "5", 1), "statements", "the form has a list"},
		"a statement of no kind": {openVEX(`"CVE-2026-1000"`), "statements[0]", "the form has an object"},
		"no status":              {statement(``), "statements[0].status", "none of not_affected"},
		"odd status":             {statement(`, "status": "fine"`), "statements[0].status", "none of not_affected"},
		"a status of CycloneDX":  {statement(`, "status": "resolved"`), "statements[0].status", "none of not_affected"},
		"no reason":              {statement(`, "status": "not_affected"`), "statements[0]", "needs a justification or an impact statement"},
		"notes are no reason":    {statement(`, "status": "not_affected", "status_notes": "none"`), "statements[0]", "needs a justification"},
		"odd justification":      {statement(`, "status": "not_affected", "justification": "code_not_present"`), "statements[0].justification", "component_not_present"},
		"odd time of one":        {statement(`, "status": "fixed", "timestamp": "yesterday"`), "statements[0].timestamp", "no time"},
		"odd time of its update": {statement(`, "status": "fixed", "last_updated": "2026-01-32T00:00:00Z"`), "statements[0].last_updated", "no time"},
		"control character":      {statement(`, "status": "fixed", "status_notes": "a\u001b[31m"`), "statements[0]", "control character"},
		"long":                   {statement(`, "status": "fixed", "status_notes": "` + strings.Repeat("x", 5000) + `"`), "statements[0]", "longer than"},
		"many statements":        {openVEX(many(20_001, `{"vulnerability": "CVE-2026-1000", "products": ["pkg:npm/a"], "status": "fixed"}`)), "", "more than 20000 statements"},

		"no vulnerability":             {openVEX(`{"products": ["pkg:npm/a"], "status": "fixed"}`), "statements[0]", "names no vulnerability"},
		"a vulnerability of no name":   {of(`{}`), "statements[0]", "names no vulnerability"},
		"a vulnerability by address":   {of(`{"@id": "https://nvd.nist.gov/vuln/detail/CVE-2026-1000"}`), "statements[0]", "names no vulnerability"},
		"a vulnerability of no string": {of(`{"name": 5}`), "statements[0].vulnerability.name", "the form has a string"},
		"two names in one":             {of(`"CVE-2026-1000 CVE-2026-2000"`), "statements[0]", "has a space"},
		"a long name":                  {of(`"` + strings.Repeat("x", 300) + `"`), "statements[0]", "longer than 256 bytes"},
		"odd alias":                    {of(`{"name": "CVE-2026-1000", "aliases": ["a\u0000"]}`), "statements[0]", "control character"},
		"aliases of no list":           {of(`{"name": "CVE-2026-1000", "aliases": "a"}`), "statements[0].vulnerability.aliases", "the form has a list"},
		"many aliases":                 {of(`{"name": "CVE-2026-1000", "aliases": [` + many(51, `"a"`) + `]}`), "statements[0]", "more than 50 aliases"},

		"no products":                  {openVEX(`{"vulnerability": "CVE-2026-1000", "status": "fixed"}`), "statements[0]", "names no product"},
		"an image by name":             {fixed(`["pkg:oci/app?tag=1"]`), "statements[0]", "names no product"},
		"a short digest":               {fixed(`["pkg:oci/app@sha256:abc", "sha256:abc"]`), "statements[0]", "names no product"},
		"no package URL":               {fixed(`["pkg:npm", "pkg:/a", "npm/a", "pkg:npm/%zz", "cpe:/a:b:c", null]`), "statements[0]", "names no product"},
		"a package in an image's name": {fixed(`[{"@id": "pkg:oci/app?tag=1", "subcomponents": ["pkg:npm/a"]}]`), "statements[0]", "names no product"},
		"a package in a package":       {fixed(`[{"@id": "pkg:npm/a", "subcomponents": ["pkg:npm/b"]}]`), "statements[0]", "a package within a package"},
		"a product of no kind":         {fixed(`["pkg:npm/a", 5]`), "statements[0].products[1]", "the form has an object"},
		"hashes of no kind":            {fixed(`[{"hashes": {"sha-256": 5}}]`), "statements[0].products[0].hashes", "the form has a string"},
		"odd subcomponent":             {fixed(`[{"@id": "` + digest + `", "subcomponents": [{"@id": "pkg:npm/a"}, {"@id": "curl"}]}]`), "statements[0].products[0].subcomponents[1]", "no package URL"},
		"an image in an image":         {fixed(`[{"@id": "` + digest + `", "subcomponents": [{"@id": "pkg:oci/a@` + digest + `"}]}]`), "statements[0].products[0].subcomponents[0]", "no package URL"},
		"odd package":                  {fixed(`["pkg:npm/a", "pkg:npm/b%00", "pkg:npm/c"]`), "statements[0]", "control character"},
		"a package that is not UTF-8":  {fixed(`["pkg:npm/b%ff"]`), "statements[0]", "not UTF-8"},
		"many products":                {openVEX(many(11, `{"vulnerability": "CVE-2026-1000", "products": [`+many(9_999, `"pkg:npm/a"`)+`], "status": "fixed"}`)), "", "more than 100000 products"},

		"CycloneDX of no use":    {cyclone(), "statements", "says nothing"},
		"CycloneDX of no state":  {analysis(`"detail": "a"`, image), "statements", "analysis with a state"},
		"CycloneDX of no id":     {strings.Replace(analysis(resolved, image), "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", "", 1), "document", "give it one (serialNumber)"},
		"CycloneDX before VEX":   {strings.Replace(analysis(resolved, image), `"1.5"`, `"1.3"`, 1), "specVersion", "older than 1.4"},
		"CycloneDX to come":      {strings.Replace(analysis(resolved, image), `"1.5"`, `"9.9"`, 1), "specVersion", "1.4 to 1.7"},
		"CycloneDX of another":   {strings.Replace(analysis(resolved, image), `"components": [`, `"components": 5, "x": [`, 1), "components", "the form has a list"},
		"odd state":              {analysis(`"state": "odd"`, image), "vulnerabilities[0].analysis.state", "none of not_affected"},
		"a state of OpenVEX":     {analysis(`"state": "fixed"`, image), "vulnerabilities[0].analysis.state", "none of not_affected"},
		"no reason there":        {analysis(`"state": "not_affected"`, image), "vulnerabilities[0].analysis", "needs a justification or a detail"},
		"odd reason":             {analysis(`"state": "not_affected", "justification": "component_not_present"`, image), "vulnerabilities[0].analysis.justification", "no justification of CycloneDX"},
		"odd first time":         {analysis(resolved+`, "firstIssued": "then"`, image), "vulnerabilities[0].analysis.firstIssued", "no time"},
		"odd last time":          {analysis(resolved+`, "lastUpdated": "now"`, image), "vulnerabilities[0].analysis.lastUpdated", "no time"},
		"odd time of all":        {strings.Replace(analysis(resolved, image), `"timestamp": "2026`, `"timestamp": "x2026`, 1), "metadata.timestamp", "no time"},
		"a response of no list":  {analysis(resolved+`, "response": "update"`, image), "vulnerabilities.analysis.response", "the form has a list"},
		"no name":                {cyclone(`{"analysis": {"state": "resolved"}, "affects": [{"ref": "image"}]}`), "vulnerabilities[0]", "names no vulnerability"},
		"affects nothing":        {analysis(resolved, ``), "vulnerabilities[0]", "names no product"},
		"unknown reference":      {analysis(resolved, image+`, {"ref": "none"}`), "vulnerabilities[0].affects[1].ref", "no component of the document"},
		"no reference":           {analysis(resolved, `{"ref": ""}`), "vulnerabilities[0].affects[0].ref", "no component of the document"},
		"no package URL there":   {analysis(resolved, `{"ref": "pkg:npm#pkg:npm/a"}`), "vulnerabilities[0].affects[0].ref", "no component of the document"},
		"another's reference":    {analysis(resolved, `{"ref": "urn:cdx:00000000-395b-41f5-a30f-a58921a69b79/1#image"}`), "vulnerabilities[0].affects[0].ref", "no component of the document"},
		"another as a whole":     {analysis(resolved, `{"ref": "urn:cdx:00000000-395b-41f5-a30f-a58921a69b79/1"}`), "vulnerabilities[0].affects[0].ref", "no component of the document"},
		"an image by name there": {analysis(resolved, `{"ref": "pkg:oci/app?tag=1"}`), "vulnerabilities[0]", "names no product"},
		"ranges alone":           {analysis(resolved, `{"ref": "urn:cdx:0/1#pkg:npm/a", "versions": [{"range": "vers:npm/<1"}]}`), "vulnerabilities[0]", "names no product"},
		"a reference to two":     {strings.Replace(analysis(resolved, image), `"bom-ref": "inner"`, `"bom-ref": "curl-1"`, 1), "components", "the same bom-ref"},
	} {
		d, err := vex.Read([]byte(tt.text))
		wrong, ok := errors.AsType[*tidewaiter.Error](err)
		want := tidewaiter.Invalid
		if tt.field == "" {
			want = tidewaiter.TooLarge
		}
		if !ok || wrong.Kind != want || wrong.Field != tt.field || !strings.Contains(wrong.Message, tt.says) {
			t.Errorf("%s: got %.200v, want %s: %q", name, err, tt.field, tt.says)
		}
		if len(d.Statements) > 0 || d.ID != "" {
			t.Errorf("%s: got %d statements beside the error", name, len(d.Statements))
		}
	}
}
