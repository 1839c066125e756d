package advisory_test

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
	"github.com/tidewaiter/tidewaiter/internal/advisory/osv"
)

// made is how many advisories the benchmarks have: some more than the public
// databases of distributions and languages that images hold.
const made = 300_000

// generator makes advisories that are like those of the databases, in numbers
// and sizes: names of few packages come often, details are prose.
type generator struct{ r *rand.Rand }

func (g generator) word() string {
	return words[g.r.IntN(len(words))] + words[g.r.IntN(len(words))]
}

var words = strings.Fields("al be ca de er fo ga ha in jo ka li mo ne or pa qu re sa te un ve wi xe yo za")

func (g generator) name(prefix string, n int) string {
	return prefix + strconv.Itoa(int(float64(n)*g.r.Float64()*g.r.Float64()*g.r.Float64()))
}

func (g generator) version() string {
	return fmt.Sprintf("%d.%d.%d", g.r.IntN(12), g.r.IntN(30), g.r.IntN(20))
}

// recent makes versions after most fixes, as images have them.
func (g generator) recent() string {
	return fmt.Sprintf("%d.%d.%d", 11+g.r.IntN(2), g.r.IntN(30), g.r.IntN(20))
}

func (g generator) details(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(g.word() + g.word()[:2] + " ")
	}
	return b.String()
}

func entryOf(ecosystem, name, kind string, versions []string, events ...string) m {
	list := []m{}
	for i := 0; i < len(events); i += 2 {
		list = append(list, m{events[i]: events[i+1]})
	}
	return m{"package": m{"ecosystem": ecosystem, "name": name}, "ranges": []m{{"type": kind, "events": list}}, "versions": versions}
}

// advisory makes the i-th.
func (g generator) advisory(i int) m {
	cve := fmt.Sprintf("CVE-%d-%d", 2015+i%12, i)
	a := m{"schema_version": "1.7.4", "modified": time.Unix(1.7e9+int64(i), 0).UTC().Format(time.RFC3339), "details": g.details(200 + g.r.IntN(1200))}
	var affected []m
	switch kind := g.r.IntN(100); {
	case kind < 40:
		a["id"], a["upstream"] = "DEBIAN-"+cve, []string{cve}
		name := g.name("source-", 30_000)
		for release := 11; release <= 14; release++ {
			if g.r.IntN(4) == 0 {
				affected = append(affected, entryOf(fmt.Sprint("Debian:", release), name, "ECOSYSTEM", nil, "introduced", "0"))
				continue
			}
			affected = append(affected, entryOf(fmt.Sprint("Debian:", release), name, "ECOSYSTEM", nil, "introduced", "0", "fixed", fmt.Sprintf("%s-%d+deb%du%d", g.version(), 1+g.r.IntN(3), release, 1+g.r.IntN(4))))
		}
	case kind < 52:
		a["id"], a["upstream"] = "UBUNTU-"+cve, []string{cve}
		a["severity"] = []m{{"type": "Ubuntu", "score": "medium"}}
		name := g.name("source-", 30_000)
		for _, release := range []string{"20.04:LTS", "22.04:LTS", "24.04:LTS"} {
			var versions []string
			for range 15 {
				versions = append(versions, g.version()+"-1ubuntu1")
			}
			affected = append(affected, entryOf("Ubuntu:"+release, name, "ECOSYSTEM", versions, "introduced", "0", "fixed", g.version()+"-1ubuntu2"))
		}
	case kind < 62:
		a["id"], a["upstream"] = "RLSA-2026:"+strconv.Itoa(i), []string{cve}
		for range 1 + g.r.IntN(8) {
			affected = append(affected, entryOf("Rocky Linux:9", g.name("rpm-", 5_000), "ECOSYSTEM", nil, "introduced", "0", "fixed", "0:"+g.version()+"-3.el9"))
		}
	default:
		a["id"], a["aliases"] = fmt.Sprintf("GHSA-%d", i), []string{cve}
		a["severity"] = []m{{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}}
		ecosystem := []string{"npm", "npm", "PyPI", "Maven", "Go"}[g.r.IntN(5)]
		rangeType := map[string]string{"npm": "SEMVER", "Go": "SEMVER"}[ecosystem]
		if rangeType == "" {
			rangeType = "ECOSYSTEM"
		}
		var versions []string
		if ecosystem == "PyPI" {
			for range 40 {
				versions = append(versions, g.version())
			}
		}
		affected = append(affected, entryOf(ecosystem, g.name(ecosystem+"-", 40_000), rangeType, versions, "introduced", "0", "fixed", g.version()))
		a["references"] = []m{{"type": "WEB", "url": "https://example.org/" + g.word()}, {"type": "FIX", "url": "https://example.org/commit/" + cve}}
	}
	a["affected"] = affected
	return a
}

