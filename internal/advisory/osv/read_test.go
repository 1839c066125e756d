package osv_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

const minimal = `{"schema_version":"1.7.4","id":"A-1","modified":"2026-01-02T03:04:05Z"}`

// zipped returns a zip file.
func zipped(t testing.TB, method uint16, entries ...string) []byte {
	t.Helper()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: entries[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// readFile reads a file of that content, and returns the ids in it.
func readFile(t testing.TB, content []byte, limits osv.Limits) ([]string, osv.Report, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []string
	report, err := osv.Read(context.Background(), name, limits, func(a tidewaiter.Advisory) error {
		ids = append(ids, a.ID)
		return nil
	})
	return ids, report, err
}

func TestRead(t *testing.T) {
	other := strings.Replace(minimal, "A-1", "B-2", 1)
	for _, tt := range []struct {
		name    string
		content []byte
		want    []string
		refused int
	}{
		{"one", []byte(minimal), []string{"A-1"}, 0},
		{"one after a byte order mark", []byte("\xef\xbb\xbf\n " + minimal), []string{"A-1"}, 0},
		{"a list", []byte("[" + minimal + ",\n" + other + "]"), []string{"A-1", "B-2"}, 0},
		{"an empty list", []byte("[]"), nil, 0},
		{"a zip file", zipped(t, zip.Deflate, "A-1.json", minimal, "README", "text", "x/B-2.JSON", other), []string{"A-1", "B-2"}, 0},
		{"a zip file, not packed", zipped(t, zip.Store, "A-1.json", minimal), []string{"A-1"}, 0},
		{"an empty zip file", zipped(t, zip.Deflate), nil, 0},
		{"a zip file with one that is none", zipped(t, zip.Deflate, "0.json", "{", "A-1.json", minimal, "2.json", "[]"), []string{"A-1"}, 2},
		{"nothing", nil, nil, 1},
		{"text", []byte("hello"), nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, report, err := readFile(t, tt.content, osv.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || report.Refused != tt.refused || len(report.Refusals) != tt.refused || report.Read != len(tt.want) {
				t.Errorf("%+v\n%s", report, diff)
			}
		})
	}
}

// TestReadDamaged has files of which nobody knows what they had.
func TestReadDamaged(t *testing.T) {
	whole := zipped(t, zip.Deflate, "A-1.json", minimal, "B-2.json", strings.Replace(minimal, "A-1", "B-2", 1))
	flipped := bytes.Clone(whole)
	flipped[60] ^= 1
	for name, content := range map[string][]byte{
		"half a zip file":      whole[:len(whole)/2],
		"a zip file cut short": whole[:len(whole)-30],
		"a flipped bit":        flipped,
		"half a list":          []byte("[" + minimal),
		"a list of junk":       []byte("[" + minimal + ",}"),
	} {
		if _, _, err := readFile(t, content, osv.Limits{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := osv.Read(context.Background(), filepath.Join(t.TempDir(), "none"), osv.Limits{}, nil); tidewaiter.KindOf(err) != tidewaiter.NotFound {
		t.Error(err)
	}
}

// TestReadBounded has files that are more than they look.
func TestReadBounded(t *testing.T) {
	bomb := zipped(t, zip.Deflate, "A.json", `{"id":"`+strings.Repeat("a", 17<<20)+`"}`)
	if _, _, err := readFile(t, bomb, osv.Limits{}); tidewaiter.KindOf(err) != tidewaiter.Invalid {
		t.Errorf("a large entry: %v", err)
	}
	many := zipped(t, zip.Deflate, "1.json", minimal, "2.json", minimal, "3.json", minimal)
	if _, _, err := readFile(t, many, osv.Limits{Advisories: 2}); tidewaiter.KindOf(err) != tidewaiter.TooLarge {
		t.Errorf("many: %v", err)
	}
	if _, _, err := readFile(t, many, osv.Limits{Bytes: 100}); tidewaiter.KindOf(err) != tidewaiter.TooLarge {
		t.Errorf("many bytes: %v", err)
	}
	list := "[" + minimal + `,{"id":"` + strings.Repeat("a", 18<<20) + `"}]`
	if _, _, err := readFile(t, []byte(list), osv.Limits{}); err == nil {
		t.Error("a large one in a list was read")
	}
	ctx, cancel := context.WithCancel(context.Background())
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, many, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := osv.Read(ctx, name, osv.Limits{}, func(tidewaiter.Advisory) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || report.Read != 1 {
		t.Errorf("%d read, %v", report.Read, err)
	}
}

func TestReadFolder(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string][]byte{
		"Go/all.zip": zipped(t, zip.Deflate, "A-1.json", minimal),
		"B-2.json":   []byte(strings.Replace(minimal, "A-1", "B-2", 1)),
		"notes.txt":  []byte("text"),
	} {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/", filepath.Join(folder, "all.json")); err != nil {
		t.Fatal(err)
	}
	report, err := osv.Read(context.Background(), folder, osv.Limits{}, func(tidewaiter.Advisory) error { return nil })
	if err != nil || report.Read != 2 || report.Refused != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestReadPublished reads the sets that databases published, where there are any.
func TestReadPublished(t *testing.T) {
	folder := os.Getenv("TIDEWAITER_OSV")
	if folder == "" {
		t.Skip("TIDEWAITER_OSV names no folder with advisories")
	}
	start := time.Now()
	report, err := osv.Read(context.Background(), folder, osv.Limits{}, func(tidewaiter.Advisory) error { return nil })
	if err != nil || report.Read < 1000 || report.Refused > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	t.Logf("%d advisories, %d bytes in %v", report.Read, report.Bytes, time.Since(start))
}

func FuzzReadZip(f *testing.F) {
	f.Add(zipped(f, zip.Deflate, "A-1.json", minimal, "B", "c"))
	f.Add(zipped(f, zip.Store, "A-1.json", minimal))
	f.Fuzz(func(t *testing.T, content []byte) {
		report, err := osv.ReadZip(content, osv.Limits{Advisories: 100, Bytes: 1 << 20})
		if err != nil && tidewaiter.KindOf(err) == tidewaiter.Internal {
			t.Errorf("of no kind: %v", err)
		}
		if report.Read+report.Refused > 100 {
			t.Errorf("%+v", report)
		}
	})
}
