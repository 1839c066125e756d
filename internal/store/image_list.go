package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// Images returns a page of the images of an extent that the filter lets
// through, those of an index with its platforms, and how many there are in
// all.
//
// The registries of an extent are few, and how many images each has of every
// facet is known: so the length of most lists is a sum, and a page far down is
// found by leaving out whole registries.
func (db *DB) Images(ctx context.Context, e tidewaiter.Extent, f ImageFilter, p Page) ([]tidewaiter.RegistryImage, int, error) {
	return db.listImages(ctx, e, f, p, listSizes{few: 5_000, many: 20_000})
}

// listSizes are numbers of images by which a list is made in one way or
// another. What it holds does not depend on them.
type listSizes struct {
	// Few images it is quicker to find and sort than to meet them going through
	// a registry in the order of the list.
	few int
	// Many images are such that to look at all of them takes tens of milliseconds.
	many int
}

func (db *DB) listImages(ctx context.Context, e tidewaiter.Extent, f ImageFilter, p Page, sizes listSizes) ([]tidewaiter.RegistryImage, int, error) {
	var images []tidewaiter.RegistryImage
	total := 0
	err := db.snapshot(ctx, func(tx *DB) error {
		l, err := tx.newImageList(ctx, e, f)
		if err != nil {
			return err
		}
		l.sizes = sizes
		var ids []int64
		total = 0
		for _, g := range l.groups() {
			count, err := g.count(ctx)
			if err != nil {
				return err
			}
			// What of the page lies in this group.
			from, to := max(p.Offset-total, 0), min(p.Offset+p.Limit-total, count)
			total += count
			if from >= to {
				continue
			}
			part, err := g.page(ctx, Page{Offset: from, Limit: to - from})
			if err != nil {
				return err
			}
			ids = append(ids, part...)
		}
		images, err = l.load(ctx, ids)
		return err
	})
	return images, total, err
}

// listedRegistry is a registry whose images may be listed.
type listedRegistry struct {
	Number              int64
	ID                  string
	ProjectID           string
	EnterpriseProjectID string
	Name                string
	Type                tidewaiter.RegistryType
	Address             string
	Settings            string // of SWR enterprise edition

	instanceID, instanceName string
}

// An imageList is a list of images that was asked for.
type imageList struct {
	*DB
	sizes      listSizes
	filter     ImageFilter
	registries []listedRegistry // in the order of the list
	counts     []facetCount
}

func (db *DB) newImageList(ctx context.Context, e tidewaiter.Extent, f ImageFilter) (*imageList, error) {
	l := &imageList{DB: db, filter: f}
	q := extent(db.read.NewSelect().Table("registries"), e).
		Column("number", "id", "project_id", "enterprise_project_id", "name", "type", "address").
		ColumnExpr("CASE type WHEN ? THEN settings ELSE '' END AS settings", tidewaiter.RegistrySwrEnterprise)
	q = db.like(in(in(q, "type", f.Types), "id", f.RegistryIDs), "name", f.RegistryName)
	if f.RegistryID != "" {
		q = q.Where("id = ?", f.RegistryID)
	}
	var all []listedRegistry
	if err := q.Order("number").Scan(ctx, &all); err != nil {
		return nil, notFound(err, "registries")
	}
	var numbers []int64
	for _, r := range all {
		if r.Settings != "" {
			s, err := decodeSettings(r.ID, r.Settings)
			if err != nil {
				return nil, err
			}
			r.instanceID, r.instanceName = s.SWRInstanceID, s.SWRInstanceName
		}
		if f.ofInstance(r.instanceID, r.instanceName) {
			l.registries = append(l.registries, r)
			numbers = append(numbers, r.Number)
		}
	}
	if f.Descending {
		slices.Reverse(l.registries)
	}
	var err error
	l.counts, err = db.facetCounts(ctx, numbers)
	return l, err
}

// groups returns the parts of the list, one after the other.
func (l *imageList) groups() []*imageGroup {
	p := newFacetFilter(l.filter)
	if l.filter.ofScanTime() {
		p.set |= facetScanned
	}
	if !l.filter.SortByScanned {
		return []*imageGroup{l.group(p, false)}
	}
	never, scanned := p, p
	never.clear |= facetScanned
	scanned.set |= facetScanned
	groups := []*imageGroup{l.group(never, false), l.group(scanned, true)}
	if l.filter.Descending {
		slices.Reverse(groups)
	}
	return groups
}

