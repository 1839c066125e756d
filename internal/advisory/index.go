package advisory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory/version"
)

// Index is a file of advisories, open for reading by any number of goroutines.
type Index struct {
	db       *bolt.DB
	meta     Meta
	digest   tidewaiter.Digest
	unpacker *zstd.Decoder
	stale    bool // its keys were made by other rules, and are made anew as they are read
}

// Open opens an index, after it has read all of it and compared its digest.
// Errors are of kind [tidewaiter.NotFound], and [tidewaiter.Conflict] for a file
// that is something else than it should be.
func Open(path string, digest tidewaiter.Digest) (*Index, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no index of advisories of that name")
	}
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	got, _, err := hashFile(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the index: %w", err), f.Close())
	}
	if got != digest {
		return nil, errors.Join(tidewaiter.Errorf(tidewaiter.Conflict, "the index of advisories is damaged: its bytes do not have its digest; import the advisories again"), f.Close())
	}
	x := &Index{digest: digest}
	if err := x.open(path, f); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// open opens the very file that was verified.
func (x *Index) open(path string, f *os.File) (err error) {
	x.db, err = bolt.Open(path, 0o400, &bolt.Options{
		ReadOnly: true,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return tidewaiter.Wrap(tidewaiter.Conflict, err, "this is no index of advisories")
	}
	x.unpacker, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return err
	}
	return x.view(func(tx *bolt.Tx) error {
		for _, name := range []string{bucketMeta, bucketAdvisories, bucketTexts, bucketPackages, bucketFingerprints, bucketAliases, bucketThreats, bucketExploited} {
			if tx.Bucket([]byte(name)) == nil {
				return tidewaiter.Errorf(tidewaiter.Conflict, "this is no index of advisories")
			}
		}
		if err := json.Unmarshal(tx.Bucket([]byte(bucketMeta)).Get([]byte(bucketMeta)), &x.meta); err != nil {
			return tidewaiter.Wrap(tidewaiter.Conflict, err, "this is no index of advisories")
		}
		if x.meta.Format != format {
			return tidewaiter.Errorf(tidewaiter.Conflict, "the index of advisories has format %d, and this program reads %d; import the advisories again", x.meta.Format, format)
		}
		x.stale = x.meta.Orders != version.Revision
		return nil
	})
}

// Close closes the index.
func (x *Index) Close() error {
	if x.unpacker != nil {
		x.unpacker.Close()
	}
	if x.db == nil {
		return nil
	}
	return x.db.Close()
}

// Meta says what is in the index. It is not to be changed.
func (x *Index) Meta() Meta { return x.meta }

// Digest names the file.
func (x *Index) Digest() tidewaiter.Digest { return x.digest }

// view reads. The file is mapped into memory and was whole when it was opened:
// where the disk fails afterwards, that is an error and not the end of the process.
func (x *Index) view(read func(tx *bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := x.db.Begin(false)
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read the index: it is damaged: %v", r)
		}
		err = errors.Join(err, tx.Rollback())
	}()
	return read(tx)
}

// Advisory returns an advisory, without the packages that it is about. Errors
// are of kind [tidewaiter.NotFound].
func (x *Index) Advisory(id string) (a tidewaiter.Advisory, err error) {
	err = x.view(func(tx *bolt.Tx) error {
		a, err = readAdvisory(tx, id, x.unpacker)
		return err
	})
	return a, err
}

// About returns the ids of the advisories that name another as an alias or as
// the vulnerability upstream: those of distributions about a CVE.
func (x *Index) About(name string) (ids []string, err error) {
	prefix := aliasKey(name, nil)
	err = x.view(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucketAliases)).Cursor()
		for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
			ids = append(ids, string(key[len(prefix):]))
		}
		return nil
	})
	return ids, err
}

func aliasKey(name string, id []byte) []byte {
	return append(append([]byte(name), 0), id...)
}

// verify reads what matches need, and counts.
func (x *Index) verify(ctx context.Context) error {
	var found Meta
	var c content
	err := x.view(func(tx *bolt.Tx) error {
		if err := tx.Bucket([]byte(bucketAdvisories)).ForEach(func(_, record []byte) error {
			found.Advisories++
			d := decoder{rest: record}
			if readHead(&d); d.bad || len(d.rest) > 0 {
				return errors.New("an advisory cannot be read")
			}
			return ctx.Err()
		}); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketPackages)).ForEach(func(key, value []byte) error {
			found.Packages++
			d := decoder{rest: value}
			for len(d.rest) > 0 {
				found.Entries++
				e := readEntry(&d)
				if c.read(&e.rest); d.bad || e.rest.bad || len(e.rest.rest) > 0 {
					return fmt.Errorf("entries of package %.100q cannot be read", key)
				}
			}
			return ctx.Err()
		})
	})
	if err == nil && (found.Advisories != x.meta.Advisories || found.Packages != x.meta.Packages || found.Entries != x.meta.Entries) {
		err = fmt.Errorf("it has %d advisories, %d packages and %d entries of %d, %d and %d",
			found.Advisories, found.Packages, found.Entries, x.meta.Advisories, x.meta.Packages, x.meta.Entries)
	}
	return err
}
