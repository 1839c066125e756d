package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// standing is what is known of one vulnerability at a moment: which package
// versions have it, and what people said to that.
type standing struct {
	packages map[int64]tidewaiter.SeverityRank
	rules    []*rule
}

// differs tells whether some image may be another by another standing.
func (s standing) differs(o standing) bool {
	return !maps.Equal(s.packages, o.packages) || !slices.EqualFunc(s.rules, o.rules, (*rule).same)
}

func (r *rule) same(o *rule) bool {
	return r.number == o.number && r.Updated.Equal(o.Updated) && maps.Equal(r.manifests, o.manifests)
}

// standings returns what is known of vulnerabilities, by their ids.
func (db *DB) standings(ctx context.Context, ids []int64) (map[int64]standing, error) {
	rules, err := db.rulesAbout(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]standing, len(ids))
	for _, id := range ids {
		slices.SortFunc(rules[id], func(a, b *rule) int { return cmp.Compare(a.number, b.number) })
		found[id] = standing{make(map[int64]tidewaiter.SeverityRank), rules[id]}
	}
	return found, eachChunk(ids, func(chunk []int64) error {
		var rows []packageVulnerabilityRow
		err := db.write.NewRaw("SELECT package_id, vulnerability_id, severity FROM package_vulnerabilities WHERE vulnerability_id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			found[r.VulnerabilityID].packages[r.PackageID] = r.Severity
		}
		return notFound(err, "findings of packages")
	})
}

// FindingChanges says what a change has come to.
type FindingChanges struct {
	Vulnerabilities int     // that are in other images now, or in the same in another way
	Images          []int64 // of one platform, by manifest, in order: those that have other numbers now
}

// CountVulnerabilities runs f, which changes which package versions have some
// vulnerabilities or what exceptions say of them, and puts the numbers of images
// and vulnerabilities right. Those of the names that do not exist before f do not
// count: nothing has them. It is called within a transaction that locks the
// findings ([DB.LockFindings]), and notes the change for those who want to be told.
func (db *DB) CountVulnerabilities(ctx context.Context, names []VulnerabilityName, now time.Time, f func() error) error {
	known, err := db.knownVulnerabilities(ctx, names)
	if err != nil {
		return err
	}
	ids := slices.Sorted(maps.Values(known))
	counted, err := db.countVulnerabilities(ctx, ids, nil, f)
	if err != nil || len(counted.Images) == 0 {
		return err
	}
	c := NewFindingChange{Cause: CauseExceptions, Created: now, Images: counted.Images}
	for _, n := range slices.SortedFunc(maps.Keys(known), VulnerabilityName.compare) {
		c.Changes = append(c.Changes, FindingChange{VulnerabilityName: n})
	}
	return db.PutFindingChange(ctx, c)
}

// countVulnerabilities is [DB.CountVulnerabilities] by ids. gaps says of packages
// whether they have one more gap by f, +1, or one less.
func (db *DB) countVulnerabilities(ctx context.Context, ids []int64, gaps map[int64]int, f func() error) (c FindingChanges, err error) {
	before, err := db.standings(ctx, ids)
	if err != nil {
		return c, err
	}
	if err := f(); err != nil {
		return c, err
	}
	after, err := db.standings(ctx, ids)
	if err != nil {
		return c, err
	}
	n, err := db.newCounter(ctx)
	if err != nil {
		return c, err
	}
	if err := db.settleSeverities(ctx, ids); err != nil {
		return c, err
	}
	gaps = maps.Clone(gaps)
	ids = slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return !before[id].differs(after[id]) })
	batches, err := n.batches(ctx, ids, before, after, gaps)
	if err != nil {
		return c, err
	}
	for _, batch := range batches {
		if err := n.load(ctx, batch, before, after); err != nil {
			return c, err
		}
		for _, id := range batch.vulnerabilities {
			n.count(id, before[id], after[id])
		}
		n.countGaps(batch.packages, gaps)
	}
	if err := db.addVulnerabilityCounts(ctx, n.places()); err != nil {
		return c, err
	}
	c = FindingChanges{Vulnerabilities: len(ids), Images: slices.Sorted(maps.Keys(n.deltas))}
	return c, db.addRisks(ctx, n.deltas)
}