// An imageGroup is a part of a list that has one order.
type imageGroup struct {
	*imageList
	byScanned bool
	found     []facetCount  // of the facets that the filter lets through
	facets    []facet       // these, nil if they are all that there are
	sums      map[int64]int // how many images have them, by registry
	looked    int           // how many images have them, altogether
	summed    bool          // these are the images that the filter lets through
	plain     bool          // the facets are those of all images that are not gone
}

func (l *imageList) group(p facetFilter, byScanned bool) *imageGroup {
	g := &imageGroup{
		imageList: l, byScanned: byScanned, sums: make(map[int64]int),
		summed: !l.filter.ofRepository() && !l.filter.ofImage(), plain: p.onlyPresent(),
	}
	seen := make(map[facet]bool)
	all := true
	for _, c := range l.counts {
		if !p.lets(c.Facet) {
			all = false
			continue
		}
		g.found = append(g.found, c)
		g.sums[c.RegistryNumber] += c.Images
		if !seen[c.Facet] {
			seen[c.Facet] = true
			g.facets = append(g.facets, c.Facet)
		}
	}
	if all {
		g.facets = nil
	}
	g.looked = g.total()
	return g
}

// numbers returns the registries that have something of the group.
func (g *imageGroup) numbers() []int64 {
	var list []int64
	for _, r := range g.registries {
		if g.sums[r.Number] > 0 {
			list = append(list, r.Number)
		}
	}
	return list
}

// count counts the images of the group, altogether and in each registry.
func (g *imageGroup) count(ctx context.Context) (int, error) {
	numbers := g.numbers()
	if !g.summed && len(numbers) > 0 {
		var rows []struct {
			RegistryNumber int64
			Images         int
		}
		q := g.images(numbers).ColumnExpr("i.registry_number, COUNT(*) AS images").GroupExpr("i.registry_number")
		if g.plain && !g.filter.ofImage() {
			// Repositories know how many images they have.
			q = g.whereRepository(g.read.NewSelect().TableExpr("repositories AS r"), g.filter).
				Where("r.registry_number IN (?)", bun.List(numbers)).
				ColumnExpr("r.registry_number, SUM(r.images) AS images").GroupExpr("r.registry_number")
		}
		if err := q.Scan(ctx, &rows); err != nil {
			return 0, fmt.Errorf("count images: %w", err)
		}
		clear(g.sums)
		for _, r := range rows {
			g.sums[r.RegistryNumber] = r.Images
		}
	}
	return g.total(), nil
}

func (g *imageGroup) total() int {
	total := 0
	for _, n := range g.sums {
		total += n
	}
	return total
}

// images returns a query of the images of the group in some registries. With
// a filter for repositories these come first: the image's registry and
// repository are the beginning of the index images_list.
func (g *imageGroup) images(numbers []int64) *bun.SelectQuery {
	q := g.read.NewSelect()
	switch {
	case g.filter.ofRepository():
		// SQLite takes the tables of a cross join in their order.
		q = q.TableExpr("repositories AS r CROSS JOIN images AS i").
			Where("i.registry_number = r.registry_number AND i.repository_id = r.id AND r.registry_number IN (?)", bun.List(numbers))
		q = g.whereRepository(q, g.filter)
	case g.across(numbers):
		q = q.TableExpr("images AS i").Where("+i.registry_number IN (?)", bun.List(numbers))
	default:
		q = q.TableExpr("images AS i").Where("i.registry_number IN (?)", bun.List(numbers))
	}
	// The plus sign keeps databases from taking the index of facets, which is
	// for facets that few images have.
	switch {
	case g.plain:
		q = q.Where("+i.facet < ?", facetGone)
	case g.facets != nil:
		q = q.Where("+i.facet IN (?)", bun.List(g.facets))
	}
	if g.byScanned {
		q = q.Where("i.scanned > 0") // what the index has
	}
	return g.whereImage(q, g.filter)
}

