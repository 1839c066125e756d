package tidewaiter

import "time"

// Software is a version of a package that images hold.
type Software struct {
	Name    string // as OSV has it: with the group of Maven, the scope of npm
	Version string // as its ecosystem writes it, with an epoch where there is one
	Type    string // the purl type: deb, apk, rpm, pypi, npm, golang, maven, …
	// Vulnerabilities is how many it has that nobody has handled in the image, or
	// in one of the images, in question.
	Vulnerabilities int
}

// InstalledSoftware is software in an image of one platform.
type InstalledSoftware struct {
	Software
	Path  string // the file that says so, and the archives in it that one has to open
	Layer Digest // from which on it is there
	Image ScannedImage
}

// ImageFile is a regular file of an image that belongs to no package.
type ImageFile struct {
	Name string // the last part of its path
	Path string // absolute
	Size int64
}

// FoundFile is such a file in an image of one platform.
type FoundFile struct {
	ImageFile
	Layer Digest // that has it
	Image ScannedImage
}

// FileStatistics counts the regular files of an image, whatever they belong to.
type FileStatistics struct {
	Files int
	Bytes int64
}

// ScannedImage is an image of one platform of which it is known what it holds.
// Its names are those of a tag that stands for it, or for an index that it is in;
// they are empty if there is no such tag any more.
type ScannedImage struct {
	ManifestID   int64
	ImageID      string
	RegistryType RegistryType
	Namespace    string
	Name         string
	Tag          string
	Scanned      time.Time
}

// BaseImage is what an image was built from: another image, or if that is not
// known the operating system of the lowest layer.
type BaseImage struct {
	OSName    string
	OSVersion string
	Layer     Digest       // the topmost of those that come from the base image
	Image     ScannedImage // zero if it is not known
}

// ImageReference names images as clients of the contract do. What is empty fits
// everything, but for ImageID.
type ImageReference struct {
	Types                []RegistryType // nil for all
	Namespace, Name, Tag string
	ImageID              string // of an index, or of an image of one platform
}
