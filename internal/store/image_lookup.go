package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// ImageRef says which images are meant, by all that is given of them: exact,
// and what is zero is any. It needs an ID, a Digest, an ImageID, or a Name and
// a Tag.
type ImageRef struct {
	ID           int64
	Digest       string // of the manifest that the tag stands for
	ImageID      string
	Namespace    *string // nil for any, "" for none
	Name, Tag    string
	RegistryID   string
	RegistryName string
	RegistryType tidewaiter.RegistryType
	InstanceID   string // of SWR enterprise edition
	InstanceURL  string
}

// Names tells whether there is enough to look for.
func (r ImageRef) Names() bool {
	return r.ID != 0 || r.Digest != "" || r.ImageID != "" || r.Name != "" && r.Tag != ""
}

// foundImage is an image that a reference may mean.
type foundImage struct {
	ID             int64
	RegistryNumber int64
	Namespace      string
	Name           string
	Tag            string
	Digest         string
	ImageID        string
}

func (r ImageRef) means(i foundImage, in listedRegistry) bool {
	either := func(want, got string) bool { return want == "" || want == got }
	address := ""
	if in.Type == tidewaiter.RegistrySwrEnterprise {
		address = in.Address
	}
	return (r.ID == 0 || r.ID == i.ID) && either(r.Digest, i.Digest) && either(r.ImageID, i.ImageID) &&
		(r.Namespace == nil || *r.Namespace == i.Namespace) && either(r.Name, i.Name) && either(r.Tag, i.Tag) &&
		either(r.RegistryID, in.ID) && either(r.RegistryName, in.Name) && either(string(r.RegistryType), string(in.Type)) &&
		either(r.InstanceID, in.instanceID) && either(r.InstanceURL, address)
}

// LookUpImages returns the ids of the images that references mean, for each the
// lowest first. Those that are gone from their registry are not among them.
// Errors: TooLarge if they are more than most.
func (db *DB) LookUpImages(ctx context.Context, e tidewaiter.Extent, refs []ImageRef, most int) ([][]int64, error) {
	l, err := db.newImageList(ctx, e, ImageFilter{})
	if err != nil {
		return nil, err
	}
	registries := make(map[int64]listedRegistry, len(l.registries))
	numbers := make([]int64, 0, len(l.registries))
	for _, r := range l.registries {
		registries[r.Number] = r
		numbers = append(numbers, r.Number)
	}
	found, total := make([][]int64, len(refs)), 0
	for at := 0; at < len(refs); at += chunkSize {
		chunk := refs[at:min(at+chunkSize, len(refs))]
		images, err := db.candidates(ctx, numbers, chunk, most)
		if err != nil {
			return nil, err
		}
		for i, r := range chunk {
			for _, image := range images[r.key()] {
				if r.means(image, registries[image.RegistryNumber]) {
					found[at+i] = append(found[at+i], image.ID)
				}
			}
			if total += len(found[at+i]); total > most {
				return nil, errTooMany(most)
			}
		}
	}
	return found, nil
}

func errTooMany(most int) error {
	return tidewaiter.Errorf(tidewaiter.TooLarge, "more than %d images are meant", most)
}

// key is what a reference is looked for by.
func (r ImageRef) key() string {
	switch {
	case r.ID != 0:
		return fmt.Sprint("id ", r.ID)
	case r.Digest != "":
		return "digest " + r.Digest
	case r.ImageID != "":
		return "image " + r.ImageID
	}
	return "tag " + r.Name + ":" + r.Tag
}

// candidates returns the images that have the keys of references, by key.
func (db *DB) candidates(ctx context.Context, numbers []int64, refs []ImageRef, most int) (map[string][]foundImage, error) {
	var ids []int64
	var digests, imageIDs []string
	var tags []bun.TupleValues
	seen := make(map[string]bool)
	for _, r := range refs {
		key := r.key()
		kind, _, _ := strings.Cut(key, " ")
		switch {
		case seen[key]:
		case kind == "id":
			ids = append(ids, r.ID)
		case kind == "digest":
			digests = append(digests, r.Digest)
		case kind == "image":
			imageIDs = append(imageIDs, r.ImageID)
		default:
			tags = append(tags, bun.Tuple([]string{r.Name, r.Tag}))
		}
		seen[key] = true
	}
	byKey := make(map[string][]foundImage)
	const byManifest = "SELECT ?0 FROM manifests AS m JOIN images AS i ON i.manifest_id = m.id JOIN repositories AS r ON r.id = i.repository_id WHERE m.registry_number IN (?1) AND i.gone = 0 AND "
	for _, q := range []struct {
		text   string
		values any
		none   bool
		key    func(foundImage) ImageRef
	}{
		{"SELECT ?0 FROM images AS i JOIN manifests AS m ON m.id = i.manifest_id JOIN repositories AS r ON r.id = i.repository_id WHERE i.registry_number IN (?1) AND i.gone = 0 AND i.id IN (?2)",
			ids, len(ids) == 0, func(i foundImage) ImageRef { return ImageRef{ID: i.ID} }},
		{byManifest + "m.digest IN (?2)", digests, len(digests) == 0, func(i foundImage) ImageRef { return ImageRef{Digest: i.Digest} }},
		{byManifest + "m.image_id IN (?2)", imageIDs, len(imageIDs) == 0, func(i foundImage) ImageRef { return ImageRef{ImageID: i.ImageID} }},
		// SQLite takes the tables of a cross join in their order.
		{`WITH p(name, tag) AS (VALUES ?2) SELECT ?0 FROM p CROSS JOIN repositories AS r CROSS JOIN images AS i CROSS JOIN manifests AS m
			WHERE r.registry_number IN (?1) AND r.image = p.name AND i.repository_id = r.id AND i.tag = p.tag AND m.id = i.manifest_id AND i.gone = 0`,
			tags, len(tags) == 0, func(i foundImage) ImageRef { return ImageRef{Name: i.Name, Tag: i.Tag} }},
	} {
		if q.none {
			continue
		}
		var rows []foundImage
		err := db.read.NewRaw(q.text+" ORDER BY i.id LIMIT ?3", bun.Safe("i.id, i.registry_number, r.namespace, r.image AS name, i.tag, m.digest, m.image_id"),
			bun.List(numbers), bun.List(q.values), most+1).Scan(ctx, &rows)
		if err != nil {
			return nil, notFound(err, "images")
		}
		if len(rows) > most {
			return nil, errTooMany(most)
		}
		for _, i := range rows {
			key := q.key(i).key()
			byKey[key] = append(byKey[key], i)
		}
	}
	return byKey, nil
}
