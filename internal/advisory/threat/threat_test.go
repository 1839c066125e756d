package threat_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/threat"
)

const kev = `{
  "title": "CISA Catalog of Known Exploited Vulnerabilities",
  "catalogVersion": "2026.01.15",
  "dateReleased": "2026-01-15T15:00:00.1234Z",
  "count": 3,
  "vulnerabilities": [
    {"cveID": "CVE-2021-44228", "vendorProject": "Apache", "product": "Log4j2", "dateAdded": "2021-12-10", "dueDate": "2021-12-24", "knownRansomwareCampaignUse": "Known", "cwes": ["CWE-20"]},
    {"cveID": "CVE-2023-38545", "dateAdded": "2023-11-01", "dueDate": "", "knownRansomwareCampaignUse": "Unknown"},
    {"cveID": "none", "dateAdded": "2023-11-01"},
    {"cveID": "CVE-2023-1000", "dateAdded": "yesterday"},
    {"cveID": 5}
  ]
}`

const epss = "#model_version:v2025.03.14,score_date:2026-01-15T00:00:00+0000\ncve,epss,percentile\nCVE-2021-44228,0.94358,0.99958\nCVE-1999-0001,0.01,0.5\n" +
	"CVE-2021-1,0.1,0.1\nCVE-2021-1000,NaN,0.1\nCVE-2021-1001,1.5,0.1\nCVE-2021-1002,-0.1,0.1\nCVE-2021-1003,x,0.1\nCVE-2021-1004,0.1\n"

func packed(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func day(text string) time.Time {
	t, _ := time.Parse(time.DateOnly, text)
	return t
}

func TestRead(t *testing.T) {
	wantKEV := map[string]tidewaiter.Threat{
		"CVE-2021-44228": {Exploited: day("2021-12-10"), Due: day("2021-12-24"), Ransomware: true},
		"CVE-2023-38545": {Exploited: day("2023-11-01")},
	}
	wantEPSS := map[string]tidewaiter.Threat{
		"CVE-2021-44228": {Probability: 0.94358, Percentile: 0.99958}, "CVE-1999-0001": {Probability: 0.01, Percentile: 0.5},
	}
	for name, tt := range map[string]struct {
		content []byte
		want    map[string]tidewaiter.Threat
		refused int
	}{
		"catalogue":            {[]byte(kev), wantKEV, 3},
		"catalogue with a BOM": {[]byte("\ufeff" + kev), wantKEV, 3},
		"catalogue in gzip":    {packed(t, kev), wantKEV, 3},
		"scores":               {[]byte(epss), wantEPSS, 6},
		"scores of windows":    {[]byte(strings.ReplaceAll(epss, "\n", "\r\n")), wantEPSS, 6},
		"scores in gzip":       {packed(t, epss), wantEPSS, 6},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if is, err := threat.Is(path); !is || err != nil {
			t.Errorf("%s: it is none: %v", name, err)
		}
		got := make(map[string]tidewaiter.Threat)
		report, err := threat.Read(context.Background(), path, func(cve string, x tidewaiter.Threat) error {
			got[cve] = x
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if report.Read != len(tt.want) || report.Refused != tt.refused || len(report.Refusals) != tt.refused || report.Issued.Format(time.DateOnly) != "2026-01-15" {
			t.Errorf("%s: got %+v", name, report)
		}
	}
}

func TestBadFiles(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty": {}, "JSON": []byte(`{"id": "GHSA-1"}`), "text": []byte("hello"), "no gzip": {0x1f, 0x8b, 0, 0}, "half of gzip": packed(t, epss)[:60],
		"half of a catalogue": []byte(kev[:len(kev)/2]), "no list": []byte(`{"catalogVersion": "1", "vulnerabilities": {"a": 1}}`),
		"other columns": []byte("cve,epss\nCVE-2021-44228,0.1\n"), "no rows": []byte("#model_version:v1"), "a quote": []byte("cve,epss,percentile\n\"CVE"),
	} {
		_, err := threat.ReadFrom(context.Background(), bytes.NewReader(content), func(string, tidewaiter.Threat) error { return nil })
		if tidewaiter.KindOf(err) != tidewaiter.Invalid || err == nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// What is told stops it.
	stop := errors.New("stop")
	for _, text := range []string{kev, epss} {
		if _, err := threat.ReadFrom(context.Background(), strings.NewReader(text), func(string, tidewaiter.Threat) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
	}
	if is, err := threat.Is(filepath.Join(t.TempDir(), "none")); is || err == nil {
		t.Errorf("got %t, %v", is, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(kev))
	f.Add([]byte(epss))
	f.Add(packed(f, epss))
	f.Fuzz(func(t *testing.T, content []byte) {
		n := 0
		report, err := threat.ReadFrom(context.Background(), bytes.NewReader(content), func(cve string, x tidewaiter.Threat) error {
			n++
			if !strings.HasPrefix(cve, "CVE-") || !(x.Probability >= 0 && x.Probability <= 1) || !(x.Percentile >= 0 && x.Percentile <= 1) {
				return fmt.Errorf("got %s %+v", cve, x)
			}
			return nil
		})
		if report.Read != n {
			t.Errorf("read %d, told of %d", report.Read, n)
		}
		if k := tidewaiter.KindOf(err); err != nil && k != tidewaiter.Invalid && k != tidewaiter.TooLarge {
			t.Error(err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	text.WriteString("#model_version:v2025.03.14,score_date:2026-01-15T00:00:00+0000\ncve,epss,percentile\n")
	for i := range 300_000 {
		fmt.Fprintf(&text, "CVE-%d-%d,0.%05d,0.%05d\n", 2000+i%26, 10_000+i, i%100_000, i%100_000)
	}
	content := packed(b, text.String())
	for b.Loop() {
		if _, err := threat.ReadFrom(context.Background(), bytes.NewReader(content), func(string, tidewaiter.Threat) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
