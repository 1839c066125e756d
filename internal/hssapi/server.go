// Package hssapi is the HSS v5 image API: the wire structs, the routes and the
// handlers of the contract, one file for each resource group.
//
// An operation of the contract that has no handler yet answers 404 APIGW.0101
// and says so.
package hssapi

import (
	"github.com/tidewaiter/tidewaiter/internal/findings"
	"github.com/tidewaiter/tidewaiter/internal/fleet"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/uploadcmd"
)

// Options are the parts that the operations need.
type Options struct {
	Component Component
	Inventory *inventory.Service
	Fleet     *fleet.Service
	Scans     *scan.Service
	Findings  *findings.Service
}

// Component is what the API tells of the scan component's image.
type Component struct {
	Image       string // name that the archives load it under, such as scan-component
	Version     string
	DownloadURL string // address of the zip
	Repository  string // where it can be pulled from, such as host/tidewaiter/scan-component
	Digest      string // of the index of all platforms
	// Archives are the names of the files in the zip, by platform
	// (linux/amd64).
	Archives map[string]string
}

// server holds what the handlers share.
type server struct {
	api        *gateway.API
	operations map[string]gateway.Operation
	built      map[string]bool
	component  Component
	inventory  *inventory.Service
	fleet      *fleet.Service
	scans      *scan.Service
	findings   *findings.Service
	pull       string // swr_image_pull_command
}

// Register adds every operation of the contract to the API.
func Register(api *gateway.API, o Options) {
	s := &server{
		api:        api,
		operations: map[string]gateway.Operation{},
		built:      map[string]bool{},
		component:  o.Component,
		inventory:  o.Inventory,
		fleet:      o.Fleet,
		scans:      o.Scans,
		findings:   o.Findings,
		pull:       uploadcmd.Pull(o.Component.Repository, o.Component.Digest),
	}
	for _, op := range Operations() {
		s.operations[op.Name] = op
	}
	s.registerImageUploadCommand()
	s.registerRegistries()
	s.registerImageSync()
	s.registerRegistryImages()
	s.registerScanTasks()
	s.registerManualScans()
	s.registerScanPolicies()
	s.registerScanStatistics()
	s.registerClusters()
	s.registerImageSoftware()
	s.registerImageFiles()
	s.registerBaseImage()
	s.registerImageVulnerabilities()
	s.registerGlobalVulnerabilities()
	s.registerHandleVulnerability()
	s.registerWhitelists()
	for _, op := range Operations() {
		if !s.built[op.Name] {
			api.RegisterNotBuilt(op)
		}
	}
}

// operation returns the row of the contract for an operation that is built.
// A name that the contract does not have is a mistake in this package.
func (s *server) operation(name string) gateway.Operation {
	op, ok := s.operations[name]
	if !ok {
		panic("hssapi: no operation " + name + " in the contract")
	}
	s.built[name] = true
	return op
}
