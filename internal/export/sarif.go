package export

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/tidewaiter/tidewaiter"
)

// SARIF writes the vulnerabilities of images in the form of
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/: a rule for each
// vulnerability, a result for each package that has it. What was not looked
// into is a notification of the run, which is not successful then.
func SARIF(w io.Writer, source string, images []Image) error {
	run := sarif.NewRunWithInformationURI("tidewaiter", "https://github.com/tidewaiter/tidewaiter")
	run.Tool.Driver.WithVersion(tidewaiter.Version)
	invocation := sarif.NewInvocation().WithExecutionSuccessful(StatusOf(images) == Complete)
	note := func(text string) {
		invocation.AddToolExecutionNotification(sarif.NewNotification().WithLevel("warning").WithMessage(sarif.NewTextMessage(text)))
	}
	rules := make(map[string]int)
	for n := range images {
		i := &images[n]
		if i.Problem != "" {
			note(i.Platform.String() + ": this image was not looked into: " + i.Problem)
		}
		for _, c := range i.View.Cuts {
			note(DescribeCut(c))
		}
		if i.Judgement == nil {
			continue
		}
		for gap, count := range i.gaps() {
			note(fmt.Sprintf("%d packages were not judged: %s", count, DescribeGap(gap)))
			invocation.WithExecutionSuccessful(false)
		}
		for _, f := range i.Judgement.Findings {
			i.addResult(run, rules, source, f)
		}
	}
	run.AddInvocation(invocation)
	report := sarif.NewReport()
	report.AddRun(run)
	var b bytes.Buffer
	if err := report.PrettyWrite(&b); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	b.WriteByte('\n')
	return writeEscaped(w, b.Bytes())
}

func (i *Image) addResult(run *sarif.Run, rules map[string]int, source string, f Finding) {
	p := i.View.Packages[f.Package]
	at, ok := rules[f.Name]
	if !ok {
		at = len(rules)
		rules[f.Name] = at
		rule := sarif.NewRule(f.Name).WithName(f.Name).WithDescription(cmp.Or(f.Summary, f.Name))
		if u, err := url.Parse(f.URL); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
			rule.WithHelpURI(f.URL)
		}
		properties := sarif.NewPropertyBag().WithTags([]string{"security", "vulnerability"})
		properties.Properties = sarif.Properties{"security-severity": fmt.Sprintf("%.1f", f.Severity.Score)}
		rule.WithProperties(properties)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	message := fmt.Sprintf("%s %s has %s (%s).", p.Name, p.Version, f.Name, levelName(f.Severity.Level))
	if len(f.Fixed) > 0 {
		message += " Fixed in " + f.Fixed[0] + "."
	}
	location := sarif.NewPhysicalLocation().WithArtifactLocation(sarif.NewSimpleArtifactLocation((&url.URL{Path: p.Path}).EscapedPath()))
	properties := sarif.NewPropertyBag()
	properties.Properties = sarif.Properties{
		"image": source, "platform": i.Platform.String(), "package": p.Name, "version": p.Version, "purl": PackageURL(p.Package, i.View.System.System), "advisory": f.Advisory, "layer": p.Origin,
	}
	result := sarif.NewRuleResult(f.Name).WithRuleIndex(at).WithLevel(sarifLevel(f.Severity.Level)).WithMessage(sarif.NewTextMessage(message)).
		WithLocations([]*sarif.Location{sarif.NewLocationWithPhysicalLocation(location)}).
		WithPartialFingerprints(map[string]string{"tidewaiter/v1": strings.Join([]string{f.Name, p.Type, p.Name, p.Version, Location(p.Package)}, "|")}).
		WithProperties(properties)
	if h := f.Handled; h != nil { // what is suppressed outside of the source, by its section 3.35
		result.AddSuppression(sarif.NewSuppression().WithKind("external").WithStatus("accepted").
			WithJustification(strings.TrimSpace(h.Status + ", by " + h.Document + ": " + strings.TrimSpace(h.Justification+" "+h.Remark))))
	}
	run.AddResult(result)
}

func sarifLevel(l tidewaiter.SeverityLevel) string {
	switch l {
	case tidewaiter.CriticalSeverity, tidewaiter.HighSeverity:
		return "error"
	case tidewaiter.LowSeverity, tidewaiter.NoSeverity:
		return "note"
	}
	return "warning"
}

// levelName is a level for people.
func levelName(l tidewaiter.SeverityLevel) string {
	if l == tidewaiter.UnknownSeverity {
		return "unknown"
	}
	return string(l)
}

// gaps counts the packages that were not judged, by the reason.
func (i *Image) gaps() map[tidewaiter.MatchGap]int {
	counts := make(map[tidewaiter.MatchGap]int)
	for _, u := range i.Judgement.Unjudged {
		counts[u.Gap]++
	}
	return counts
}
