package ospkg

import (
	"bytes"
	"encoding/binary"

	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// The tags by which a header lists the files of a package: names, and for each
// the index of its folder. Old headers list whole paths.
const (
	tagOldFilenames = 1027
	tagDirIndexes   = 1116
	tagBasenames    = 1117
	tagDirnames     = 1118

	typeTexts = 8
)

// maxFolders is how many folders of one package are read. Those of TeX Live
// have some thousands.
const maxFolders = 1 << 18

// rpmFiles reads which files belong to a package. A header that is damaged
// there names fewer.
func rpmFiles(index, data []byte, owned *extract.Owned) {
	old := rpmValue(index, data, tagOldFilenames, typeTexts)
	for text, ok := cutText(&old); ok; text, ok = cutText(&old) {
		owned.File(text)
	}
	var folders []string
	rest := rpmValue(index, data, tagDirnames, typeTexts)
	for text, ok := cutText(&rest); ok && len(folders) < maxFolders; text, ok = cutText(&rest) {
		folders = append(folders, text)
	}
	names, indexes := rpmValue(index, data, tagBasenames, typeTexts), rpmValue(index, data, tagDirIndexes, typeInt32)
	for name, ok := cutText(&names); ok && len(indexes.data) >= 4; name, ok = cutText(&names) {
		folder := binary.BigEndian.Uint32(indexes.data)
		indexes.data = indexes.data[4:]
		if uint64(folder) < uint64(len(folders)) {
			owned.File(folders[folder] + name)
		}
	}
}

// An rpmValues is what a tag of a header holds.
type rpmValues struct {
	data  []byte // up to the end of all data, for texts say themselves where they end
	count uint32
}

// rpmValue returns what the first entry of the index for a tag holds.
func rpmValue(index, data []byte, tag, kind uint32) rpmValues {
	for ; len(index) >= rpmEntry; index = index[rpmEntry:] {
		offset, count := binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
		if binary.BigEndian.Uint32(index) != tag || binary.BigEndian.Uint32(index[4:]) != kind || uint64(offset) > uint64(len(data)) {
			continue
		}
		v := rpmValues{data[offset:], count}
		if kind == typeInt32 {
			v.data = v.data[:min(uint64(len(v.data)), 4*uint64(count))]
		}
		return v
	}
	return rpmValues{}
}

// cutText takes the next text.
func cutText(v *rpmValues) (string, bool) {
	text, rest, ok := bytes.Cut(v.data, []byte{0})
	if !ok || v.count == 0 {
		return "", false
	}
	v.data, v.count = rest, v.count-1
	return string(text[:min(len(text), maxTag)]), true
}