// riskDelta is by how much the numbers of an image change.
type riskDelta struct {
	found         [tidewaiter.Ranks]int32
	handled, gaps int32
}

func (d *riskDelta) add(rank tidewaiter.SeverityRank, handled bool, n int32) {
	if handled {
		d.handled += n
	} else {
		d.found[rank] += n
	}
}

// A counter adds up what changes for images and for vulnerabilities.
type counter struct {
	db         *DB
	registries map[int64]*registryPlace
	uncounted  map[int64]bool // manifests that are about to be forgotten, or will be counted
	held       map[int64][]imageHolding
	versions   map[int64]PackageVersion // of packages with rules that ask for them

	deltas map[int64]*riskDelta // by manifest
	counts map[placeCount]*vulnerabilityDelta
	states map[int64]imageState // of one vulnerability, by manifest
}

type imageHolding struct {
	manifestID int64
	registry   int64
}

// imageState is what an image has of a vulnerability, before and after.
type imageState struct {
	at                      *registryPlace
	openBefore, openAfter   bool
	foundBefore, foundAfter bool
}

// placeCount names a count of a vulnerability.
type placeCount struct {
	vulnerabilityID                int64
	projectID, enterpriseProjectID string
}

func (p placeCount) compare(o placeCount) int {
	return cmp.Or(cmp.Compare(p.projectID, o.projectID), cmp.Compare(p.enterpriseProjectID, o.enterpriseProjectID), cmp.Compare(p.vulnerabilityID, o.vulnerabilityID))
}

type vulnerabilityDelta struct{ images, handled, ever int }

// add counts an image that is in another state than before.
func (d *vulnerabilityDelta) add(s imageState) {
	count := func(found, open bool, n int) {
		switch {
		case open:
			d.images += n
		case found:
			d.handled += n
		}
	}
	count(s.foundBefore, s.openBefore, -1)
	count(s.foundAfter, s.openAfter, +1)
	if s.foundAfter && !s.foundBefore {
		d.ever++
	}
}

func (db *DB) registryPlaces(ctx context.Context) (map[int64]*registryPlace, error) {
	var rows []registryPlace
	err := db.write.NewRaw("SELECT number, project_id, enterprise_project_id, type FROM registries").Scan(ctx, &rows)
	places := make(map[int64]*registryPlace, len(rows))
	for i := range rows {
		places[rows[i].Number] = &rows[i]
	}
	return places, notFound(err, "registries")
}

func (db *DB) newCounter(ctx context.Context) (*counter, error) {
	n := &counter{
		db: db, uncounted: make(map[int64]bool), held: make(map[int64][]imageHolding), versions: make(map[int64]PackageVersion),
		deltas: make(map[int64]*riskDelta), counts: make(map[placeCount]*vulnerabilityDelta), states: make(map[int64]imageState),
	}
	var err error
	if n.registries, err = db.registryPlaces(ctx); err != nil {
		return nil, err
	}
	var list []int64
	err = db.write.NewRaw(`SELECT manifest_id FROM dead_manifests UNION ALL
		SELECT r.manifest_id FROM scan_results AS r LEFT JOIN image_risks AS i ON i.manifest_id = r.manifest_id WHERE i.manifest_id IS NULL`).Scan(ctx, &list)
	for _, id := range list {
		n.uncounted[id] = true
	}
	return n, notFound(err, "images that do not count")
}

// batch is some vulnerabilities, and all packages that matter to them.
type batch struct{ vulnerabilities, packages []int64 }

// maxBatch is how many packages of how many images are held in memory at once:
// some 64 MB.
const maxBatch = 4 << 20