// across tells whether to look for images by the indexes that do not begin
// with the registry, which databases would not take for so many registries:
// those of scan times, and of tags with a pattern that has a beginning.
func (g *imageGroup) across(numbers []int64) bool {
	return g.looked > g.sizes.many && len(numbers) > 1 && (g.byScanned || g.filter.ofScanTime() || strings.Index(g.filter.Tag, "*") > 0)
}

// page returns the ids of a page of the group, which was counted.
func (g *imageGroup) page(ctx context.Context, p Page) ([]int64, error) {
	direction := ""
	if g.filter.Descending {
		direction = " DESC"
	}
	if g.byScanned {
		return g.pick(ctx, g.numbers(), "i.scanned?0, i.registry_number?0, i.id?0", direction, p)
	}
	if g.total() <= g.sizes.few {
		return g.pick(ctx, g.numbers(), "+i.registry_number?0, i.repository_id?0, i.id?0", direction, p)
	}
	var ids []int64
	for _, number := range g.numbers() {
		n := g.sums[number]
		if p.Offset >= n {
			p.Offset -= n
			continue
		}
		order := "i.repository_id?0, i.id?0"
		if n <= g.sizes.few && !g.filter.ofScanTime() {
			order = "+" + order
		}
		part, err := g.pick(ctx, []int64{number}, order, direction, p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, part...)
		p = Page{Limit: p.Limit - len(part)}
		if p.Limit <= 0 {
			break
		}
	}
	return ids, nil
}

// pick returns the ids of a page of the images in some registries. An order
// that begins with a plus sign is not taken from an index: this is for few
// images.
func (g *imageGroup) pick(ctx context.Context, numbers []int64, order, direction string, p Page) (ids []int64, err error) {
	if order[0] == '+' && g.summed && !g.plain {
		return g.pickFacets(ctx, numbers, order, direction, p)
	}
	err = g.images(numbers).ColumnExpr("i.id").OrderExpr(order, bun.Safe(direction)).
		Limit(int64(p.Limit)).Offset(int64(p.Offset)).Scan(ctx, &ids)
	return ids, notFound(err, "images")
}

// pickFacets is [imageGroup.pick] for a filter that asks for nothing but
// facets, which few images have: they are looked up one by one.
func (g *imageGroup) pickFacets(ctx context.Context, numbers []int64, order, direction string, p Page) (ids []int64, err error) {
	var pairs []byte
	for _, c := range g.found {
		if slices.Contains(numbers, c.RegistryNumber) {
			pairs = fmt.Appendf(pairs, ", (%d, %d)", c.RegistryNumber, c.Facet)
		}
	}
	err = g.read.NewRaw(`WITH p(number, facet) AS (VALUES ?1) SELECT i.id
		FROM p CROSS JOIN images AS i WHERE i.registry_number = p.number AND i.facet = p.facet
		ORDER BY `+order+" LIMIT ?2 OFFSET ?3", bun.Safe(direction), bun.Safe(pairs[len(", "):]), p.Limit, p.Offset).Scan(ctx, &ids)
	return ids, notFound(err, "images")
}

// load reads images in the order of their ids.
func (l *imageList) load(ctx context.Context, ids []int64) ([]tidewaiter.RegistryImage, error) {
	list := make([]tidewaiter.RegistryImage, 0, len(ids))
	at := make(map[int64]listedRegistry, len(l.registries))
	for _, r := range l.registries {
		at[r.Number] = r
	}
	err := eachChunk(ids, func(chunk []int64) error {
		var rows []listedImage
		err := l.read.NewRaw(`SELECT i.*, r.namespace, r.image AS name, r.owner, r.synced, m.digest, m.image_id, m.kind, m.reason,
			COALESCE(s.reason, '') AS scan_reason FROM images AS i JOIN repositories AS r ON r.id = i.repository_id
			JOIN manifests AS m ON m.id = i.manifest_id LEFT JOIN scans AS s ON s.manifest_id = i.manifest_id
			WHERE i.id IN (?)`, bun.List(chunk)).Scan(ctx, &rows)
		if err != nil {
			return notFound(err, "images")
		}
		byID := make(map[int64]int, len(rows))
		var indexes []int64
		for i, r := range rows {
			byID[r.ID] = i
			if r.MultiArch {
				indexes = append(indexes, r.ManifestID)
			}
		}
		platforms, err := l.platforms(ctx, indexes)
		if err != nil {
			return err
		}
		risks, err := l.rootRisks(ctx, distinct(rows, func(r listedImage) int64 { return r.ManifestID }))
		if err != nil {
			return err
		}
		for _, id := range chunk {
			if i, ok := byID[id]; ok {
				image := rows[i].noun(at[rows[i].RegistryNumber], platforms[rows[i].ManifestID])
				for _, r := range risks[rows[i].ManifestID] {
					image.Scan.Vulnerabilities += r.Vulnerabilities()
				}
				list = append(list, image)
			}
		}
		return nil
	})
	return list, err
}

