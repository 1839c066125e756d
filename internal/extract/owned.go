package extract

import (
	"path"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// NoteOwned says that more files may belong to packages than are marked.
const NoteOwned = "packages list more files than are kept in mind: files of theirs may look as if they belonged to none"

// maxOwned is how many paths one file may name.
const maxOwned = 1_000_000

// Owned are paths of files that belong to packages. What begins with a slash
// is meant from the root of the image, all else from the folder of the file
// that says so. The zero value is empty.
//
// Only hashes are kept, of 64 bits: an image can list half a million paths.
type Owned struct {
	files   []ownedPath
	folders []ownedPath
	more    bool // there was no room for all
}

// An ownedPath is a path, relative to the folder that is up folders above that
// of the file that names it.
type ownedPath struct {
	hash pathHash
	up   uint16 // fromRoot: relative to the root
	down uint16 // names in the path
}

const fromRoot = 1<<16 - 1

// File adds a file, or a folder itself.
func (o *Owned) File(name string) { o.add(&o.files, name) }

// Folder adds a folder and what is in it. What is in a folder node_modules in
// there is not: it belongs to other packages, if to any. The root is no such folder.
func (o *Owned) Folder(name string) { o.add(&o.folders, name) }

// Len is the number of paths.
func (o *Owned) Len() int { return len(o.files) + len(o.folders) }

// Equal tells whether two are the same.
func (o Owned) Equal(other Owned) bool {
	return o.more == other.more && slices.Equal(o.files, other.files) && slices.Equal(o.folders, other.folders)
}

func (o *Owned) add(list *[]ownedPath, name string) {
	if o.Len() >= maxOwned {
		o.more = true
		return
	}
	if p, ok := hashOwned(name); ok {
		*list = append(*list, p)
	}
}

// limit drops what is more than there is room for, and returns how many are left.
func (o *Owned) limit(room int) int {
	if o.Len() > room {
		o.more = true
		o.files = o.files[:min(len(o.files), room)]
		o.folders = o.folders[:min(len(o.folders), room-len(o.files))]
	}
	o.files, o.folders = slices.Clone(o.files), slices.Clone(o.folders)
	return o.Len()
}

// A pathHash is a hash of a path, made of those of its names so that the hash of
// a path in a folder follows from that of the folder. Whoever wants two to be
// the same gains nothing: a layer may say of any file that it belongs to a package.
type pathHash uint64

const pathFactor = 0x9e3779b97f4a7c15 // odd

// in returns the hash of the path h in a folder; h has n names.
func (h pathHash) in(folder pathHash, n int) pathHash {
	for factor := pathHash(pathFactor); n > 0; n >>= 1 {
		if n&1 == 1 {
			folder *= factor
		}
		factor *= factor
	}
	return folder + h
}

// hashName is FNV-1a, and then mixed.
func hashName(name string) pathHash {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return pathHash(h ^ h>>31)
}

// hashOwned reads a path as a package names it, clean or not.
func hashOwned(name string) (p ownedPath, ok bool) {
	if len(name) > fromRoot/2 {
		return p, false
	}
	if strings.HasPrefix(name, "/") {
		p.up = fromRoot
	}
	for rest := name; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch {
		case part == "" || part == ".":
		case part != "..":
			p.hash = hashName(part).in(p.hash, 1)
			p.down++
		case p.down > 0:
			return hashOwned(path.Clean(name))
		case p.up != fromRoot:
			p.up++
		}
	}
	return p, true
}

// A ownedSet is what all the packages of a layer say is theirs.
type ownedSet struct {
	files, folders []pathHash
	room           int
	more           bool // there was no room for all
}

// add adds what a file with the given path says; found tells whether it is
// itself that of a package. A list that many hard links repeat takes room for each.
func (s *ownedSet) add(file string, o *Owned, found bool) {
	if s.more = s.more || o.more; s.room <= 0 {
		s.more = s.more || found || o.Len() > 0
		return
	}
	above := make([]pathHash, 1, 16) // the root, and each folder down to that of the file
	names := 0
	for rest := file; rest != ""; names++ {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		above = append(above, hashName(part).in(above[names], 1))
	}
	if found {
		s.room--
		s.files = append(s.files, above[names])
	}
	above = above[:max(names, 1)]
	for _, l := range []struct {
		from []ownedPath
		to   *[]pathHash
	}{{o.files, &s.files}, {o.folders, &s.folders}} {
		for _, p := range l.from {
			if s.room--; s.room < 0 {
				s.more = true
				return
			}
			folder := 0
			if p.up != fromRoot {
				if folder = len(above) - 1 - int(p.up); folder < 0 {
					continue // out of the image
				}
			}
			if folder+int(p.down) > 0 {
				*l.to = append(*l.to, p.hash.in(above[folder], int(p.down)))
			}
		}
	}
}

// mark marks the files that are in the set.
func (s *ownedSet) mark(files []tidewaiter.File) {
	if len(s.files)+len(s.folders) == 0 {
		return
	}
	slices.Sort(s.files)
	slices.Sort(s.folders)
	for i := range files {
		files[i].Owned = s.owns(files[i].Path)
	}
}

// owns tells whether a path is in the set, by its own name or by the one that it
// has where /bin is a link to /usr/bin, and likewise the folders of libraries.
func (s *ownedSet) owns(file string) bool {
	if s.has(0, file, false) {
		return true
	}
	if below, ok := strings.CutPrefix(file, "usr/"); ok {
		return isMerged(below) && s.has(0, below, false)
	}
	usr := hashName("usr")
	return isMerged(file) && s.has(usr, file, contains(s.folders, usr))
}

// has tells whether a path beneath a folder is in the set. within says that it
// is if nothing says otherwise.
func (s *ownedSet) has(at pathHash, rest string, within bool) bool {
	for {
		part, below, more := strings.Cut(rest, "/")
		if at = hashName(part).in(at, 1); !more {
			break
		}
		if part == "node_modules" {
			within = false
		}
		within = within || contains(s.folders, at)
		rest = below
	}
	return within || contains(s.files, at) || contains(s.folders, at)
}

func contains(sorted []pathHash, h pathHash) bool {
	_, ok := slices.BinarySearch(sorted, h)
	return ok
}

// isMerged tells whether a path lies in one of the folders that may be links
// into usr, or is one.
func isMerged(file string) bool {
	top, _, _ := strings.Cut(file, "/")
	switch top {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return true
	}
	return false
}