// batches puts vulnerabilities together that are in the same packages, so that
// the images of each package are read once, mostly. Packages whose gaps alone
// are to be counted come last.
func (n *counter) batches(ctx context.Context, ids []int64, before, after map[int64]standing, gaps map[int64]int) (list []batch, err error) {
	packages := make(map[int64][]int64, len(ids))
	left := make(map[int64]bool, len(gaps))
	for p := range gaps {
		left[p] = true
	}
	all := maps.Clone(left)
	for _, id := range ids {
		either := maps.Clone(before[id].packages)
		maps.Copy(either, after[id].packages)
		packages[id] = slices.Sorted(maps.Keys(either))
		for p := range either {
			all[p] = true
			delete(left, p)
		}
	}
	sizes, err := n.db.holders(ctx, slices.Sorted(maps.Keys(all)))
	if err != nil {
		return nil, err
	}
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(a, b int64) int { return slices.Compare(packages[a], packages[b]) })
	var now batch
	in, size := make(map[int64]bool), 0
	flush := func() {
		if len(now.vulnerabilities)+len(in) > 0 {
			now.packages = slices.Sorted(maps.Keys(in))
			list, now, in, size = append(list, now), batch{}, make(map[int64]bool), 0
		}
	}
	add := func(p int64) {
		if !in[p] {
			in[p], size = true, size+sizes[p]
		}
	}
	for _, id := range ids {
		now.vulnerabilities = append(now.vulnerabilities, id)
		for _, p := range packages[id] {
			add(p)
		}
		if size >= maxBatch {
			flush()
		}
	}
	for _, p := range slices.Sorted(maps.Keys(left)) {
		if add(p); size >= maxBatch {
			flush()
		}
	}
	flush()
	return list, nil
}

// holders returns how many images hold package versions.
func (db *DB) holders(ctx context.Context, ids []int64) (map[int64]int, error) {
	sizes := make(map[int64]int, len(ids))
	return sizes, eachChunk(ids, func(chunk []int64) error {
		var rows []packageCountRow
		err := db.write.NewRaw("SELECT package_id, images FROM package_counts WHERE package_id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			sizes[r.PackageID] += r.Images
		}
		return notFound(err, "counts of packages")
	})
}

// load reads which images hold the packages of a batch.
func (n *counter) load(ctx context.Context, b batch, before, after map[int64]standing) error {
	held := make(map[int64][]imageHolding, len(b.packages))
	var missing []int64
	for _, p := range b.packages {
		if list, ok := n.held[p]; ok {
			held[p] = list
		} else {
			missing = append(missing, p)
		}
	}
	n.held = held
	if err := n.loadVersions(ctx, b, before, after); err != nil {
		return err
	}
	return eachChunk(missing, func(chunk []int64) error {
		for _, p := range chunk {
			held[p] = nil
		}
		rows, err := n.db.write.NewSelect().Table("image_packages").Column("package_id", "registry_number", "manifest_id").
			Where("package_id IN (?)", bun.List(chunk)).Rows(ctx)
		if err != nil {
			return notFound(err, "packages of images")
		}
		defer rows.Close() //nolint:errcheck // rows.Err has it
		for rows.Next() {
			var p, registry, manifest int64
			if err := rows.Scan(&p, &registry, &manifest); err != nil {
				return notFound(err, "packages of images")
			}
			if !n.uncounted[manifest] && n.registries[registry] != nil {
				held[p] = append(held[p], imageHolding{manifest, registry})
			}
		}
		return notFound(rows.Err(), "packages of images")
	})
}

// loadVersions reads the package versions of a batch, if a rule asks for them.
func (n *counter) loadVersions(ctx context.Context, b batch, before, after map[int64]standing) (err error) {
	for _, id := range b.vulnerabilities {
		if before[id].asksForPackages() || after[id].asksForPackages() {
			n.versions, err = n.db.PackageVersions(ctx, b.packages)
			return err
		}
	}
	return nil
}

func (s standing) asksForPackages() bool {
	return slices.ContainsFunc(s.rules, func(r *rule) bool { return r.Package != "" })
}

