package tidewaiter

import "time"

// AttachedContent is a document that is attached to an image in its registry.
// Whoever may push to the repository may attach one: it is hostile.
type AttachedContent struct {
	Digest    Digest // of its blob
	MediaType string
	Bytes     []byte
	Problem   string // why it could not be read, or ""
}

// AttachedVEX is what a server has made of a document that is attached to an
// image.
type AttachedVEX struct {
	Image      Digest // of the image or the index
	ManifestID int64
	Document   Digest // of its blob
	MediaType  string
	ID         string // which the document gives itself, "" if it could not be read
	Author     string
	Source     string // of the exceptions that it has made
	Statements int    // about this image that count
	Exceptions int
	Problem    string // why nothing of it counts, or ""
	Seen       time.Time
}
