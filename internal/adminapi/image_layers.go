package adminapi

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/feed"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

// contentsPermission is that of the contract's operations on what images hold.
func contentsPermission() permission {
	return permission{action: "hss:images:list", exempt: true}
}

func (s *server) registerImages() {
	gateway.Register(s.api, inProject("ListImageLayers", http.MethodGet, "/images/{image_id}/layers", contentsPermission(),
		"List the build steps and layers of an image, and what each brought"), s.listImageLayers)
	gateway.Register(s.api, inProject("ListImageChanges", http.MethodGet, "/images/{image_id}/changes", changesPermission(),
		"List what came and went in an image, and why, the last first"), s.listImageChanges)
}

// ImageByID names an image in the path.
type ImageByID struct {
	OfProject
	ImageID string `path:"image_id" maxLength:"128" doc:"As in ListRegistryImages of the contract: of an image, of an index, or of one of its platforms."`
}

func (i ImageByID) reference() tidewaiter.ImageReference {
	return tidewaiter.ImageReference{ImageID: i.ImageID}
}

// ImageBuild is how an image of one platform was made, on the wire.
type ImageBuild struct {
	Digest     string      `json:"digest"`
	Platform   string      `json:"platform"`
	System     string      `json:"system" doc:"Operating system; empty if there is none."`
	EndOfLife  string      `json:"end_of_life,omitempty" doc:"YYYY-MM-DD: when its support ends or has ended."`
	User       string      `json:"user" doc:"As whom it runs; empty is root."`
	Entrypoint []string    `json:"entrypoint" nullable:"false"`
	Command    []string    `json:"command" nullable:"false"`
	Ports      []string    `json:"ports" nullable:"false"`
	Steps      []ImageStep `json:"steps" nullable:"false" doc:"In order, the first at the bottom."`
}

// ImageStep is a build step, and the layer that it made if it made one.
type ImageStep struct {
	Command         string         `json:"command" doc:"Empty if the image's history does not tell. What looks like a secret in it is replaced."`
	Created         string         `json:"created,omitempty"`
	Layer           string         `json:"layer,omitempty" doc:"Digest, as in the registry; empty of a step that changed no file."`
	Size            int64          `json:"size" doc:"Bytes, compressed."`
	Packages        []LayerPackage `json:"packages" nullable:"false" doc:"That are there from this layer on, and still are in the image."`
	Vulnerabilities int            `json:"vulnerabilities" doc:"In these, that nobody has handled."`
	Problems        []string       `json:"problems" nullable:"false" doc:"What in the layer was not looked into, and why."`
}

// LayerPackage is a package that a layer brought.
type LayerPackage struct {
	Name            string `json:"name"`
	Version         string `json:"version"`
	Type            string `json:"type" doc:"Of its package URL."`
	Path            string `json:"path" doc:"Of what says that it is there."`
	Vulnerabilities int    `json:"vulnerabilities" doc:"That nobody has handled."`
}

func (s *server) listImageLayers(ctx context.Context, in *struct{ ImageByID }) (*listOutput[ImageBuild], error) {
	e, err := s.extent(ctx, contentsPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	builds, err := s.inventory.Builds(ctx, e, in.reference())
	if err != nil {
		return nil, err
	}
	out := make([]ImageBuild, 0, len(builds))
	for _, b := range builds {
		found, _, err := s.findings.OfImage(ctx, []int64{b.ManifestID}, store.FindingFilter{}, store.Page{Limit: 1 << 30})
		if err != nil {
			return nil, err
		}
		open := make(map[int64]int) // by version of a package
		for _, f := range found {
			if f.Handled == nil {
				open[f.Package.ID]++
			}
		}
		out = append(out, wireBuild(b, open))
	}
	return list(out, func(b ImageBuild) ImageBuild { return b }), nil
}

func wireBuild(b inventory.Build, open map[int64]int) ImageBuild {
	w := ImageBuild{
		Steps:  []ImageStep{},
		Digest: string(b.Digest), Platform: b.Platform.String(), System: b.System.Name, User: b.Config.User,
		Entrypoint: texts(b.Config.Entrypoint), Command: texts(b.Config.Command), Ports: texts(b.Config.Ports),
	}
	if !b.EndOfLife.IsZero() {
		w.EndOfLife = b.EndOfLife.Format("2006-01-02")
	}
	stepOf := make([]int, len(b.Layers)) // of a layer, in w.Steps
	step := func(command, created string) int {
		w.Steps = append(w.Steps, ImageStep{Command: command, Created: created, Packages: []LayerPackage{}, Problems: []string{}})
		return len(w.Steps) - 1
	}
	for _, s := range b.Config.Steps {
		step(s.Command, optionalTime(s.Created))
	}
	for i, l := range b.Layers {
		if l.Step < 0 || l.Step >= len(b.Config.Steps) {
			stepOf[i] = step("", "")
		} else {
			stepOf[i] = l.Step
		}
		w.Steps[stepOf[i]].Layer, w.Steps[stepOf[i]].Size = string(l.Digest), l.Size
	}
	for _, p := range b.Packages {
		if p.Origin < 0 || p.Origin >= len(stepOf) {
			continue
		}
		s := &w.Steps[stepOf[p.Origin]]
		n := open[p.ID]
		s.Vulnerabilities += n
		s.Packages = append(s.Packages, LayerPackage{Name: p.Name, Version: p.Version, Type: p.Type, Path: p.Path, Vulnerabilities: n})
	}
	for _, c := range b.Cuts {
		if c.Layer >= 0 && c.Layer < len(stepOf) {
			s := &w.Steps[stepOf[c.Layer]]
			text := c.Reason
			if c.Path != "" {
				text = c.Path + ": " + c.Reason
			}
			s.Problems = append(s.Problems, text)
		}
	}
	return w
}

func (s *server) listImageChanges(ctx context.Context, in *struct {
	ImageByID
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20"`
}) (*listOutput[feed.Event], error) {
	e, err := s.extent(ctx, changesPermission(), in.ProjectID)
	if err != nil {
		return nil, err
	}
	manifests, err := s.inventory.KnownImages(ctx, e, in.reference())
	if err != nil {
		return nil, err
	}
	found, err := s.feed.OfImages(ctx, manifests, in.Limit)
	if err != nil {
		return nil, err
	}
	return list(found, func(e feed.Event) feed.Event { return e }), nil
}
