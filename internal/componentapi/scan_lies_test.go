package componentapi_test

import (
	"database/sql"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// What a component can do that lies: anything to the images that its own cluster
// reaches, and nothing to others, nor can it learn of them.

// rest returns all that is known of scans but for one registry and its cluster.
func (p *port) rest(registry, cluster string) []string {
	p.Helper()
	db := p.open()
	defer db.Close()
	var all []string
	for table, where := range map[string]string{
		"scans": "registry_number <> MINE", "scan_results": "registry_number <> MINE", "manifest_layers": "registry_number <> MINE",
		"image_packages": "registry_number <> MINE", "package_counts": "registry_number <> MINE", "hidden_files": "registry_number <> MINE", "images": "registry_number <> MINE",
		"layers": "cluster_id <> 'CLUSTER'", "layer_claims": "cluster_id <> 'CLUSTER'", "work": "cluster_id <> 'CLUSTER'",
		"layer_facts": "layer_number IN (SELECT number FROM layers WHERE cluster_id <> 'CLUSTER')",
		"layer_files": "layer_number IN (SELECT number FROM layers WHERE cluster_id <> 'CLUSTER')",
		"scan_tasks":  "project_id <> 'a'", "scan_task_images": "task_id IN (SELECT id FROM scan_tasks WHERE project_id <> 'a')", "scan_totals": "project_id <> 'a'",
		"software_counts": "project_id <> 'a'", "exceptions": "project_id <> 'a'", "attached_vex": "manifest_id NOT IN (SELECT id FROM manifests WHERE registry_number = MINE)",
	} {
		where = strings.NewReplacer("MINE", "(SELECT number FROM registries WHERE id = '"+registry+"')", "CLUSTER", cluster).Replace(where)
		for _, row := range p.rows(db, "SELECT * FROM "+table+" WHERE "+where) {
			all = append(all, table+" "+row)
		}
	}
	slices.Sort(all)
	return all
}

// open opens the database beside the server.
func (p *port) open() *sql.DB {
	p.Helper()
	driver, name := "pgx", p.url
	if path, ok := strings.CutPrefix(p.url, "sqlite:"); ok {
		driver, name = "sqlite", path+"?_busy_timeout=10000&_foreign_keys=on"
	}
	db, err := sql.Open(driver, name)
	p.ok(err)
	p.Cleanup(func() { _ = db.Close() })
	return db
}

// rows returns what a query finds, a row each.
func (p *port) rows(db *sql.DB, query string) (found []string) {
	p.Helper()
	rows, err := db.QueryContext(p.Context(), query)
	p.ok(err)
	defer rows.Close()
	columns, err := rows.Columns()
	p.ok(err)
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		p.ok(rows.Scan(to...))
		found = append(found, fmt.Sprint(row...))
	}
	p.ok(rows.Err())
	return found
}

