package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

// SelectedImage is an image that somebody has chosen: what a tag stands for.
type SelectedImage struct {
	ID              int64 // of the tag
	ManifestID      int64 // of the image, or of the index
	Platforms       []int64
	ImageID         string
	Digest          string
	Namespace, Name string
	Tag             string
}

// maxSame is how many tags may stand for the image that a reference means.
const maxSame = 10_000

// ImagesMeant returns the images that a reference means, each manifest once.
func (db *DB) ImagesMeant(ctx context.Context, e tidewaiter.Extent, ref ImageRef) ([]SelectedImage, error) {
	found, err := db.LookUpImages(ctx, e, []ImageRef{ref}, maxSame)
	if err != nil {
		return nil, err
	}
	var list []SelectedImage
	seen := make(map[int64]bool)
	err = eachChunk(found[0], func(chunk []int64) error {
		var rows []struct {
			ID, ManifestID                        int64
			ImageID, Digest, Namespace, Name, Tag string
		}
		err := db.read.NewRaw(`SELECT i.id, i.manifest_id, m.image_id, m.digest, r.namespace, r.image AS name, i.tag FROM images AS i
			JOIN manifests AS m ON m.id = i.manifest_id JOIN repositories AS r ON r.id = i.repository_id WHERE i.id IN (?) ORDER BY i.id`, bun.List(chunk)).Scan(ctx, &rows)
		for _, r := range rows {
			if !seen[r.ManifestID] {
				list = append(list, SelectedImage{
					ID: r.ID, ManifestID: r.ManifestID, ImageID: r.ImageID, Digest: r.Digest, Namespace: r.Namespace, Name: r.Name, Tag: r.Tag,
				})
			}
			seen[r.ManifestID] = true
		}
		return notFound(err, "images")
	})
	if err != nil {
		return nil, err
	}
	for i := range list {
		children, err := db.children(ctx, []int64{list[i].ManifestID})
		if err != nil {
			return nil, err
		}
		list[i].Platforms = append(nouns(children[list[i].ManifestID], func(m manifestRow) int64 { return m.ID }), list[i].ManifestID)
	}
	return list, nil
}
