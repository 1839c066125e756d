package ospkg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/parse"
)

// RPM reads rpm's database in its three formats: Berkeley DB (rpm before
// 4.16), ndb (SUSE) and SQLite. Whatever the container, a row is the header of
// a package. Where rpm has left changes in a write-ahead log beside a SQLite
// database, it says so with a cut: that file is not the whole.
//
// As rpm -qa does, it lists the public keys that were imported (gpg-pubkey).
type RPM struct{}

var _ extract.Extractor = RPM{}

// Name implements [extract.Extractor].
func (RPM) Name() string { return "os/rpm" }

// Version implements [extract.Extractor].
func (RPM) Version() int { return 2 }

// maxHeader is the largest header that is read. Those of kernel packages, which
// list thousands of files, have 2 to 3 MiB.
const maxHeader = 16 << 20

const rpmLog = "rpmdb.sqlite-wal"

// Wants implements [extract.Extractor].
func (RPM) Wants(name string, mode fs.FileMode, size int64) bool {
	if !mode.IsRegular() || size == 0 {
		return false
	}
	folder, base := path.Split(name)
	switch folder {
	case "var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/":
	default:
		return false
	}
	switch base {
	case "Packages", "Packages.db", "rpmdb.sqlite", rpmLog:
		return true
	}
	return false
}

// Extract implements [extract.Extractor].
func (e RPM) Extract(ctx context.Context, f extract.Input) (extract.Found, error) {
	list := parse.NewList(e.Name())
	if path.Base(f.Path) == rpmLog {
		list.Cut(extract.CutParse, "rpm was stopped before it wrote its log into the database: packages may be missing from it")
		return list.Found(), nil
	}
	headers, err := rpmHeaders(f)
	if err != nil {
		return extract.Found{}, err
	}
	broken := 0
	err = headers(func(header []byte) error {
		p, err := rpmPackage(header, list.Owned())
		switch {
		case err != nil:
			broken++
		case !list.Add(p):
			return errEnough
		}
		return ctx.Err()
	})
	if broken > 0 {
		list.Cut(extract.CutParse, fmt.Sprintf("%d headers in rpm's database could not be read", broken))
	}
	found := list.Found()
	slices.SortStableFunc(found.Packages, func(a, b tidewaiter.Package) int { return strings.Compare(a.Name, b.Name) })
	if err != nil && !errors.Is(err, errEnough) {
		return found, fmt.Errorf("read rpm's database: %w", err)
	}
	return found, nil
}

// errEnough ends the walk through a database.
var errEnough = errors.New("the list is full")

// headers calls visit with each header of a database. The slice is good until
// visit returns. An error of visit ends the walk.
type headers func(visit func(header []byte) error) error

// rpmHeaders tells the format of a database by its first bytes.
func rpmHeaders(f extract.Input) (headers, error) {
	first := make([]byte, 16)
	if _, err := f.ReadAt(first, 0); err != nil {
		return nil, fmt.Errorf("read rpm's database: %w", err)
	}
	switch {
	case string(first) == sqliteMagic:
		return sqliteHeaders(f, f.Size), nil
	case string(first[:4]) == ndbMagic:
		return ndbHeaders(f, f.Size), nil
	case binary.LittleEndian.Uint32(first[12:]) == bdbHashMagic:
		return bdbHeaders(f, f.Size, binary.LittleEndian), nil
	case binary.BigEndian.Uint32(first[12:]) == bdbHashMagic:
		return bdbHeaders(f, f.Size, binary.BigEndian), nil
	}
	return nil, errors.New("it is no database of rpm: neither Berkeley DB, nor ndb, nor SQLite")
}

// The tags and types of a header that are read
// (https://rpm-software-management.github.io/rpm/manual/tags.html).
const (
	tagName      = 1000
	tagVersion   = 1001
	tagRelease   = 1002
	tagEpoch     = 1003
	tagLicense   = 1014
	tagArch      = 1022
	tagSourceRPM = 1044

	typeInt32 = 4
)

const rpmEntry = 16 // bytes of an entry of a header's index

