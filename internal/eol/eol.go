// Package eol knows when distributions come to their end: a table, made of the
// pages on which they say so. It is no more current than the program.
package eol

import (
	_ "embed"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

//go:embed ends.txt
var ends string

// Of returns the last day on which a distribution publishes security updates
// for everybody, without a contract, at its first moment in UTC: the system is
// without support from the next day on. Of Debian that is the end of its long
// term support, of Ubuntu that of standard support. A rolling distribution is
// known, and its end is the zero time.
//
// What counts of a version depends on the distribution: the first number
// (Debian, Fedora, Red Hat and those built from it: 8.9 is 8), else the first
// two (Alpine: 3.19.1 is 3.19; Ubuntu; SUSE with its service packs). A version
// that is no number, as Alpine's edge has it, is not known. CentOS Stream and the
// service packs of openEuler are told apart by the name of the system.
func Of(s tidewaiter.System) (end time.Time, known bool) {
	version := release(s)
	for line := range strings.Lines(ends) {
		fields := strings.Fields(line)
		if len(fields) != 4 || fields[0] != s.ID || fields[1] != "*" && fields[1] != version {
			continue
		}
		if fields[2] == "rolling" {
			return time.Time{}, true
		}
		end, err := time.Parse(time.DateOnly, fields[2])
		return end, err == nil
	}
	return time.Time{}, false
}

// release returns what the table calls the release of a system.
func release(s tidewaiter.System) string {
	if strings.Trim(s.VersionID, "0123456789.") != "" {
		return ""
	}
	parts := strings.Split(s.VersionID, ".")
	switch s.ID {
	case "almalinux", "centos", "debian", "fedora", "ol", "rhel", "rocky":
		parts = parts[:1]
	}
	version := strings.Join(parts[:min(len(parts), 2)], ".")
	switch s.ID {
	case "centos":
		if strings.Contains(s.Name, "Stream") { // "CentOS Stream 9"
			version += "-stream"
		}
	case "openEuler":
		_, pack, ok := strings.Cut(s.Name, "(") // "openEuler 22.03 (LTS-SP3)"
		if pack, closed := strings.CutSuffix(pack, ")"); ok && closed {
			version += "-" + pack
		}
	}
	return version
}
