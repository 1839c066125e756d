package advisory

import (
	"bytes"
	"errors"
	"iter"
	"strings"

	bolt "go.etcd.io/bbolt"
)

const fingerprintSize = 16

// PackageKey names a package as advisories do: the ecosystem, with the release
// of a distribution, and the name, both less what makes no difference.
type PackageKey struct{ Ecosystem, Name string }

// Changed gives the packages about which two indexes say different things that
// matter to matches, in order: those with new advisories, changed ones, and
// fewer. It takes time in proportion to the packages, not to the advisories.
// After an error there is nothing more. A nil index has nothing.
func Changed(older, newer *Index) iter.Seq2[PackageKey, error] {
	return func(yield func(PackageKey, error) bool) {
		stopped := errors.New("stopped")
		err := older.fingerprints(func(a *bolt.Cursor) error {
			return newer.fingerprints(func(b *bolt.Cursor) error {
				keyA, sumA := first(a)
				keyB, sumB := first(b)
				for keyA != nil || keyB != nil {
					order := bytes.Compare(keyA, keyB)
					switch {
					case keyA == nil:
						order = +1
					case keyB == nil:
						order = -1
					}
					key := keyA
					if order > 0 {
						key = keyB
					}
					if order != 0 || !bytes.Equal(sumA, sumB) {
						ecosystem, name, _ := strings.Cut(string(key), keySeparator)
						if !yield(PackageKey{ecosystem, name}, nil) {
							return stopped
						}
					}
					if order <= 0 {
						keyA, sumA = a.Next()
					}
					if order >= 0 {
						keyB, sumB = b.Next()
					}
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(PackageKey{}, err)
		}
	}
}

func first(c *bolt.Cursor) (key, value []byte) {
	if c == nil {
		return nil, nil
	}
	return c.First()
}

// fingerprints reads what names the entries of each package.
func (x *Index) fingerprints(read func(*bolt.Cursor) error) error {
	if x == nil {
		return read(nil)
	}
	return x.view(func(tx *bolt.Tx) error { return read(tx.Bucket([]byte(bucketFingerprints)).Cursor()) })
}