// rpmPackage reads a header as databases hold it: the number of entries of
// the index, the bytes of data, the index (tag, type, offset, count), the data;
// numbers are big-endian
// (https://rpm-software-management.github.io/rpm/manual/hregions.html).
func rpmPackage(header []byte, owned *extract.Owned) (tidewaiter.Package, error) {
	if len(header) < 8 {
		return tidewaiter.Package{}, errors.New("short header")
	}
	entries, size := int64(binary.BigEndian.Uint32(header)), int64(binary.BigEndian.Uint32(header[4:]))
	if entries*rpmEntry+size > int64(len(header)-8) {
		return tidewaiter.Package{}, errors.New("short header")
	}
	index, data := header[8:8+entries*rpmEntry], header[8+entries*rpmEntry:][:size]
	all, text := index, make(map[uint32]string)
	epoch := uint32(0)
	for ; len(index) > 0; index = index[rpmEntry:] {
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		offset := int64(binary.BigEndian.Uint32(index[8:]))
		switch tag {
		case tagEpoch:
			if kind != typeInt32 || offset+4 > size {
				return tidewaiter.Package{}, errors.New("epoch outside of the header")
			}
			epoch = binary.BigEndian.Uint32(data[offset:])
		case tagName, tagVersion, tagRelease, tagLicense, tagArch, tagSourceRPM:
			if offset >= size {
				return tidewaiter.Package{}, errors.New("text outside of the header")
			}
			value, _, ok := strings.Cut(string(data[offset:min(offset+maxTag, size)]), "\x00")
			if !ok && offset+maxTag > size {
				return tidewaiter.Package{}, errors.New("text without an end")
			}
			text[tag] = value
		}
	}
	p := tidewaiter.Package{
		Type:         "rpm",
		Name:         text[tagName],
		Version:      rpmVersion(epoch, text[tagVersion], text[tagRelease]),
		Architecture: text[tagArch],
		Licenses:     []string{text[tagLicense]},
	}
	if p.Name == "" || text[tagVersion] == "" {
		return p, errors.New("no name or version")
	}
	p.SourceName, p.SourceVersion = rpmSource(text[tagSourceRPM])
	rpmFiles(all, data, owned)
	return p, nil
}

// maxTag is more than any text that is kept may have: what is longer is
// refused, or left out if it is a licence.
const maxTag = 4096

// rpmVersion writes a version as rpm does: epoch:version-release, without an
// epoch of 0.
func rpmVersion(epoch uint32, version, release string) string {
	if release != "" {
		version += "-" + release
	}
	if epoch > 0 {
		version = strconv.FormatUint(uint64(epoch), 10) + ":" + version
	}
	return version
}

// rpmSource takes the name of a source package's file apart:
// bash-5.1.8-6.el9.src.rpm. It does not hold the epoch.
func rpmSource(file string) (name, version string) {
	base, ok := strings.CutSuffix(file, ".src.rpm")
	if !ok {
		base, ok = strings.CutSuffix(file, ".nosrc.rpm")
	}
	release := strings.LastIndexByte(base, '-')
	if !ok || release < 0 {
		return "", ""
	}
	dash := strings.LastIndexByte(base[:release], '-')
	if dash < 0 {
		return "", ""
	}
	return base[:dash], base[dash+1:]
}

// RPMManifest reads the list of packages that Azure Linux and CBL-Mariner keep
// in images without rpm: lines of ten fields, as
// rpm --qf "%{NAME}\t%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\t%{BUILDTIME}\t%{VENDOR}\t%{EPOCH}\t%{SIZE}\t%{ARCH}\t%{EPOCHNUM}\t%{SOURCERPM}\n"
// writes them.
type RPMManifest struct{}

var _ extract.Extractor = RPMManifest{}

// Name implements [extract.Extractor].
func (RPMManifest) Name() string { return "os/rpm-manifest" }

// Version implements [extract.Extractor].
func (RPMManifest) Version() int { return 1 }

const maxManifest = 8 << 20

// Wants implements [extract.Extractor].
func (RPMManifest) Wants(name string, mode fs.FileMode, size int64) bool {
	return mode.IsRegular() && size > 0 && name == "var/lib/rpmmanifest/container-manifest-2"
}

// Extract implements [extract.Extractor].
func (e RPMManifest) Extract(_ context.Context, f extract.Input) (extract.Found, error) {
	content, err := parse.All(f, maxManifest)
	if err != nil {
		return extract.Found{}, err
	}
	list := parse.NewList(e.Name())
	broken := 0
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(fields) == 1 && strings.TrimSpace(fields[0]) == "" {
			continue
		}
		if len(fields) != 10 {
			broken++
			continue
		}
		epoch, err := strconv.ParseUint(fields[8], 10, 32)
		if err != nil {
			broken++
			continue
		}
		p := tidewaiter.Package{
			Type:         "rpm",
			Name:         fields[0],
			Version:      rpmVersion(uint32(epoch), fields[1], ""),
			Architecture: fields[7],
		}
		p.SourceName, p.SourceVersion = rpmSource(fields[9])
		if !list.Add(p) {
			break
		}
	}
	if broken > 0 {
		list.Cut(extract.CutParse, fmt.Sprintf("%d lines of the manifest could not be read", broken))
	}
	return list.Found(), nil
}

// readAt fills b from an offset, all of it.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	if n, err := r.ReadAt(b, offset); n < len(b) {
		return fmt.Errorf("read %d bytes at %d: %w", len(b), offset, err)
	}
	return nil
}
