package ospkg_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/adler32"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/extract"
	"github.com/tidewaiter/tidewaiter/internal/extract/ospkg"
)

// wantRPM is what rpm -qa says of the databases in testdata, which rpm 4.18 and
// libdb 5.3 made of packages built for this: with an epoch, with parts, and with a
// header that does not fit into a page.
var wantRPM = []string{
	"harbour 1:2.4.1-7.el9 x86_64 harbour 2.4.1-7.el9",
	"harbour-devel 2.4.1-7.el9 noarch harbour 2.4.1-7.el9",
	"harbour-libs 1:2.4.1-7.el9 x86_64 harbour 2.4.1-7.el9",
	"quay-data 20240101-1 noarch quay-data 20240101-1",
}

func TestRPM(t *testing.T) {
	for _, test := range []struct{ file, path string }{
		{"rpm/rpmdb.sqlite.gz", "usr/lib/sysimage/rpm/rpmdb.sqlite"},
		{"rpm/Packages.gz", "var/lib/rpm/Packages"},
		{"rpm/Packages.bigendian.gz", "var/lib/rpm/Packages"},
	} {
		t.Run(test.file, func(t *testing.T) {
			found, err := ospkg.RPM{}.Extract(context.Background(), input(test.path, unzipped(t, test.file)))
			if err != nil || len(found.Cuts) > 0 {
				t.Fatalf("Extract: %v, cuts %v", err, found.Cuts)
			}
			if diff := cmp.Diff(wantRPM, lines(found)); diff != "" {
				t.Errorf("rpm -qa (-), found (+):\n%s", diff)
			}
			want := []string{"MIT and (GPL-2.0-or-later OR Apache-2.0)"}
			if diff := cmp.Diff(want, found.Packages[0].Licenses); diff != "" {
				t.Errorf("licences: want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestNDB(t *testing.T) {
	db := ndb(t, header("zypper", "1.14.59", "150400.3", 0), header("bash", "4.4", "1", 2))
	found, err := ospkg.RPM{}.Extract(context.Background(), input("usr/lib/sysimage/rpm/Packages.db", db))
	if err != nil || len(found.Cuts) > 0 {
		t.Fatalf("Extract: %v, cuts %v", err, found.Cuts)
	}
	want := []string{"bash 2:4.4-1 x86_64 bash 4.4-1", "zypper 1.14.59-150400.3 x86_64 zypper 1.14.59-150400.3"}
	if diff := cmp.Diff(want, lines(found)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// TestRPMLog wants a cut for what SQLite has not yet written into the database.
func TestRPMLog(t *testing.T) {
	name := "var/lib/rpm/rpmdb.sqlite-wal"
	if (ospkg.RPM{}).Wants(name, 0o644, 0) {
		t.Error("an empty log is wanted")
	}
	if !(ospkg.RPM{}).Wants(name, 0o644, 4152) {
		t.Error("a log is not wanted")
	}
	found, err := ospkg.RPM{}.Extract(context.Background(), input(name, make([]byte, 4152)))
	if err != nil || len(found.Cuts) != 1 || found.Cuts[0].Code != extract.CutParse {
		t.Errorf("Extract: %v, cuts %v", err, found.Cuts)
	}
}

// TestRPMCorrupt damages each database: a part of what is in it may be found,
// and what is lost has to leave an error or a cut, or the file says nothing.
func TestRPMCorrupt(t *testing.T) {
	databases := map[string][]byte{
		"sqlite": unzipped(t, "rpm/rpmdb.sqlite.gz"),
		"bdb":    unzipped(t, "rpm/Packages.gz"),
		"ndb":    ndb(t, header("a", "1", "1", 0), header("b", "1", "1", 0)),
	}
	for name, db := range databases {
		t.Run(name, func(t *testing.T) {
			whole := len(rpmFound(t, db).Packages)
			for size := 0; size < len(db); size += 1 + len(db)/200 {
				found, err := ospkg.RPM{}.Extract(context.Background(), input("var/lib/rpm/Packages", db[:size]))
				if err == nil && len(found.Cuts) == 0 && len(found.Packages) != whole {
					t.Errorf("cut off at %d: %d packages, and no word of it", size, len(found.Packages))
				}
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				broken := bytes.Clone(db)
				for range 1 + random.IntN(8) {
					broken[random.IntN(len(broken))] = byte(random.UintN(256))
				}
				_, _ = ospkg.RPM{}.Extract(context.Background(), input("var/lib/rpm/Packages", broken))
			}
		})
	}
	for _, other := range [][]byte{nil, []byte("short"), make([]byte, 4096), bytes.Repeat([]byte{0xff}, 4096)} {
		if _, err := (ospkg.RPM{}).Extract(context.Background(), input("var/lib/rpm/Packages", other)); err == nil {
			t.Errorf("%d bytes of something else are read without an error", len(other))
		}
	}
}

func rpmFound(t *testing.T, db []byte) extract.Found {
	t.Helper()
	found, err := ospkg.RPM{}.Extract(context.Background(), input("var/lib/rpm/Packages", db))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSQLiteLoop has a page that is its own child.
func TestSQLiteLoop(t *testing.T) {
	db := make([]byte, 1024)
	copy(db, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(db[16:], 512)
	page := db[100:]
	page[0] = 5 // an interior page
	binary.BigEndian.PutUint32(page[8:], 1)
	if _, err := (ospkg.RPM{}).Extract(context.Background(), input("var/lib/rpm/rpmdb.sqlite", db)); err == nil {
		t.Error("a tree that contains itself is read without an error")
	}
}

// TestHeader damages the header of one package in a database: it leaves a cut,
// and the other package is found.
func TestHeader(t *testing.T) {
	good := header("good", "1", "1", 0)
	for name, damage := range map[string]func([]byte){
		"no name":              func(h []byte) { binary.BigEndian.PutUint32(h[8:], 9999) },
		"too many entries":     func(h []byte) { binary.BigEndian.PutUint32(h, 1<<31) },
		"too much data":        func(h []byte) { binary.BigEndian.PutUint32(h[4:], 1<<31) },
		"name outside":         func(h []byte) { binary.BigEndian.PutUint32(h[16:], 1<<31) },
		"text without an end":  func(h []byte) { h[len(h)-1] = 'x'; binary.BigEndian.PutUint32(h[16:], uint32(len(h)-8-6*16-1)) },
		"epoch of other types": func(h []byte) { binary.BigEndian.PutUint32(h[8+3*16+4:], 6) },
	} {
		bad := header("bad", "1", "1", 7)
		damage(bad)
		found := rpmFound(t, ndb(t, bad, good))
		if len(found.Packages) != 1 || found.Packages[0].Name != "good" || len(found.Cuts) != 1 {
			t.Errorf("%s: packages %v, cuts %v", name, lines(found), found.Cuts)
		}
	}
}

func TestSource(t *testing.T) {
	for file, want := range map[string][2]string{
		"bash-5.1.8-6.el9.src.rpm":          {"bash", "5.1.8-6.el9"},
		"a-b-c-1-2.nosrc.rpm":               {"a-b-c", "1-2"},
		"(none)":                            {},
		"bash.src.rpm":                      {},
		"bash-5.src.rpm":                    {},
		"bash-5.1.8-6.el9.x86_64.rpm":       {},
		"gcc-toolset-13-13.0-1.el9.src.rpm": {"gcc-toolset-13", "13.0-1.el9"},
	} {
		h := index([]entry{{tag: 1000, kind: 6, data: "a\x00"}, {tag: 1001, kind: 6, data: "1\x00"}, {tag: 1002, kind: 6, data: "1\x00"}, {tag: 1044, kind: 6, data: file + "\x00"}})
		found := rpmFound(t, ndb(t, h))
		want := tidewaiter.Package{SourceName: want[0], SourceVersion: want[1]}
		got := tidewaiter.Package{SourceName: found.Packages[0].SourceName, SourceVersion: found.Packages[0].SourceVersion}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", file, diff)
		}
	}
}

// entry is one of a header's index, with its data.
type entry struct {
	tag, kind uint32
	data      string
	count     uint32 // 0 stands for 1
}

// header returns one as rpm has it in its databases.
func header(name, version, release string, epoch uint32) []byte {
	number := binary.BigEndian.AppendUint32(nil, epoch)
	return index([]entry{
		{tag: 1000, kind: 6, data: name + "\x00"},
		{tag: 1001, kind: 6, data: version + "\x00"},
		{tag: 1002, kind: 6, data: release + "\x00"},
		{tag: 1003, kind: 4, data: string(number)},
		{tag: 1022, kind: 6, data: "x86_64\x00"},
		{tag: 1044, kind: 6, data: name + "-" + version + "-" + release + ".src.rpm\x00"},
	})
}

func index(entries []entry) []byte {
	var list, data []byte
	for _, e := range entries {
		list = binary.BigEndian.AppendUint32(list, e.tag)
		list = binary.BigEndian.AppendUint32(list, e.kind)
		list = binary.BigEndian.AppendUint32(list, uint32(len(data)))
		list = binary.BigEndian.AppendUint32(list, max(e.count, 1))
		data = append(data, e.data...)
	}
	h := binary.BigEndian.AppendUint32(nil, uint32(len(entries)))
	h = binary.BigEndian.AppendUint32(h, uint32(len(data)))
	return append(append(h, list...), data...)
}

// ndb writes a database of rpm's own format, as rpm on SUSE does, by its source.
func ndb(t testing.TB, headers ...[]byte) []byte {
	t.Helper()
	le := binary.LittleEndian
	slots := make([]byte, 4096)
	copy(slots, "RpmP")
	le.PutUint32(slots[8:], 1)  // generation
	le.PutUint32(slots[12:], 1) // pages of slots
	le.PutUint32(slots[16:], uint32(len(headers)+1))
	for i := 32; i < len(slots); i += 16 {
		copy(slots[i:], "Slot")
	}
	db := slots
	for i, h := range headers {
		number := uint32(i + 1)
		blob := le.AppendUint32(le.AppendUint32(le.AppendUint32([]byte("BlbS"), number), 1), uint32(len(h)))
		blob = append(blob, h...)
		for len(blob)%16 != 4 { // the tail ends at a block
			blob = append(blob, 0)
		}
		blob = le.AppendUint32(blob, adler32.Checksum(blob))
		blob = le.AppendUint32(blob, uint32(len(h)))
		blob = append(blob, "BlbE"...)
		slot := db[32+16*(i+1):] // one is left free
		le.PutUint32(slot[4:], number)
		le.PutUint32(slot[8:], uint32(len(db)/16))
		le.PutUint32(slot[12:], uint32(len(blob)/16))
		db = append(db, blob...)
	}
	return db
}