// TestLies has a component send what no honest one does. Each is refused, or
// concerns its own image alone.
func TestLies(t *testing.T) {
	each(t, func(p *port) {
		// What others have: another project; another cluster of the same project; and
		// another project by way of the liar's own cluster, which serves both.
		shared := p.newCluster("", "shared")
		liar := p.crew(shared)
		north := p.crew(p.newCluster("a", "north"))
		west := p.crew(p.newCluster("b", "west"))
		mine, theirs, away, ours := p.registry("a", shared), p.registry("b", west.clusterID), p.registry("a", north.clusterID), p.registry("b", shared)
		p.push(mine, "mine", "mine amd64", "mine arm64")
		p.push(mine, "mine too")
		p.push(theirs, "theirs")
		p.push(theirs, "theirs too")
		p.push(away, "away")
		p.push(ours, "ours")
		p.scan("b")
		west.does(west.nextOf("theirs"), "theirs", "secret", "base")
		running := west.next()
		west.ask(running, "claimed by others")
		liar.does(liar.next(), "ours", "confidential", "base")
		p.scan("a")
		north.does(north.next(), "away", "internal", "base")
		w, mate := liar.nextOf("mine"), liar.mate()
		before := p.rest(mine, shared)

		good := encoded(p, factsOf("base"))
		refused := func(what string, r *reply, status int, code string) {
			p.Helper()
			if r.status != status || code != "" && !strings.Contains(string(r.body), code) {
				p.Errorf("%s: %d %s, want %d %s", what, r.status, r.body, status, code)
			}
		}
		for what, c := range map[string]struct {
			*crew
			protocol.Work
		}{
			"another cluster's work": {liar, running}, "another component's work": {mate, w},
			"an attempt to come": {liar, protocol.Work{ID: w.ID, Attempt: w.Attempt + 1}}, "an attempt that is over": {liar, protocol.Work{ID: w.ID, Attempt: w.Attempt - 1}},
			"work that is not there": {liar, protocol.Work{ID: "0123456789abcdef", Attempt: 1}},
		} {
			refused(what+", layers", c.about(c.Work, protocol.PathLayers, protocol.LayersRequest{Attempt: c.Attempt, Extractors: extractors, Limits: "default", Layers: []protocol.Layer{layer("base")}}), 409, protocol.ErrLeaseLost)
			refused(what+", facts", c.send(c.Work, report(c.Work, "base"), good), 409, protocol.ErrLeaseLost)
			refused(what+", image", c.about(c.Work, protocol.PathImage, image(c.Work, "mine amd64", "base")), 409, protocol.ErrLeaseLost)
			refused(what+", attached documents", c.about(c.Work, protocol.PathAttached, attached(c.Work, "mine amd64", "vex")), 409, protocol.ErrLeaseLost)
			refused(what+", end", c.about(c.Work, protocol.PathFinish, done(c.Work)), 409, protocol.ErrLeaseLost)
			refused(what+", heartbeat", c.about(c.Work, protocol.PathHeartbeat, protocol.HeartbeatRequest{Attempt: c.Attempt}), 409, protocol.ErrLeaseLost)
		}
		// Images that the work is not about.
		liar.ask(w, "base")
		refused("facts", liar.send(w, report(w, "base"), good), 204, "")
		for _, name := range []string{"theirs", "theirs too", "away", "ours", "mine too", "mine", "nobody's"} {
			refused("the image "+name, liar.about(w, protocol.PathImage, image(w, name, "base")), 400, "")
			if name != "mine" { // the index, to which something may be attached
				refused("attached to "+name, liar.about(w, protocol.PathAttached, attached(w, name, "vex")), 400, "")
			}
			failed := image(w, name)
			failed.Failure = &protocol.ScanFailure{Code: tidewaiter.FailNotFound, Message: "it is gone"}
			refused("a failure of the image "+name, liar.about(w, protocol.PathImage, failed), 400, "")
		}
		// Layers that others have, named without being sent.
		for _, word := range []string{"secret", "confidential", "internal", "claimed by others"} {
			refused("the layer "+word, liar.about(w, protocol.PathImage, image(w, "mine amd64", "base", word)), 409, protocol.ErrLayersMissing)
		}
		if got := liar.ask(w, "secret", "confidential", "internal", "claimed by others"); got != "claimed claimed claimed claimed" {
			p.Errorf("of layers that others have the server says %s", got)
		}
		// The layers of others, with other facts. They are there for the liar's
		// project and cluster only.
		for _, word := range []string{"secret", "confidential", "internal", "claimed by others"} {
			lie := factsOf("lie")
			lie.DiffID = layer(word).DiffID
			refused("facts of the layer "+word, liar.send(w, report(w, word), encoded(p, lie)), 204, "")
		}
		refused("an honest image", liar.about(w, protocol.PathImage, image(w, "mine amd64", "base")), 204, "")
		refused("an end with a part missing", liar.about(w, protocol.PathFinish, done(w)), 204, "")
		if diff := cmp.Diff(before, p.rest(mine, shared)); diff != "" {
			p.Errorf("others have (-before +after):\n%s", diff)
		}
		p.holds(theirs, "theirs", "base", "secret")
		p.holds(ours, "ours", "base", "confidential")
		p.holds(away, "away", "base", "internal")
		p.holds(mine, "mine arm64")
		p.calm()
	})
}