// madeZip writes the advisories to a zip file, which takes a minute, unless
// TIDEWAITER_BENCH_ADVISORIES names a folder to keep it in.
func madeZip(b *testing.B) string {
	b.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	folder := os.Getenv("TIDEWAITER_BENCH_ADVISORIES")
	if folder == "" {
		folder = b.TempDir()
	}
	path := filepath.Join(folder, "made.zip")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	z := zip.NewWriter(buffered)
	g := generator{rand.New(rand.NewPCG(1, 2))}
	for i := range made {
		text, err := json.Marshal(g.advisory(i))
		if err != nil {
			b.Fatal(err)
		}
		w, err := z.Create(strconv.Itoa(i) + ".json")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), buffered.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
	return path
}

// buildFrom reads the advisories of a file, and builds their index.
func buildFrom(b testing.TB, path, folder string) (advisory.Built, osv.Report) {
	b.Helper()
	builder := advisory.NewBuilder(folder)
	report, err := osv.Read(context.Background(), path, osv.Limits{}, builder.Add)
	if err != nil {
		b.Fatal(err)
	}
	built, err := builder.Finish(context.Background())
	if err := errors.Join(err, builder.Close()); err != nil {
		b.Fatal(err)
	}
	return built, report
}

// peakMB returns the most memory that this process has had, or 0.
func peakMB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseFloat(fields[0], 64)
	return n / 1024
}

// processorTime returns what this process has had of the processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkBuild imports a zip file of 300,000 advisories. Run it alone: the
// peak is that of the process, and making the file takes little.
func BenchmarkBuild(b *testing.B) {
	path := madeZip(b)
	before, processor := peakMB(), processorTime(b)
	for b.Loop() {
		built, report := buildFrom(b, path, b.TempDir())
		b.ReportMetric(float64(built.Size)/1e6, "MB-index")
		b.ReportMetric(float64(report.Bytes)/1e6, "MB-json")
		b.ReportMetric(float64(built.Meta.Entries), "entries")
		b.ReportMetric(float64(built.Meta.Packages), "packages")
	}
	b.ReportMetric((processorTime(b)-processor).Seconds()/float64(b.N), "processor-s")
	b.ReportMetric(before, "MB-peak-before")
	b.ReportMetric(peakMB(), "MB-peak")
}

// BenchmarkAsk asks an index of 300,000 advisories.
func BenchmarkAsk(b *testing.B) {
	built, _ := buildFrom(b, madeZip(b), b.TempDir())
	g := generator{rand.New(rand.NewPCG(3, 4))}
	// One of the packages is that about which there are most advisories (such as a
	// kernel), some others have hundreds, most have few.
	debian := make([]tidewaiter.Package, 500)
	for i := range debian {
		debian[i] = tidewaiter.Package{Type: "deb", Name: "bin", SourceName: fmt.Sprint("source-", i*60), SourceVersion: g.recent() + "-1+deb12u1"}
	}
	npm := make([]tidewaiter.Package, 500)
	for i := range npm {
		npm[i] = tidewaiter.Package{Ecosystem: "npm", Name: fmt.Sprint("npm-", i*80), Version: g.recent()}
	}
	release := tidewaiter.Release{Ecosystems: []string{"Debian:12"}}
	matchAll := func(b *testing.B, x *advisory.Index, packages []tidewaiter.Package) (n int) {
		err := x.MatchEach(packages, release, func(_ int, r advisory.Result) error {
			n += len(r.Matches)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	for _, is := range []struct {
		name     string
		packages []tidewaiter.Package
	}{{"Debian", debian}, {"npm", npm}} {
		b.Run("Warm/"+is.name, func(b *testing.B) {
			x := open(b, built)
			n := matchAll(b, x, is.packages)
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				matchAll(b, x, is.packages)
			}
			b.ReportMetric((processorTime(b)-before).Seconds()*1e3/float64(b.N), "processor-ms")
			b.ReportMetric(float64(n), "matches")
			b.ReportMetric(float64(len(is.packages)*b.N)/b.Elapsed().Seconds(), "packages/s")
		})
		b.Run("Cold/"+is.name, func(b *testing.B) {
			var used time.Duration
			fastest := time.Hour
			for i := 0; i < b.N; i++ {
				b.StopTimer()
				x := open(b, built)
				before, start := processorTime(b), time.Now()
				b.StartTimer()
				matchAll(b, x, is.packages)
				b.StopTimer()
				used += processorTime(b) - before
				fastest = min(fastest, time.Since(start))
			}
			b.ReportMetric(used.Seconds()*1e3/float64(b.N), "processor-ms")
			b.ReportMetric(fastest.Seconds()*1e3, "fastest-ms")
		})
	}
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			open(b, built)
		}
	})
	b.Run("Changed", func(b *testing.B) {
		x := open(b, built)
		for b.Loop() {
			for key, err := range advisory.Changed(x, x) {
				b.Fatalf("it differs from itself: %v, %v", key, err)
			}
		}
	})
}
