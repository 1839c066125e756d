package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/export"
)

// showImages prints images for people.
func showImages(w io.Writer, images []export.Image) error {
	for i := range images {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := showImage(w, &images[i]); err != nil {
			return err
		}
	}
	return nil
}

func showImage(w io.Writer, i *export.Image) error {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	for _, name := range i.Names {
		t.row("IMAGE", name)
	}
	if i.Digest != "" {
		t.row("DIGEST", i.Digest)
	}
	if i.ID != "" {
		t.row("ID", i.ID)
	}
	t.row("PLATFORM", i.Platform)
	if i.Problem != "" {
		t.row("STATUS", i.Status())
		return t.Flush()
	}
	system := "none found"
	if s := i.View.System; s.Path != "" {
		if system = s.Name; system == "" {
			system = s.ID + " " + s.VersionID
		}
	}
	t.row("SYSTEM", system)
	t.row("STATUS", fmt.Sprintf("%s, %d layers, %d packages", i.Status(), len(i.Facts), len(i.View.Packages)))
	if err := t.Flush(); err != nil {
		return err
	}

	brought := make(map[int]int)
	for _, p := range i.View.Packages {
		brought[p.Origin]++
	}
	fmt.Fprintln(w)
	t.row("LAYER", "SIZE", "PACKAGES", "BUILD STEP")
	for n := range i.Facts {
		t.row(n, size(i.Layers[n].Size), brought[n], step(i, n))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if i.Judgement != nil {
		return showFindings(w, t, i)
	}
	if len(i.View.Packages) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t.row("PACKAGE", "VERSION", "TYPE", "LAYER", "PATH", "BUILD STEP")
	for _, p := range i.View.Packages {
		t.row(p.Name, p.Version, p.Type, p.Origin, export.Location(p.Package), step(i, p.Origin))
	}
	return t.Flush()
}

// showFindings prints the vulnerabilities of an image.
func showFindings(w io.Writer, t *table, i *export.Image) error {
	fmt.Fprintln(w)
	open := i.Judgement.Open()
	if len(open) > 0 {
		t.row("SEVERITY", "VULNERABILITY", "PACKAGE", "VERSION", "FIXED IN", "LAYER", "PATH", "SUMMARY")
	}
	counts := make(map[tidewaiter.SeverityLevel]int)
	for _, f := range open {
		p := i.View.Packages[f.Package]
		counts[f.Severity.Level]++
		t.row(level(f.Severity.Level), f.Name, p.Name, p.Version, fixed(f), p.Origin, export.Location(p.Package), short(f.Summary))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	summary := "no vulnerabilities found"
	if err := showHandled(w, t, i); err != nil {
		return err
	}
	if n := len(open); n > 0 {
		fmt.Fprintln(w)
		var parts []string
		for _, l := range []tidewaiter.SeverityLevel{tidewaiter.CriticalSeverity, tidewaiter.HighSeverity, tidewaiter.MediumSeverity, tidewaiter.LowSeverity, tidewaiter.NoSeverity, tidewaiter.UnknownSeverity} {
			if counts[l] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", counts[l], level(l)))
			}
		}
		summary = fmt.Sprintf("%d vulnerabilities: %s", n, strings.Join(parts, ", "))
	}
	if n := len(i.Judgement.Findings) - len(open); n > 0 {
		summary += fmt.Sprintf("; %d handled", n)
	}
	if n := len(i.Judgement.Unjudged); n > 0 {
		summary += fmt.Sprintf("; %d packages were not judged", n)
	}
	if i.Status() != export.Complete {
		summary += "; the image was not looked into to its end"
	}
	_, err := fmt.Fprintln(w, summary)
	return err
}

// showHandled prints what VEX documents say that there is nothing to do about.
func showHandled(w io.Writer, t *table, i *export.Image) error {
	begun := false
	for _, f := range i.Judgement.Findings {
		if f.Handled == nil {
			continue
		}
		if !begun {
			begun = true
			fmt.Fprintln(w)
			t.row("HANDLED", "VULNERABILITY", "PACKAGE", "VERSION", "WHY", "DOCUMENT")
		}
		p := i.View.Packages[f.Package]
		t.row(f.Handled.Status, f.Name, p.Name, p.Version, short(strings.TrimSpace(f.Handled.Justification+" "+f.Handled.Remark)), f.Handled.Document)
	}
	return t.Flush()
}

func level(l tidewaiter.SeverityLevel) string {
	if l == tidewaiter.UnknownSeverity {
		return "unknown"
	}
	return string(l)
}

// fixed says what can be done about a finding.
func fixed(f export.Finding) string {
	switch {
	case len(f.Fixed) > 0:
		return f.Fixed[0]
	case f.Status == tidewaiter.MatchAffected:
		return "-"
	}
	return string(f.Status)
}

// short returns the beginning of a line.
func short(text string) string {
	const most = 60
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// table writes rows of cells that come from others.
type table struct{ *tabwriter.Writer }

func (t *table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, printable(fmt.Sprint(cell)))
	}
	fmt.Fprintln(t)
}

func step(i *export.Image, layer int) string {
	s, ok := i.Step(layer)
	if !ok {
		return "not known"
	}
	return shortStep(s)
}

// size writes bytes for people.
func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if f < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f GiB", f)
}
