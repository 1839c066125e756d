package advisory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/tidewaiter/tidewaiter"
)

// scale is in what parts probabilities are kept.
const scale = 1_000_000

// AddThreat takes what one source says of the use of a vulnerability. What
// several say of one is put together; of two that say the same the later counts.
func (b *Builder) AddThreat(cve string, t tidewaiter.Threat) error {
	e := b.record[:0]
	e.time(t.Exploited)
	e.time(t.Due)
	e.byte(map[bool]byte{true: 1}[t.Ransomware])
	e.number(uint64(math.Round(min(max(t.Probability, 0), 1) * scale)))
	e.number(uint64(math.Round(min(max(t.Percentile, 0), 1) * scale)))
	b.record = e[:0]
	b.threatsAdded++
	return b.threats.add(binary.BigEndian.AppendUint64(append([]byte(cve), 0), b.threatsAdded), e)
}

func readThreat(d *decoder) tidewaiter.Threat {
	return tidewaiter.Threat{
		Exploited: d.time(), Due: d.time(), Ransomware: d.byte() == 1, Probability: float64(d.number()) / scale, Percentile: float64(d.number()) / scale,
	}
}

// writeThreats writes what is known of the use of vulnerabilities, and once more
// those that are exploited.
func (c *compiler) writeThreats() error {
	w, err := c.file.bucket(bucketThreats)
	if err != nil {
		return err
	}
	var last []byte
	var now tidewaiter.Threat
	var record encoder
	exploited := make(map[string]time.Time)
	var order []string
	flush := func() error {
		if last == nil {
			return nil
		}
		c.meta.Threats++
		if !now.Exploited.IsZero() {
			exploited[string(last)] = now.Exploited
			order = append(order, string(last))
		}
		record = record[:0]
		record.time(now.Exploited)
		record.time(now.Due)
		record.byte(map[bool]byte{true: 1}[now.Ransomware])
		record.number(uint64(math.Round(now.Probability * scale)))
		record.number(uint64(math.Round(now.Percentile * scale)))
		return w.put(last, record)
	}
	err = c.threats.each(func(key, value []byte) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		cve := key[:len(key)-9]
		if !bytes.Equal(cve, last) {
			if err := flush(); err != nil {
				return err
			}
			last, now = append(last[:0], cve...), tidewaiter.Threat{}
		}
		d := decoder{rest: value}
		t := readThreat(&d)
		if !t.Exploited.IsZero() {
			now.Exploited, now.Due, now.Ransomware = t.Exploited, t.Due, t.Ransomware
		}
		if t.Probability > 0 || t.Percentile > 0 {
			now.Probability, now.Percentile = t.Probability, t.Percentile
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err = errors.Join(err, w.close()); err != nil {
		return err
	}
	c.meta.Exploited = len(order)
	x, err := c.file.bucket(bucketExploited)
	if err != nil {
		return err
	}
	for _, cve := range order {
		record = record[:0]
		record.time(exploited[cve])
		if err := x.put([]byte(cve), record); err != nil {
			return errors.Join(err, x.close())
		}
	}
	return x.close()
}

// Threat returns what is known of the use of a vulnerability, and whether
// anything is.
func (x *Index) Threat(cve string) (t tidewaiter.Threat, known bool, err error) {
	err = x.view(func(tx *bolt.Tx) error {
		value := tx.Bucket([]byte(bucketThreats)).Get([]byte(cve))
		if value == nil {
			return nil
		}
		d := decoder{rest: value}
		t, known = readThreat(&d), true
		if d.bad {
			return errors.New("what is known of a vulnerability cannot be read")
		}
		return nil
	})
	return t, known, err
}

// Exploited returns the vulnerabilities that are known to be exploited, and
// since when.
func (x *Index) Exploited() (map[string]time.Time, error) {
	found := make(map[string]time.Time, x.meta.Exploited)
	return found, x.view(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketExploited)).ForEach(func(cve, value []byte) error {
			d := decoder{rest: value}
			found[string(cve)] = d.time()
			if d.bad {
				return errors.New("what is known of a vulnerability cannot be read")
			}
			return nil
		})
	})
}
