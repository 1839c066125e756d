package tidewaiter

import "time"

// RiskDay is how things stood at the end of a day, or stand today.
type RiskDay struct {
	Day    time.Time // its beginning, in UTC
	Images RiskImages
	Open   RiskOpen
}

// RiskImages counts the images in registries by their risk: see [Risk.Level].
type RiskImages struct {
	High, Medium, Low, Secure int
	Unknown                   int // not scanned to the end, or not judged as a whole
}

// RiskOpen counts vulnerabilities in packages of images that nobody has handled,
// as [Risk] does.
type RiskOpen struct {
	Critical, High, Medium, Low int
}
