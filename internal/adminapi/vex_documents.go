package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/vex"
)

// vexPermission is that of the contract's operations on exceptions.
func vexPermission(verb string) permission {
	return permission{action: "hss:imageVuls:" + verb, whole: true}
}

// attachedPermission is vexPermission for the images of one registry.
func attachedPermission(verb string) permission {
	return permission{action: "hss:imageVuls:" + verb}
}

func (s *server) registerVEXDocuments() {
	gateway.Register(s.api, inProject("ListVEXDocuments", http.MethodGet, "/vex-documents", vexPermission("list"),
		"List the VEX documents whose statements are exceptions"), s.listVEXDocuments)
	apply := inProject("ApplyVEXDocument", http.MethodPost, "/vex-documents", vexPermission("operate"),
		"Take what a VEX document says as exceptions, in the place of what it said before")
	apply.Status = http.StatusOK
	gateway.Register(s.api, apply, s.applyVEXDocument)
	gateway.Register(s.api, inProject("RemoveVEXDocument", http.MethodDelete, "/vex-documents", vexPermission("operate"),
		"Remove the exceptions of a VEX document"), s.removeVEXDocument)
	gateway.Register(s.api, inProject("ListAttachedVEXDocuments", http.MethodGet, "/registries/{id}/attached-vex", attachedPermission("list"),
		"List the VEX documents that are attached to the images of a registry"), s.listAttachedVEX)
}

// OfEnterpriseProject narrows what a request is about to the images of one
// enterprise project.
type OfEnterpriseProject struct {
	EnterpriseProjectID string `query:"enterprise_project_id" maxLength:"64" doc:"Whose images the document is about; without it, all of the project."`
}

// documents returns the extent of documents.
func (s *server) documents(ctx context.Context, verb string, in OfProject, of OfEnterpriseProject) (tidewaiter.Extent, error) {
	project, err := s.project(ctx, vexPermission(verb), in.ProjectID)
	e := tidewaiter.Extent{ProjectID: project, All: of.EnterpriseProjectID == ""}
	if !e.All {
		e.EnterpriseProjects = []string{of.EnterpriseProjectID}
	}
	return e, err
}

// VEXDocument is a document on the wire.
type VEXDocument struct {
	ID              string `json:"id"`
	Author          string `json:"author"`
	Exceptions      int    `json:"exceptions"`
	Vulnerabilities int    `json:"vulnerabilities"`
	Applied         string `json:"applied"`
	Expires         string `json:"expires,omitempty"`
}

func (s *server) listVEXDocuments(ctx context.Context, in *struct {
	OfProject
	OfEnterpriseProject
}) (*listOutput[VEXDocument], error) {
	e, err := s.documents(ctx, "list", in.OfProject, in.OfEnterpriseProject)
	if err != nil {
		return nil, err
	}
	found, err := s.findings.VEXDocuments(ctx, e)
	if err != nil {
		return nil, err
	}
	return list(found, func(d store.ExceptionSource) VEXDocument {
		return VEXDocument{d.Source, d.Author, d.Exceptions, d.Vulnerabilities, wireTime(d.Created), optionalTime(d.Expires)}
	}), nil
}

// AppliedVEX is what a document has come to, on the wire.
type AppliedVEX struct {
	ID            string   `json:"id"`
	Statements    int      `json:"statements" doc:"That count: the last one about each vulnerability and product."`
	Handled       int      `json:"handled" doc:"Of which say not_affected or fixed."`
	Exceptions    int      `json:"exceptions" doc:"That were made of these."`
	UnknownImages []string `json:"unknown_images" nullable:"false" doc:"Digests of images that are not in the inventory: what the document says of them has no effect; apply it again when they are."`
}

func (s *server) applyVEXDocument(ctx context.Context, in *struct {
	OfProject
	OfEnterpriseProject
	Expires string `query:"expires" maxLength:"40" doc:"Until when the exceptions hold: RFC 3339; without it, until they are removed."`
	Body    any
	RawBody []byte
}) (*output[AppliedVEX], error) {
	e, err := s.documents(ctx, "operate", in.OfProject, in.OfEnterpriseProject)
	if err != nil {
		return nil, err
	}
	var expires time.Time
	if in.Expires != "" {
		if expires, err = time.Parse(time.RFC3339, in.Expires); err != nil {
			return nil, tidewaiter.InvalidField("expires", "it is no time; write it as 2027-01-31T00:00:00Z")
		}
	}
	document, err := vex.Read(in.RawBody)
	if err != nil {
		return nil, err
	}
	done, err := s.findings.ApplyVEX(ctx, e, document, expires)
	if err != nil {
		return nil, err
	}
	out := AppliedVEX{ID: done.Source, Statements: done.Statements, Handled: done.Handled, Exceptions: done.Exceptions, UnknownImages: []string{}}
	for _, d := range done.Unknown {
		out.UnknownImages = append(out.UnknownImages, string(d))
	}
	return one(out), nil
}

func (s *server) removeVEXDocument(ctx context.Context, in *struct {
	OfProject
	OfEnterpriseProject
	ID string `query:"id" required:"true" minLength:"1" maxLength:"4096" doc:"Of the document."`
}) (*struct{}, error) {
	e, err := s.documents(ctx, "operate", in.OfProject, in.OfEnterpriseProject)
	if err != nil {
		return nil, err
	}
	return nil, s.findings.RemoveVEX(ctx, e, in.ID)
}

// AttachedVEXDocument is a document that is attached to an image, on the wire.
type AttachedVEXDocument struct {
	Image      string `json:"image" doc:"Digest of the image, or of the index."`
	Document   string `json:"document" doc:"Digest of the document."`
	MediaType  string `json:"media_type"`
	ID         string `json:"id,omitempty" doc:"Which the document gives itself."`
	Author     string `json:"author,omitempty" doc:"As the document says; signatures are not checked."`
	Statements int    `json:"statements" doc:"About this image that count, of all documents attached to it."`
	Exceptions int    `json:"exceptions" doc:"That were made of those that say not_affected or fixed."`
	Problem    string `json:"problem,omitempty" doc:"Why nothing of it counts."`
	Seen       string `json:"seen"`
}

func (s *server) listAttachedVEX(ctx context.Context, in *struct {
	RegistryByID
	Offset int `query:"offset" minimum:"0" maximum:"2000000" default:"0"`
	Limit  int `query:"limit" minimum:"1" maximum:"200" default:"100"`
}) (*listOutput[AttachedVEXDocument], error) {
	e, err := s.extent(ctx, attachedPermission("list"), in.ProjectID)
	if err != nil {
		return nil, err
	}
	r, err := s.inventory.Registry(ctx, e, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.findings.AttachedVEX(ctx, r.ID, store.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return list(found, func(a tidewaiter.AttachedVEX) AttachedVEXDocument {
		return AttachedVEXDocument{
			Image: string(a.Image), Document: string(a.Document), MediaType: a.MediaType, ID: a.ID, Author: a.Author,
			Statements: a.Statements, Exceptions: a.Exceptions, Problem: a.Problem, Seen: wireTime(a.Seen),
		}
	}), nil
}
