package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/uptrace/bun"

	"github.com/tidewaiter/tidewaiter"
)

type scanResultRow struct {
	bun.BaseModel `bun:"scan_results"`

	ManifestID     int64
	RegistryNumber int64
	Complete       bool
	FailedCode     string
	Reason         string
	Extractors     string
	Scanned        int64
	ChainID        tidewaiter.Digest
	OSID           string `bun:"os_id"`
	OSVersion      string `bun:"os_version"`
	OSName         string `bun:"os_name"`
	EndOfLife      int64
	Packages       int
	Files          int
	FileBytes      int64
	LooseFiles     int
	Document       []byte
}

// resultDocument is what of a result no query asks for, as JSON in a zstd frame.
type resultDocument struct {
	System   tidewaiter.System      `json:"system"`
	Base     tidewaiter.System      `json:"base"`
	Config   tidewaiter.ImageConfig `json:"config"`
	Layers   []layerDocument        `json:"layers"`
	Packages []packageDocument      `json:"packages"`
	Cuts     []cutDocument          `json:"cuts"`
}

type layerDocument struct {
	Digest tidewaiter.Digest `json:"d"`
	DiffID tidewaiter.Digest `json:"i"`
	Size   int64             `json:"s"`
	Step   int               `json:"b"`
}

func (d layerDocument) noun() tidewaiter.ImageLayer {
	return tidewaiter.ImageLayer{Digest: d.Digest, DiffID: d.DiffID, Size: d.Size, Step: d.Step}
}

type packageDocument struct {
	ID        int64    `json:"p"`
	Layer     int      `json:"l"`
	Origin    int      `json:"o"`
	Path      string   `json:"f"`
	Inside    []string `json:"a,omitempty"`
	Licenses  []string `json:"c,omitempty"`
	Extractor string   `json:"x,omitempty"`
}

