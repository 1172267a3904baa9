#!/bin/sh
# vet-darwin.sh: go vet for macOS of every package that can be compiled without cgo, so without Apple's SDK. Which ones
# those are is asked of Go: a package counts when neither it nor anything it imports is cgo's.
set -eu

# Go unpacked there is often not on PATH.
PATH=$PATH:/usr/local/go/bin

GO=${GO:-go}
export GOOS=darwin GOARCH=arm64 CGO_ENABLED=0

# -e: packages that are empty without cgo are reported as broken, and so are their importers (Incomplete).
packages=$("$GO" list -e -f '{{if not (or .Incomplete .Error .DepsErrors)}}{{.ImportPath}}{{end}}' ./...)
[ -n "$packages" ] || {
  echo 'error: no package can be compiled for macOS without cgo.' >&2
  exit 1
}
# shellcheck disable=SC2086 # a list of packages
"$GO" vet $packages
echo "go vet for macOS without cgo: $(printf '%s\n' "$packages" | wc -l | tr -d ' ') packages, no findings"
