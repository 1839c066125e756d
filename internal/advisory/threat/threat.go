// Package threat reads what is known of the use of vulnerabilities: CISA's
// catalogue of those that are exploited
// (https://www.cisa.gov/known-exploited-vulnerabilities-catalog, JSON), and the
// scores of EPSS (https://www.first.org/epss/data_stats, CSV).
package threat

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

const (
	maxBytes   = 1 << 30 // unpacked
	maxEntries = 5_000_000
	maxRefused = 20
)

// Report says what was read.
type Report struct {
	Issued   time.Time // of the catalogue or the scores, or zero
	Read     int
	Refused  int     // entries that could not be used
	Refusals []error // the first of them
}

func (r *Report) refuse(format string, args ...any) {
	if r.Refused++; len(r.Refusals) < maxRefused {
		r.Refusals = append(r.Refusals, fmt.Errorf(format, args...))
	}
}

// kind is what a file holds.
type kind int

const (
	neither kind = iota
	catalogue
	scores
)

// Is tells whether a file is one of the two, by how it begins.
func Is(path string) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	r, err := unpack(f)
	if err != nil {
		return false, nil //nolint:nilerr // it is something else
	}
	return kindOf(r) != neither, nil
}

// unpack undoes gzip, where there is any.
func unpack(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if start, err := b.Peek(2); err != nil || start[0] != 0x1f || start[1] != 0x8b {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the gzip file is damaged")
	}
	return bufio.NewReaderSize(&bounded{z, maxBytes}, 64<<10), nil
}

// bounded fails behind so many bytes.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tidewaiter.Errorf(tidewaiter.TooLarge, "it has more than %d bytes", int64(maxBytes))
	}
	return n, err
}

var inCatalogue = regexp.MustCompile(`"catalogVersion"`)

func kindOf(r *bufio.Reader) kind {
	start, _ := r.Peek(4 << 10)
	text := strings.TrimLeft(strings.TrimPrefix(string(start), "\ufeff"), " \t\r\n")
	switch {
	case strings.HasPrefix(text, "#model_version:") || strings.HasPrefix(text, "cve,epss"):
		return scores
	case strings.HasPrefix(text, "{") && inCatalogue.MatchString(text):
		return catalogue
	}
	return neither
}

// Read gives each entry of a file to visit, in its order. An entry that is
// malformed is left out and reported; a file that is damaged is an error.
func Read(ctx context.Context, path string, visit func(cve string, t tidewaiter.Threat) error) (Report, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return Report{}, fmt.Errorf("open: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	return ReadFrom(ctx, f, visit)
}

// ReadFrom is [Read] for what is no file.
func ReadFrom(ctx context.Context, from io.Reader, visit func(cve string, t tidewaiter.Threat) error) (Report, error) {
	r, err := unpack(&bounded{from, maxBytes})
	if err != nil {
		return Report{}, err
	}
	counted := func(cve string, t tidewaiter.Threat) error {
		return errors.Join(ctx.Err(), visit(cve, t))
	}
	switch kindOf(r) {
	case catalogue:
		return readCatalogue(r, counted)
	case scores:
		return readScores(r, counted)
	}
	return Report{}, tidewaiter.Errorf(tidewaiter.Invalid, "it is neither CISA's catalogue of exploited vulnerabilities nor EPSS's scores")
}

var cveForm = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)

func readCatalogue(r *bufio.Reader, visit func(string, tidewaiter.Threat) error) (report Report, err error) {
	skipMark(r)
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil {
		return report, damaged(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return report, damaged(err)
		}
		switch name {
		case "dateReleased":
			var text string
			if err := d.Decode(&text); err != nil {
				return report, damaged(err)
			}
			report.Issued, _ = time.Parse(time.RFC3339, text)
		case "vulnerabilities":
			if err := readEntries(d, &report, visit); err != nil {
				return report, err
			}
		default:
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return report, damaged(err)
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return report, damaged(err)
	}
	return report, nil
}

func damaged(err error) error {
	if tidewaiter.KindOf(err) == tidewaiter.TooLarge {
		return err
	}
	return tidewaiter.Wrap(tidewaiter.Invalid, err, "the file is damaged: %v", err)
}

func skipMark(r *bufio.Reader) {
	if start, err := r.Peek(3); err == nil && string(start) == "\ufeff" {
		_, _ = r.Discard(3)
	}
}

func readEntries(d *json.Decoder, report *Report, visit func(string, tidewaiter.Threat) error) error {
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return damaged(errors.Join(err, errors.New("vulnerabilities is no list")))
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return damaged(err)
		}
		var e struct {
			CVE        string `json:"cveID"`
			Added      string `json:"dateAdded"`
			Due        string `json:"dueDate"`
			Ransomware string `json:"knownRansomwareCampaignUse"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			report.refuse("an entry is none: %v", err)
			continue
		}
		added, err := time.Parse(time.DateOnly, e.Added)
		if err != nil || !cveForm.MatchString(e.CVE) {
			report.refuse("%.40q of %.20q: it has no CVE, or no date", e.CVE, e.Added)
			continue
		}
		due, _ := time.Parse(time.DateOnly, e.Due)
		if report.Read++; report.Read > maxEntries {
			return tidewaiter.Errorf(tidewaiter.TooLarge, "it has more than %d entries", maxEntries)
		}
		if err := visit(e.CVE, tidewaiter.Threat{Exploited: added, Due: due, Ransomware: e.Ransomware == "Known"}); err != nil {
			return err
		}
	}
	_, err := d.Token()
	if err != nil {
		return damaged(err)
	}
	return nil
}

var scoreDate = regexp.MustCompile(`score_date:([0-9T:+-]+)`)

func readScores(r *bufio.Reader, visit func(string, tidewaiter.Threat) error) (report Report, err error) {
	skipMark(r)
	if start, _ := r.Peek(1); string(start) == "#" {
		line, err := r.ReadString('\n')
		if err != nil {
			return report, damaged(err)
		}
		if m := scoreDate.FindStringSubmatch(line); m != nil {
			for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", time.DateOnly} {
				if t, err := time.Parse(form, m[1]); err == nil {
					report.Issued = t.UTC()
				}
			}
		}
	}
	rows := csv.NewReader(r)
	rows.ReuseRecord, rows.FieldsPerRecord = true, -1
	header, err := rows.Read()
	if err != nil || len(header) < 3 || header[0] != "cve" || header[1] != "epss" || header[2] != "percentile" {
		return report, damaged(errors.Join(err, errors.New("the columns are not cve, epss and percentile")))
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return report, nil
		}
		if err != nil {
			return report, damaged(err)
		}
		if len(row) < 3 {
			report.refuse("a row of %d columns", len(row))
			continue
		}
		probability, ok := fraction(row[1])
		percentile, okay := fraction(row[2])
		if !ok || !okay || !cveForm.MatchString(row[0]) {
			report.refuse("%.40q, %.20q, %.20q: it has no CVE, or numbers that are not between 0 and 1", row[0], row[1], row[2])
			continue
		}
		if report.Read++; report.Read > maxEntries {
			return report, tidewaiter.Errorf(tidewaiter.TooLarge, "it has more than %d entries", maxEntries)
		}
		if err := visit(strings.Clone(row[0]), tidewaiter.Threat{Probability: probability, Percentile: percentile}); err != nil {
			return report, err
		}
	}
}

func fraction(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f) && f >= 0 && f <= 1
}
