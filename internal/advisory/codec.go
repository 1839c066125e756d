package advisory

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// encoder writes what stands in an index: numbers of variable length, and
// texts after their length.
type encoder []byte

func (e *encoder) number(n uint64) { *e = binary.AppendUvarint(*e, n) }
func (e *encoder) byte(b byte)     { *e = append(*e, b) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) bytes(b []byte) {
	e.number(uint64(len(b)))
	*e = append(*e, b...)
}

func (e *encoder) texts(list []string) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.text(s)
	}
}

// time writes whole seconds. The zero time is 0.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.number(0)
		return
	}
	e.number(uint64(max(t.Unix(), 0)) + 1)
}

func (e *encoder) severity(s tidewaiter.Severity) {
	e.text(s.Method)
	e.text(s.Vector)
	e.number(uint64(math.Round(s.Score * 10)))
	e.text(string(s.Level))
	e.text(s.Source)
}

func (e *encoder) severities(list []tidewaiter.Severity) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.severity(s)
	}
}

// decoder reads what an encoder wrote. Once something is wrong, bad is true,
// and all that is read is empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) fail() { d.rest, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// bytes returns bytes within the index: they are gone with the transaction.
func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes()) }

// count returns how many things come next: no more than there are bytes.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) texts() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.text())
	}
	return list
}

func (d *decoder) time() time.Time {
	n := d.number()
	if n == 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(n)-1, 0).UTC()
}

func (d *decoder) severity() tidewaiter.Severity {
	return tidewaiter.Severity{
		Method: known(d.bytes()),
		Vector: d.text(),
		Score:  float64(min(d.number(), 100)) / 10,
		Level:  tidewaiter.SeverityLevel(known(d.bytes())),
		Source: d.text(),
	}
}

// known returns a text, and takes no memory for those that come often.
func known(b []byte) string {
	for _, s := range [...]string{
		"", "0", "CVSS_V3", "CVSS_V4", "CVSS_V2",
		string(tidewaiter.CriticalSeverity), string(tidewaiter.HighSeverity), string(tidewaiter.MediumSeverity), string(tidewaiter.LowSeverity), string(tidewaiter.NoSeverity),
	} {
		if s == string(b) {
			return s
		}
	}
	return string(b)
}

func (d *decoder) severities() []tidewaiter.Severity {
	var list []tidewaiter.Severity
	for range d.count() {
		list = append(list, d.severity())
	}
	return list
}
