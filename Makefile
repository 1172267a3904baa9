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
ACTIONLINT_VERSION := v1.7.12
TOOLS := build/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
ACTIONLINT := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)

VERSION := $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || \
	echo "0.1.0-dev+$$(git describe --always --dirty 2>/dev/null || echo unknown)")
LDFLAGS := -s -w -X github.com/calmenu/calmenu/app.stamp=$(VERSION)

# macOS: AppKit needs cgo, and darwinkit v0.5.0 hands C pointers to Go slices that Go >= 1.25 may put on the goroutine
# stack; this flag keeps them on the heap (progrium/darwinkit#286). all=, because its generic calls are compiled in their
# callers. The program checks at its start that it was built so.
MACOS_GCFLAGS := -gcflags=all=-d=variablemakehash=qn
ifeq ($(OS),Darwin)
CGO := 1
GCFLAGS := $(MACOS_GCFLAGS)
else
CGO := 0
GCFLAGS :=
endif

# The application: one program for both processors. The oldest macOS is Info.plist's LSMinimumSystemVersion.
APP := build/CALMenu.app
MACOS_PROGRAMS := build/darwin-arm64/CALMenu build/darwin-amd64/CALMenu
export MACOSX_DEPLOYMENT_TARGET := 13.0

# Who signs: an identity of security find-identity, or - for nobody (ad hoc). NOTARY_PROFILE is the name under which
# notarytool keeps its credentials, NOTARY_KEYCHAIN the keychain they are in if it is not the login keychain.
CODESIGN_IDENTITY ?= -
NOTARY_PROFILE ?=
NOTARY_KEYCHAIN ?=

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

# The guest's own programs are embedded in CALMenu, so they come first. They are the guest's, not the host's.
.PHONY: build/guest
build/guest:
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags='-s -w' -o resources/guest/bin/ ./cmd/calinit ./cmd/calseed
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags='-s -w' -o resources/guest/bin/calhelper-linux-amd64 ./cmd/calhelper
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -trimpath -ldflags='-s -w' -o resources/guest/bin/calhelper-darwin-arm64 ./cmd/calhelper

.PHONY: app
app: $(MACOS_PROGRAMS) ## Lay out build/CALMenu.app for both processors; signed on a Mac, by CODESIGN_IDENTITY or ad hoc
	$(GO) run ./tools/bundle $(addprefix -binary ,$(MACOS_PROGRAMS)) -version '$(VERSION)' -out $(APP)
	@$(GO) run ./tools/release sign -app $(APP) -identity '$(CODESIGN_IDENTITY)'

# Elsewhere than on a Mac there is no AppKit to link: what is built then has the commands but no menu bar, and serves to
# check the bundle's layout.
.PHONY: $(MACOS_PROGRAMS)
$(MACOS_PROGRAMS): build/darwin-%/CALMenu: build/guest
	CGO_ENABLED=$(CGO) GOOS=darwin GOARCH=$* $(GO) build -trimpath $(MACOS_GCFLAGS) -ldflags='$(LDFLAGS)' -o $@ ./cmd/CALMenu
ifneq ($(OS),Darwin)
	@echo 'note: $@ has no menu bar: linking AppKit needs a Mac'
endif

.PHONY: dmg
dmg: app ## Put the application into a disk image (Mac)
	@$(GO) run ./tools/release dmg -app $(APP) -out build -identity '$(CODESIGN_IDENTITY)'

.PHONY: notarize
notarize: app ## Application and disk image as people download them: notarised by Apple and stapled (Mac)
	@$(GO) run ./tools/release notarize -app $(APP) -out build -identity '$(CODESIGN_IDENTITY)' \
		-profile '$(NOTARY_PROFILE)' -keychain '$(NOTARY_KEYCHAIN)'

.PHONY: cask
cask: ## Write version and hash of build/CALMenu-*.dmg into the Homebrew cask (DMG=FILE)
	@$(GO) run ./tools/release cask -app $(APP) -dmg '$(DMG)'

.PHONY: test
test: ## Everything CI runs: build, lint, tests with the race detector, macOS type check, VM and desktop tests
	@GO='$(GO)' scripts/test.sh

.PHONY: test-fast
test-fast: build/guest ## Unit tests only: no VM, no desktop, no race detector
	$(GO) test $(GCFLAGS) ./...

# It is built as CALMenu is: it takes its part, and to start is some of what is measured.
.PHONY: bench
bench: build ## Benchmarks, as a table and in build/bench.jsonl (one group: make bench BENCH=loop)
	@GO='$(GO)' scripts/setup.sh test
	CGO_ENABLED=$(CGO) $(GO) run -trimpath -ldflags='-s -w' ./tools/bench $(BENCH)

.PHONY: lint
lint: $(GOLANGCI_LINT) lint-actions ## Static checks, formatting and the layers of the packages
	$(GOLANGCI_LINT) run
	@GO='$(GO)' scripts/vulncheck.sh $(GOVULNCHECK_VERSION)

.PHONY: lint-actions
lint-actions: $(ACTIONLINT) ## Check the workflows of .github, the scripts in them included
	$(ACTIONLINT)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the Go files
	$(GOLANGCI_LINT) fmt

$(GOLANGCI_LINT):
	GOBIN='$(CURDIR)/$(TOOLS)' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/golangci-lint $@

$(ACTIONLINT):
	GOBIN='$(CURDIR)/$(TOOLS)' $(GO) install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
	@mv $(TOOLS)/actionlint $@

.PHONY: check-darwin
check-darwin: build/guest ## Check everything for macOS without a Mac: types, messages to Cocoa, a strict link for both processors
	@GO='$(GO)' scripts/check-darwin.sh types
	@GO='$(GO)' scripts/check-darwin.sh link

.PHONY: clean
clean: ## Remove what was built (workspaces and the guest image stay)
	rm -rf build resources/guest/bin/cal*