func (n *counter) delta(manifest int64) *riskDelta {
	d := n.deltas[manifest]
	if d == nil {
		d = &riskDelta{}
		n.deltas[manifest] = d
	}
	return d
}

// count goes through all images that had a vulnerability, or have it now.
func (n *counter) count(id int64, before, after standing) {
	clear(n.states)
	all := maps.Clone(before.packages)
	maps.Copy(all, after.packages)
	for p := range all {
		rankBefore, hadIt := before.packages[p]
		rankAfter, hasIt := after.packages[p]
		version := n.versions[p]
		for _, h := range n.held[p] {
			i := heldImage{h.manifestID, n.registries[h.registry]}
			s := n.states[h.manifestID]
			s.at = i.at
			handledBefore, handledAfter := before.handles(i, version), after.handles(i, version)
			if hadIt {
				s.foundBefore, s.openBefore = true, s.openBefore || !handledBefore
			}
			if hasIt {
				s.foundAfter, s.openAfter = true, s.openAfter || !handledAfter
			}
			n.states[h.manifestID] = s
			if hadIt == hasIt && rankBefore == rankAfter && handledBefore == handledAfter {
				continue
			}
			d := n.delta(h.manifestID)
			if hadIt {
				d.add(rankBefore, handledBefore, -1)
			}
			if hasIt {
				d.add(rankAfter, handledAfter, +1)
			}
		}
	}
	for _, s := range n.states {
		key := placeCount{id, s.at.ProjectID, s.at.EnterpriseProjectID}
		if n.counts[key] == nil {
			n.counts[key] = &vulnerabilityDelta{}
		}
		n.counts[key].add(s)
	}
}

// handles tells whether somebody has handled a vulnerability in a package of an
// image.
func (s standing) handles(i heldImage, p PackageVersion) bool {
	for _, r := range s.rules {
		if r.applies(i, p) {
			return true
		}
	}
	return false
}

// countGaps counts those of the gaps that some packages have, once.
func (n *counter) countGaps(packages []int64, gaps map[int64]int) {
	for _, p := range packages {
		if gaps[p] == 0 {
			continue
		}
		for _, h := range n.held[p] {
			n.delta(h.manifestID).gaps += int32(gaps[p]) //nolint:gosec // -1 or +1
		}
		delete(gaps, p)
	}
}

// places returns what changes for vulnerabilities.
func (n *counter) places() map[placeCount]*vulnerabilityDelta {
	maps.DeleteFunc(n.counts, func(_ placeCount, d *vulnerabilityDelta) bool { return *d == vulnerabilityDelta{} })
	return n.counts
}

type vulnerabilityCountRow struct {
	bun.BaseModel `bun:"vulnerability_counts,alias:vulnerability_counts"`

	VulnerabilityID     int64
	ProjectID           string
	EnterpriseProjectID string
	Images              int
	Handled             int
	Ever                int
}

// addVulnerabilityCounts changes how many images have which vulnerability.
func (db *DB) addVulnerabilityCounts(ctx context.Context, deltas map[placeCount]*vulnerabilityDelta) error {
	rows := make([]vulnerabilityCountRow, 0, len(deltas))
	for _, key := range slices.SortedFunc(maps.Keys(deltas), placeCount.compare) { // the order of locking
		d := deltas[key]
		rows = append(rows, vulnerabilityCountRow{
			VulnerabilityID: key.vulnerabilityID, ProjectID: key.projectID, EnterpriseProjectID: key.enterpriseProjectID, Images: d.images, Handled: d.handled, Ever: d.ever,
		})
	}
	return eachChunk(rows, func(chunk []vulnerabilityCountRow) error {
		r, err := db.write.NewInsert().Model(&chunk).On(`CONFLICT (project_id, enterprise_project_id, vulnerability_id) DO UPDATE SET
			images = vulnerability_counts.images + excluded.images, handled = vulnerability_counts.handled + excluded.handled,
			ever = vulnerability_counts.ever + excluded.ever`).Returning("NULL").Exec(ctx)
		return wrote(r, err, "counts of vulnerabilities")
	})
}
