package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter/internal/export"
)

// showImages prints images for people.
func showImages(w io.Writer, images []export.Image) error {
	for i := range images {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := showImage(w, &images[i]); err != nil {
			return err
		}
	}
	return nil
}

func showImage(w io.Writer, i *export.Image) error {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	for _, name := range i.Names {
		t.row("IMAGE", name)
	}
	if i.Digest != "" {
		t.row("DIGEST", i.Digest)
	}
	if i.ID != "" {
		t.row("ID", i.ID)
	}
	t.row("PLATFORM", i.Platform)
	if i.Problem != "" {
		t.row("STATUS", i.Status())
		return t.Flush()
	}
	system := "none found"
	if s := i.View.System; s.Path != "" {
		if system = s.Name; system == "" {
			system = s.ID + " " + s.VersionID
		}
	}
	t.row("SYSTEM", system)
	t.row("STATUS", fmt.Sprintf("%s, %d layers, %d packages", i.Status(), len(i.Facts), len(i.View.Packages)))
	if err := t.Flush(); err != nil {
		return err
	}

	brought := make(map[int]int)
	for _, p := range i.View.Packages {
		brought[p.Origin]++
	}
	fmt.Fprintln(w)
	t.row("LAYER", "SIZE", "PACKAGES", "BUILD STEP")
	for n := range i.Facts {
		t.row(n, size(i.Layers[n].Size), brought[n], step(i, n))
	}
	if err := t.Flush(); err != nil || len(i.View.Packages) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t.row("PACKAGE", "VERSION", "TYPE", "LAYER", "PATH", "BUILD STEP")
	for _, p := range i.View.Packages {
		t.row(p.Name, p.Version, p.Type, p.Origin, export.Location(p.Package), step(i, p.Origin))
	}
	return t.Flush()
}

// table writes rows of cells that come from others.
type table struct{ *tabwriter.Writer }

func (t *table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, printable(fmt.Sprint(cell)))
	}
	fmt.Fprintln(t)
}

func step(i *export.Image, layer int) string {
	s, ok := i.Step(layer)
	if !ok {
		return "not known"
	}
	return shortStep(s)
}

// size writes bytes for people.
func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if f < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f GiB", f)
}