type cutDocument struct {
	Path   string `json:"path,omitempty"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Layer  int    `json:"layer"`
}

// maxDocument bounds what is read back, in bytes.
const maxDocument = 256 << 20

func marshalDocument(r tidewaiter.ImageResult) ([]byte, error) {
	d := resultDocument{System: r.System, Base: r.Base, Config: r.Config}
	for _, l := range r.Layers {
		d.Layers = append(d.Layers, layerDocument{l.Digest, l.DiffID, l.Size, l.Step})
	}
	for _, p := range r.Packages {
		d.Packages = append(d.Packages, packageDocument{p.ID, p.Layer, p.Origin, p.Path, p.Inside, p.Licenses, p.Extractor})
	}
	for _, c := range r.Cuts {
		d.Cuts = append(d.Cuts, cutDocument{c.Path, c.Code, c.Reason, c.Layer})
	}
	return json.Marshal(d)
}

func newDocumentWriter() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
}

func encodeDocument(r tidewaiter.ImageResult) ([]byte, error) {
	text, err := marshalDocument(r)
	if err != nil {
		return nil, fmt.Errorf("write result: %w", err)
	}
	z, err := newDocumentWriter()
	if err != nil {
		return nil, fmt.Errorf("write result: %w", err)
	}
	defer z.Close() //nolint:errcheck // EncodeAll leaves nothing behind
	return z.EncodeAll(text, nil), nil
}

func decodeDocument(b []byte) (d resultDocument, err error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument), zstd.WithDecoderLowmem(true))
	if err != nil {
		return d, fmt.Errorf("read result: %w", err)
	}
	defer z.Close()
	text, err := z.DecodeAll(b, nil)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return d, fmt.Errorf("read result: %w", err)
	}
	return d, nil
}

// HiddenFile is a file that belongs to no package of its layer, and is not to
// be listed as one of the image: another layer hides it, or owns it.
type HiddenFile struct {
	Position int // of the layer
	Entry    int // as in LooseFile
}

// NewResult is what an image of one platform holds, to be kept.
type NewResult struct {
	tidewaiter.ImageResult                   // its packages have ids
	ChainID                tidewaiter.Digest // of all layers
	LayerNumbers           []int64
	Hidden                 []HiddenFile
}

func (r NewResult) row(registryNumber int64, document []byte) scanResultRow {
	return scanResultRow{
		ManifestID: r.ManifestID, RegistryNumber: registryNumber, Complete: r.Complete, FailedCode: r.Code, Reason: r.Reason,
		Extractors: r.Extractors, Scanned: micros(r.Scanned), ChainID: r.ChainID,
		OSID: r.System.ID, OSVersion: r.System.VersionID, OSName: r.System.Name, EndOfLife: optionalMicros(r.EndOfLife),
		Packages: len(r.Packages), Files: r.Files, FileBytes: r.FileBytes, LooseFiles: r.LooseFiles, Document: document,
	}
}

// PutResult keeps what is known of an image, in the place of what was known
// before. Errors: NotFound if the manifest is not there, or a layer.
func (db *DB) PutResult(ctx context.Context, r NewResult) error {
	document, err := encodeDocument(r.ImageResult)
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(tx *DB) error {
		if err := tx.HoldFindings(ctx); err != nil {
			return err
		}
		// Nobody removes the manifest meanwhile, and counts what it held until then.
		var number int64
		if err := tx.write.NewRaw("SELECT registry_number FROM manifests WHERE id = ??", r.ManifestID, tx.forUpdate()).Scan(ctx, &number); err != nil {
			return notFound(err, "manifest")
		}
		return tx.countImage(ctx, number, r.ManifestID, r.Scanned, func() error { return tx.putResult(ctx, r.row(number, document), r) })
	})
}

func (db *DB) putResult(ctx context.Context, row scanResultRow, r NewResult) error {
	if _, err := db.write.NewRaw("DELETE FROM scan_results WHERE manifest_id = ?", r.ManifestID).Exec(ctx); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if _, err := db.write.NewInsert().Model(&row).Exec(ctx); err != nil {
		return conflict(err, "result of a scan")
	}
	if err := db.putImageLayers(ctx, row.RegistryNumber, r); err != nil {
		return err
	}
	return db.setImagePackages(ctx, row.RegistryNumber, r.ManifestID, r.Packages)
}

type imageLayerRow struct {
	bun.BaseModel `bun:"manifest_layers"`

	ManifestID     int64
	Position       int
	LayerNumber    int64
	RegistryNumber int64
}

type hiddenFileRow struct {
	bun.BaseModel `bun:"hidden_files"`

	ManifestID     int64
	Position       int
	Entry          int
	LayerNumber    int64
	RegistryNumber int64
}

// layerRows returns the layers of an image and what they hide, as they are kept.
func (r NewResult) layerRows(registryNumber int64) (layers []imageLayerRow, hidden []hiddenFileRow) {
	for i, n := range r.LayerNumbers {
		layers = append(layers, imageLayerRow{ManifestID: r.ManifestID, Position: i, LayerNumber: n, RegistryNumber: registryNumber})
	}
	for _, h := range r.Hidden {
		hidden = append(hidden, hiddenFileRow{
			ManifestID: r.ManifestID, Position: h.Position, Entry: h.Entry, LayerNumber: r.LayerNumbers[h.Position], RegistryNumber: registryNumber,
		})
	}
	return layers, hidden
}

// putImageLayers replaces the layers of an image, and what they hide.
func (db *DB) putImageLayers(ctx context.Context, registryNumber int64, r NewResult) error {
	for _, table := range []string{"manifest_layers", "hidden_files"} {
		if _, err := db.write.NewRaw("DELETE FROM ? WHERE manifest_id = ?", bun.Ident(table), r.ManifestID).Exec(ctx); err != nil {
			return fmt.Errorf("write layers of an image: %w", err)
		}
	}
	layers, hidden := r.layerRows(registryNumber)
	err := eachChunk(layers, func(chunk []imageLayerRow) error {
		_, err := db.write.NewInsert().Model(&chunk).Exec(ctx)
		return conflict(err, "layer of an image")
	})
	if err != nil {
		return err
	}
	return eachChunk(hidden, func(chunk []hiddenFileRow) error {
		_, err := db.write.NewInsert().Model(&chunk).Exec(ctx)
		return conflict(err, "hidden file of an image")
	})
}

// ResultSummary is what is known of the result of an image without reading it.
type ResultSummary struct {
	Complete   bool
	Extractors string
	Scanned    time.Time
}

// ResultSummary returns what is known of the result of an image, or NotFound.
func (db *DB) ResultSummary(ctx context.Context, manifestID int64) (ResultSummary, error) {
	var row scanResultRow
	err := db.read.NewRaw("SELECT complete, extractors, scanned FROM scan_results WHERE manifest_id = ?", manifestID).Scan(ctx, &row)
	return ResultSummary{row.Complete, row.Extractors, optionalTime(row.Scanned)}, notFound(err, "result of a scan")
}

// Result returns what is known of an image of one platform, or NotFound.
func (db *DB) Result(ctx context.Context, manifestID int64) (tidewaiter.ImageResult, error) {
	var row scanResultRow
	if err := db.read.NewSelect().Model(&row).Where("manifest_id = ?", manifestID).Scan(ctx); err != nil {
		return tidewaiter.ImageResult{}, notFound(err, "result of a scan")
	}
	d, err := decodeDocument(row.Document)
	if err != nil {
		return tidewaiter.ImageResult{}, err
	}
	r := tidewaiter.ImageResult{
		ManifestID: row.ManifestID, Complete: row.Complete, Code: row.FailedCode, Reason: row.Reason, Extractors: row.Extractors,
		Scanned: optionalTime(row.Scanned), System: d.System, Base: d.Base, EndOfLife: optionalTime(row.EndOfLife),
		Files: row.Files, FileBytes: row.FileBytes, LooseFiles: row.LooseFiles, Config: d.Config,
	}
	r.Layers = nouns(d.Layers, layerDocument.noun)
	for _, c := range d.Cuts {
		r.Cuts = append(r.Cuts, tidewaiter.ImageCut{Cut: tidewaiter.Cut{Path: c.Path, Code: c.Code, Reason: c.Reason}, Layer: c.Layer})
	}
	ids := make([]int64, 0, len(d.Packages))
	for _, p := range d.Packages {
		ids = append(ids, p.ID)
	}
	versions, err := db.PackageVersions(ctx, ids)
	if err != nil {
		return tidewaiter.ImageResult{}, err
	}
	for _, p := range d.Packages {
		v := versions[p.ID]
		r.Packages = append(r.Packages, tidewaiter.ImagePackage{
			ID: p.ID, Layer: p.Layer, Origin: p.Origin,
			Package: tidewaiter.Package{
				Ecosystem: v.Ecosystem, Name: v.Name, Version: v.Version, SourceName: v.SourceName, SourceVersion: v.SourceVersion,
				Architecture: v.Architecture, Type: v.Type, Namespace: v.Namespace, Licenses: p.Licenses, Path: p.Path, Inside: p.Inside, Extractor: p.Extractor,
			},
		})
	}
	return r, nil
}
