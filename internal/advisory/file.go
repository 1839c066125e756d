package advisory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/tidewaiter/tidewaiter"
)

// The buckets of an index.
const (
	bucketMeta         = "meta"
	bucketAdvisories   = "advisories"   // by id: head
	bucketTexts        = "texts"        // by id of the first: blocks of tails
	bucketPackages     = "packages"     // by the key of the package: entries
	bucketFingerprints = "fingerprints" // by the key of the package: what names its entries
	bucketAliases      = "aliases"      // alias, 0, id
	bucketThreats      = "threats"      // by CVE: what is known of its use
	bucketExploited    = "exploited"    // by CVE: since when; those that are
)

// tempPattern is how files are called until they are whole.
const tempPattern = ".advisories-*.tmp"

// Sweep removes what builders left behind in a folder whose processes were
// killed. Nobody may be building in it.
func Sweep(folder string) error {
	left, err := filepath.Glob(filepath.Join(folder, tempPattern))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove half an index: %w", err)
	}
	return nil
}

// FileName returns the name of the file of an index.
func FileName(d tidewaiter.Digest) string {
	return strings.ReplaceAll(string(d), ":", "-") + ".advisories"
}

// indexFile is the file of an index in the making. It is written front to back
// in the order of the keys, and always in the same steps, so that the same
// records give the same bytes.
type indexFile struct {
	folder, path string
	db           *bolt.DB
}

const (
	pageSize   = 4096
	batchBytes = 4 << 20
)

func newIndexFile(folder string) (*indexFile, error) {
	f, err := os.CreateTemp(folder, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("make an index: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("make an index: %w", err)
	}
	db, err := bolt.Open(f.Name(), 0o600, &bolt.Options{
		PageSize:       pageSize,
		NoSync:         true, // all at the end
		NoGrowSync:     true,
		NoFreelistSync: true, // nobody writes to it again
		FreelistType:   bolt.FreelistArrayType,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make an index: %w", err), os.Remove(f.Name()))
	}
	db.AllocSize = 1 << 20
	return &indexFile{folder: folder, path: f.Name(), db: db}, nil
}

// bucket begins a bucket. One is written at a time.
func (f *indexFile) bucket(name string) (*bucketWriter, error) {
	err := f.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte(name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write the index: %w", err)
	}
	return &bucketWriter{db: f.db, name: name}, nil
}

// bucketWriter writes a bucket in transactions of some megabytes, which are
// what memory holds.
type bucketWriter struct {
	db      *bolt.DB
	name    string
	tx      *bolt.Tx
	bucket  *bolt.Bucket
	pending int
}

func (w *bucketWriter) put(key, value []byte) error {
	if w.tx == nil {
		tx, err := w.db.Begin(true)
		if err != nil {
			return fmt.Errorf("write the index: %w", err)
		}
		w.tx, w.bucket, w.pending = tx, tx.Bucket([]byte(w.name)), 0
		w.bucket.FillPercent = 1
	}
	// bbolt keeps both until the transaction ends.
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	if err := w.bucket.Put(both[:len(key):len(key)], both[len(key):]); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	if w.pending += len(both) + 64; w.pending < batchBytes {
		return nil
	}
	return w.commit()
}

func (w *bucketWriter) commit() error {
	err := w.tx.Commit()
	w.tx = nil
	if err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	return nil
}

func (w *bucketWriter) close() error {
	if w.tx == nil {
		return nil
	}
	return w.commit()
}

// seal makes the file durable, and returns its digest.
func (f *indexFile) seal() (tidewaiter.Digest, int64, error) {
	err := f.db.Close()
	f.db = nil
	if err != nil {
		return "", 0, fmt.Errorf("close the index: %w", err)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return "", 0, fmt.Errorf("read the index: %w", err)
	}
	digest, size, err := hashFile(file)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", 0, fmt.Errorf("make the index durable: %w", err)
	}
	return digest, size, nil
}

// rename gives the file its name.
func (f *indexFile) rename(name string) (string, error) {
	path := filepath.Join(f.folder, name)
	if err := os.Chmod(f.path, 0o400); err != nil {
		return "", fmt.Errorf("name the index: %w", err)
	}
	if err := os.Rename(f.path, path); err != nil {
		return "", fmt.Errorf("name the index: %w", err)
	}
	f.path = ""
	folder, err := os.Open(f.folder)
	if err != nil {
		return "", fmt.Errorf("name the index: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return "", fmt.Errorf("name the index: %w", err)
	}
	return path, nil
}

// discard removes the file, unless it was renamed.
func (f *indexFile) discard() error {
	var errs []error
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	if f.path != "" {
		errs = append(errs, os.Remove(f.path))
	}
	return errors.Join(errs...)
}

func hashFile(f *os.File) (tidewaiter.Digest, int64, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	return tidewaiter.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), size, err
}
