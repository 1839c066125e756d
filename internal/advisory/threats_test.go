package advisory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/advisory"
)

// TestThreats puts what two sources say together, whatever comes first, and
// finds it again.
func TestThreats(t *testing.T) {
	type said struct {
		cve string
		tidewaiter.Threat
	}
	var catalogue, scores []said
	want := make(map[string]tidewaiter.Threat)
	exploited := make(map[string]time.Time)
	for i := range 5000 {
		cve := fmt.Sprintf("CVE-2026-%d", 1000+i)
		x := tidewaiter.Threat{Probability: float64(i) / 5000, Percentile: float64(i+1) / 5000}
		scores = append(scores, said{cve, x})
		if i%10 == 0 {
			k := tidewaiter.Threat{Exploited: time.Unix(int64(1_700_000_000+i), 0).UTC(), Due: time.Unix(1_800_000_000, 0).UTC(), Ransomware: i%20 == 0}
			catalogue = append(catalogue, said{cve, k})
			x.Exploited, x.Due, x.Ransomware = k.Exploited, k.Due, k.Ransomware
			exploited[cve] = k.Exploited
		}
		want[cve] = x
	}
	var digests []tidewaiter.Digest
	for _, order := range [][][]said{{catalogue, scores}, {scores, catalogue}} {
		folder := t.TempDir()
		b := advisory.NewBuilder(folder)
		for _, list := range order {
			rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			for _, s := range list {
				if err := b.AddThreat(s.cve, s.Threat); err != nil {
					t.Fatal(err)
				}
			}
		}
		built, err := b.Finish(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, built.Digest)
		x, err := advisory.Open(filepath.Join(folder, advisory.FileName(built.Digest)), built.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if m := x.Meta(); m.Threats != 5000 || m.Exploited != 500 {
			t.Errorf("got %+v", m)
		}
		for cve, w := range want {
			got, known, err := x.Threat(cve)
			if err != nil || !known || !cmp.Equal(w, got) {
				t.Fatalf("%s: got %+v, %t, %v, want %+v", cve, got, known, err, w)
			}
		}
		if _, known, err := x.Threat("CVE-2026-9"); known || err != nil {
			t.Errorf("got %t, %v", known, err)
		}
		got, err := x.Exploited()
		if diff := cmp.Diff(exploited, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the same in another order is %s and %s", digests[0], digests[1])
	}
}