// listedImage is an image with what its list entry has from elsewhere.
type listedImage struct {
	imageRow

	Namespace string
	Name      string
	Owner     string
	Synced    int64
	Digest    tidewaiter.Digest
	ImageID   string
	Kind      string
	Reason    string

	ScanReason string
}

// platforms returns the images of indexes, and what is known of them.
func (l *imageList) platforms(ctx context.Context, indexes []int64) (map[int64][]tidewaiter.PlatformImage, error) {
	children, err := l.children(ctx, indexes)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, list := range children {
		ids = append(ids, nouns(list, func(m manifestRow) int64 { return m.ID })...)
	}
	results := make(map[int64]scanResultRow, len(ids))
	err = eachChunk(ids, func(chunk []int64) error {
		var rows []scanResultRow
		err := l.read.NewRaw("SELECT manifest_id, complete, reason FROM scan_results WHERE manifest_id IN (?)", bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			results[r.ManifestID] = r
		}
		return notFound(err, "results of scans")
	})
	platforms := make(map[int64][]tidewaiter.PlatformImage, len(children))
	for index, list := range children {
		platforms[index] = nouns(list, func(m manifestRow) tidewaiter.PlatformImage {
			p := tidewaiter.PlatformImage{
				ManifestID: m.ID, Digest: m.Digest, ImageID: m.ImageID, Platform: m.platform(), Size: m.Size, Reason: m.Reason, ScanStatus: tidewaiter.Unscanned,
			}
			if r, ok := results[m.ID]; ok {
				if p.ScanStatus, p.ScanReason = tidewaiter.ScanSucceeded, r.Reason; !r.Complete {
					p.ScanStatus = tidewaiter.ScanFailed
				}
			}
			return p
		})
	}
	return platforms, err
}

func (i listedImage) noun(r listedRegistry, platforms []tidewaiter.PlatformImage) tidewaiter.RegistryImage {
	image := tidewaiter.RegistryImage{
		ID: i.ID, ProjectID: r.ProjectID, EnterpriseProjectID: r.EnterpriseProjectID,
		RegistryID: r.ID, RegistryName: r.Name, RegistryType: r.Type, RepositoryID: i.RepositoryID,
		Namespace: i.Namespace, Name: i.Name, Owner: i.Owner, Tag: i.Tag,
		ManifestID: i.ManifestID, Digest: i.Digest, ImageID: i.ImageID, Kind: i.Kind, Reason: i.Reason, Size: i.Size,
		MultiArch: i.MultiArch, Scannable: i.Reason == "", Latest: i.Latest,
		Updated: fromMicros(i.Updated), Synced: optionalTime(i.Synced), Gone: optionalTime(i.Gone),
		Scan: tidewaiter.ImageScan{
			Status: i.ScanStatus, FailedCode: i.ScanFailedCode, Scanned: optionalTime(i.Scanned),
			UnsafeSettings: i.UnsafeSettings, MaliciousFiles: i.MaliciousFiles, Severity: i.Severity,
		},
		ScanReason: i.ScanReason, Platforms: platforms,
	}
	if r.Type == tidewaiter.RegistrySwrEnterprise {
		image.InstanceID, image.InstanceName, image.InstanceURL = r.instanceID, r.instanceName, r.Address
	}
	return image
}
