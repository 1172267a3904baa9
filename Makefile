# CALMenu. `make` lists what there is to do; docs/building.md says more.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Go unpacked to /usr/local/go is often not on root's PATH.
GO := $(shell command -v go || { test -x /usr/local/go/bin/go && echo /usr/local/go/bin/go; } || echo go)
# Tools call it by its name.
export PATH := $(PATH):$(patsubst %/,%,$(dir $(GO)))
OS := $(shell uname -s)

# Tools, at the versions their findings were last read at. They live in build/tools, one per version.
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
TOOLS := build/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)

VERSION := $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || \
	echo "0.1.0-dev+$$(git describe --always --dirty 2>/dev/null || echo unknown)")
LDFLAGS := -s -w -X github.com/calmenu/calmenu/app.stamp=$(VERSION)

# macOS: AppKit needs cgo, and darwinkit v0.5.0 hands C pointers to Go slices that Go >= 1.25 may put on the goroutine
# stack; this flag keeps them on the heap (progrium/darwinkit#286). all=, because its generic calls are compiled in their
# callers. The program checks at its start that it was built so.
ifeq ($(OS),Darwin)
CGO := 1
GCFLAGS := -gcflags=all=-d=variablemakehash=qn
else
CGO := 0
GCFLAGS :=
endif

# One benchmark group (make bench BENCH=loop), or all of them.
BENCH ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: setup ## Install what is missing, build, and start CALMenu
ifeq ($(OS),Darwin)
	@$(MAKE) app
	open build/CALMenu.app
else
	@$(MAKE) build
	@build/CALMenu up
endif

.PHONY: setup
setup: ## Install what CALMenu needs to run (Debian: apt-get; macOS: brew)
	@GO='$(GO)' scripts/setup.sh run

.PHONY: build
build: build/guest ## Build build/CALMenu
	CGO_ENABLED=$(CGO) $(GO) build -trimpath $(GCFLAGS) -ldflags='$(LDFLAGS)' -o build/CALMenu ./cmd/CALMenu

# The guest's first program is embedded in CALMenu, so it comes first. It is the guest's, not the host's: always Linux.
.PHONY: build/guest
build/guest:
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags='-s -w' -o resources/guest/bin/calinit ./cmd/calinit

.PHONY: app
app: build ## Lay out build/CALMenu.app (signed ad hoc on a Mac)
	$(GO) run ./tools/bundle -binary build/CALMenu -version '$(VERSION)' -out build/CALMenu.app

.PHONY: test
test: ## Everything CI runs: build, lint, tests with the race detector, macOS type check, VM and desktop tests
	@GO='$(GO)' scripts/test.sh

.PHONY: test-fast
test-fast: build/guest ## Unit tests only: no VM, no desktop, no race detector
	$(GO) test ./...

.PHONY: bench
bench: build ## Benchmarks, as a table and in build/bench.jsonl (one group: make bench BENCH=loop)
	@GO='$(GO)' scripts/setup.sh test
	$(GO) run ./tools/bench $(BENCH)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Static checks, formatting and the layers of the packages
	$(GOLANGCI_LINT) run
	@GO='$(GO)' scripts/vulncheck.sh $(GOVULNCHECK_VERSION)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the Go files
	$(GOLANGCI_LINT) fmt

$(GOLANGCI_LINT):
	GOBIN='$(CURDIR)/$(TOOLS)' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/golangci-lint $@

.PHONY: check-darwin
check-darwin: ## Type-check everything for macOS, own code and dependencies, without a Mac
	$(GO) run ./tools/dtypecheck -test -depbodies -arch arm64 ./...
	$(GO) run ./tools/dtypecheck -test -arch amd64 ./...
	@GO='$(GO)' scripts/vet-darwin.sh

.PHONY: clean
clean: ## Remove what was built (workspaces and the guest image stay)
	rm -rf build resources/guest/bin/calinit
