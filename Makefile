# Each target is a plain go command, or a script of a page. `make help` lists them.

GOLANGCI_LINT = v2.15.0
GOVULNCHECK   = v1.9.0
FUZZTIME      ?= 10s
# Packages that start goroutines, or share what they have among some: the others
# have no races to detect.
RACE          ?= $(sort $(dir $(shell grep -rlE 'go func|"sync|errgroup|[.]Go\b|[.]Parallel\b' --include='*.go' cmd internal | sed 's,^,./,')))
TOOLS         = $(CURDIR)/.tools
# A folder of advisories in OSV form (Go/all.zip), for `make vuln` without a network.
TIDEWAITER_OSV ?= ../shared/data/osv

export CGO_ENABLED ?= 0

.DEFAULT_GOAL = help
.PHONY: help run demo build component test e2e soak race fuzz bench lint vuln provision clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: build ## build, then start the server on 127.0.0.1:8080 with ./tidewaiter-data
	bin/tidewaiter serve

demo: build ## see it work: server, throw-away registry, two images, scan, findings, console
	go run ./test/demo

build: component ## bin/tidewaiter, one static file that holds everything
	go build -trimpath -o bin/tidewaiter ./cmd/tidewaiter

component: ## the scan component's images, which travel inside bin/tidewaiter
	go run ./internal/component/mkimage -out internal/component/dist

test: provision build ## every test, with the real docker, registry, PostgreSQL and Keystone (root)
	TIDEWAITER_E2E=1 test/with-postgres.sh go test -count=1 -timeout 30m ./...

e2e: provision build ## only the end-to-end tests (root); RUN=pattern chooses
	TIDEWAITER_E2E=1 go test -count=1 -timeout 30m -v -run '$(or $(RUN),.)' ./test/e2e/...

soak: provision build ## scans under 200 kills of servers and components (root); KILLS says how many
	TIDEWAITER_E2E=1 TIDEWAITER_SOAK_KILLS=$(or $(KILLS),200) go test -count=1 -timeout 120m -v -run '^TestScanKills$$' ./test/e2e/

race: ## unit tests under the race detector
	CGO_ENABLED=1 go test -race -short -timeout 20m $(RACE)

fuzz: ## each fuzz target for FUZZTIME (10s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(go test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
		done; \
	done

bench: build ## every benchmark, output kept raw in bin/bench.txt
	@mkdir -p bin
	@set -o pipefail; go test -run '^$$' -bench . -benchmem -timeout 30m \
		$$(grep -rlE '^func Benchmark' --include='*_test.go' . | xargs -r -n1 dirname | sort -u) </dev/null | tee bin/bench.txt

lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## vet, golangci-lint, gofmt, go.mod
	go vet ./...
	$< run ./...
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "gofmt wants to change:"; echo "$$unformatted"; exit 1; fi
	go mod tidy -diff
	go mod verify

vuln: $(TOOLS)/govulncheck-$(GOVULNCHECK) ## known vulnerabilities that our code reaches
	TIDEWAITER_OSV=$(TIDEWAITER_OSV) test/vuln.sh $<

provision: ## install what the tests need (Debian 12, root)
	test/provision.sh

clean: ## remove what the build made; not the data folder, not the tools
	rm -rf bin
	git clean -fdXq internal/component/dist

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/govulncheck-$(GOVULNCHECK):
	GOBIN=$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
	mv $(TOOLS)/govulncheck $@

SHELL = /bin/bash