// TestBadFacts has a component send what cannot be facts, or not those of the
// layer: nothing of it is kept.
func TestBadFacts(t *testing.T) {
	p := newPort(t, storetest.SQLite(t))
	c := p.crew(p.newCluster("a", "east"))
	registry := p.registry("a", c.clusterID)
	p.push(registry, "one")
	p.scan("a")
	w := c.next()
	c.ask(w, "base")
	good := encoded(p, factsOf("base"))
	head := func(change func(*protocol.LayerReport)) []byte {
		r := report(w, "base")
		change(&r)
		body, err := r.Join(good)
		p.ok(err)
		return body
	}
	facts := func(b []byte) []byte {
		body, err := report(w, "base").Join(b)
		p.ok(err)
		return body
	}
	for what, body := range map[string][]byte{
		"nothing":              nil,
		"no line":              good,
		"a line of no JSON":    append([]byte("hello\n"), good...),
		"a line of other JSON": append([]byte("[1, 2]\n"), good...),
		"an endless line":      []byte(`{"attempt": ` + strings.Repeat(" ", 10_000)),
		"no facts":             facts(nil),
		"garbage":              facts([]byte("TWfacts\x02 and then something else")),
		"another form":         facts([]byte(strings.Replace(string(good), "TWfacts\x02", "TWfacts\x7f", 1))),
		"half of the facts":    facts(good[:len(good)/2]),
		"the facts twice":      facts(slices.Concat(good, good[len("TWfacts\x02"):])),
		"junk after them":      facts(append(slices.Clone(good), 0)),
		"of another layer":     facts(encoded(p, factsOf("top"))),
		"of other extractors": facts(encoded(p, func() tidewaiter.LayerFacts {
			f := factsOf("base")
			f.Extractors = "set-2"
			return f
		}())),
		"another diff ID":     head(func(r *protocol.LayerReport) { r.Layer.DiffID = layer("top").DiffID }),
		"no digest":           head(func(r *protocol.LayerReport) { r.Layer.Digest = "" }),
		"a digest of a path":  head(func(r *protocol.LayerReport) { r.Layer.Digest = "sha256:../../../etc/passwd" }),
		"a size below zero":   head(func(r *protocol.LayerReport) { r.Layer.Size = -1 }),
		"no extractors":       head(func(r *protocol.LayerReport) { r.Extractors = "" }),
		"extractors of a NUL": head(func(r *protocol.LayerReport) { r.Extractors = "set\x001" }),
		"endless extractors":  head(func(r *protocol.LayerReport) { r.Extractors = strings.Repeat("x", 1000) }),
		"no limits":           head(func(r *protocol.LayerReport) { r.Limits = "" }),
		"limits of blanks":    head(func(r *protocol.LayerReport) { r.Limits = "   " }),
	} {
		if r := c.sendRaw(w, body); r.status != 400 || !strings.Contains(string(r.body), "error_msg") {
			p.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	if got := c.ask(w, "base"); got != "claimed" {
		p.Errorf("the layer is %s", got)
	}
	if r := c.about(w, protocol.PathLayer, report(w, "base")); r.status != 400 {
		p.Errorf("facts as JSON: %d %s", r.status, r.body)
	}
	many := protocol.LayersRequest{Attempt: w.Attempt, Extractors: extractors, Limits: "default", Layers: make([]protocol.Layer, protocol.MaxLayers+1)}
	if r := c.about(w, protocol.PathLayers, many); r.status != 400 {
		p.Errorf("%d layers: %d %s", len(many.Layers), r.status, r.body)
	}
	p.calm()
}

// TestOddFacts has texts of every kind in facts and in the config, and numbers
// at the ends of what they can be: both databases keep them.
func TestOddFacts(t *testing.T) {
	each(t, func(p *port) {
		c := p.crew(p.newCluster("a", "east"))
		registry := p.registry("a", c.clusterID)
		p.push(registry, "one")
		p.push(registry, "two")
		task := p.scan("a")
		texts := []string{"", "x", "\U0001F6A2", "'; DROP TABLE work; --", "\u202egnp.exe", "a\nb\r\tc", "\x1b[31mred", "\u0001", "%s%n", strings.Repeat("ä", 2000), strings.Repeat("\u0301", 1000), "\ufffd\ufeff"}
		for n := range 2 {
			w := c.next()
			name := w.Scan.Repository
			facts := tidewaiter.LayerFacts{DiffID: layer("odd").DiffID, Verified: true, Extractors: extractors, Size: 1 << 50}
			for i, text := range texts {
				path := fmt.Sprintf("f%02d/%s", i, strings.NewReplacer("\x00", "", "/", "", "\n", "\n").Replace(text)+"\xff\xfe"+"x")
				facts.Files = append(facts.Files, tidewaiter.File{
					Path: path, Type: tidewaiter.RegularFile, Size: math.MaxInt64, UID: math.MinInt64, GID: math.MaxInt64, Owned: i%2 == 0,
					Modified: time.Unix(253402300799, 0).UTC(),
				})
				facts.Packages = append(facts.Packages, tidewaiter.Package{
					Ecosystem: text, Name: "n" + text, Version: text, SourceName: text, SourceVersion: text, Architecture: text, Type: text, Namespace: text,
					Licenses: []string{text, text}, Path: path, Inside: []string{text + ".jar"}, Extractor: text,
				})
				facts.Systems = append(facts.Systems, tidewaiter.System{Path: path, ID: text, IDLike: []string{text}, VersionID: text, Codename: text, Name: text, CPE: text})
				facts.Notes = append(facts.Notes, text)
			}
			if n == 1 { // the same again, under other names, and cut short
				facts.DiffID = layer("odder").DiffID
				for _, text := range texts {
					facts.Cuts = append(facts.Cuts, tidewaiter.Cut{Path: "p" + text, Code: "c" + text, Reason: text})
				}
			}
			word := []string{"odd", "odder"}[n]
			c.ask(w, word)
			c.wants(c.send(w, report(w, word), encoded(p, facts)), 204, "", nil)
			r := image(w, name, word, word, word) // a layer may be there more than once
			r.Config = protocol.ImageConfig{
				OS: "linux\x00", Architecture: strings.Repeat("x", 100_000), User: "\xff", Entrypoint: texts, Command: make([]string, 10_000), Env: texts,
				Labels: map[string]string{"\x00": "\x00", "a\nb": strings.Repeat("y", 100_000)}, Steps: make([]protocol.BuildStep, 5000),
			}
			for i, text := range texts {
				r.Config.Steps[i] = protocol.BuildStep{Command: text + "\x00", Comment: text}
			}
			c.wants(c.about(w, protocol.PathImage, r), 204, "", nil)
			c.wants(c.about(w, protocol.PathFinish, done(w)), 204, "", nil)
			result, err := p.db.Result(p.Context(), p.manifest(registry, name))
			p.ok(err)
			if len(result.Packages) == 0 || result.FileBytes < 0 || result.Complete != (n == 0) || len(result.Config.Steps) > protocol.MaxSteps {
				p.Errorf("%s: %d packages, %d bytes, complete %t, %d steps", name, len(result.Packages), result.FileBytes, result.Complete, len(result.Config.Steps))
			}
		}
		if got := p.task(task); got != "finished 1 of 2, 1 failed" {
			p.Errorf("the task: %s", got)
		}
		p.calm()
	})
}

// TestHugeFacts has a component send facts that are small and unfold to what no
// server has room for.
func TestHugeFacts(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	p := newPort(t, storetest.SQLite(t))
	c := p.crew(p.newCluster("a", "east"))
	registry := p.registry("a", c.clusterID)
	p.push(registry, "one")
	p.scan("a")
	w := c.next()
	used := func(what string, most uint64, f func()) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak := watchHeap(t)
		begun := time.Now()
		f()
		grown := peak() - before.HeapAlloc
		runtime.ReadMemStats(&after)
		t.Logf("%s took %d MiB at a time, %d MiB in all, and %s", what, grown>>20, (after.TotalAlloc-before.TotalAlloc)>>20, time.Since(begun).Round(time.Millisecond))
		if grown > most {
			t.Errorf("%s took %d MiB", what, grown>>20)
		}
	}
	nothing := make([]string, 1024)
	lists := factsOf("lists")
	lists.Packages = make([]tidewaiter.Package, 20_000)
	for i := range lists.Packages {
		lists.Packages[i] = tidewaiter.Package{Name: "x", Path: "status/lists", Licenses: nothing, Inside: nothing}
	}
	bomb := encoded(p, lists)
	t.Logf("%d bytes", len(bomb))
	c.ask(w, "lists", "many")
	used("packages with many licences", 512<<20, func() {
		if r := c.send(w, report(w, "lists"), bomb); r.status != 400 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	lists = tidewaiter.LayerFacts{}

	many := factsOf("many")
	for i := range 400_000 {
		many.Files = append(many.Files, tidewaiter.File{Path: fmt.Sprintf("z/%06d", i), Type: tidewaiter.Folder})
	}
	used("a layer of many folders", 512<<20, func() {
		if r := c.send(w, report(w, "many"), encoded(p, many)); r.status != 204 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	many = tidewaiter.LayerFacts{}
	words := slices.Repeat([]string{"many"}, protocol.MaxLayers)
	used("an image of a thousand such layers", 1<<30, func() {
		c.wants(c.about(w, protocol.PathImage, image(w, "one", words...)), 204, "", nil)
	})
	c.wants(c.about(w, protocol.PathFinish, done(w)), 204, "", nil)
	p.holds(registry, "one")
	p.calm()
}

// watchHeap looks at the heap from now on. What it returns ends that, and
// returns the most that it was.
func watchHeap(t *testing.T) (peak func() uint64) {
	t.Helper()
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		var m runtime.MemStats
		var top uint64
		for {
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapAlloc)
			select {
			case <-stop:
				most <- top
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-most
	}
}
