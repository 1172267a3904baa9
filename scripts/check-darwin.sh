#!/bin/sh
# check-darwin.sh types|link: what can be known of the macOS half without a Mac. Both name the first thing that is wrong.
#
#   types  type check of own code and dependencies, go vet of what needs no cgo, and every message to Cocoa against the
#          reviewed table. Needs nothing but Go; seconds.
#   link   real cgo: go vet, compiling and a strict link for arm64 and amd64 with clang, lld and this project's own
#          headers and library stubs, then the programs are inspected. Minutes when Go's build cache is cold, seconds
#          when it is warm.
set -eu

# Go unpacked there is often not on PATH.
PATH=$PATH:/usr/local/go/bin

GO=${GO:-go}
CLANG=${CLANG:-clang}
# The flag that darwinkit needs: see the Makefile.
SAFE=-gcflags=all=-d=variablemakehash=qn
# A version that nothing else contains.
VERSION=${VERSION:-0.0.0-check-darwin}
out=build/darwin

types() {
  "$GO" run ./tools/dtypecheck -test -depbodies -arch arm64 ./...
  "$GO" run ./tools/dtypecheck -test -arch amd64 ./...
  scripts/vet-darwin.sh
  "$GO" run ./tools/darwinselectors
}

link() {
  if [ "$(uname -s)" = Darwin ]; then
    echo 'cgo for macOS: this is a Mac, where make build and make test use the real SDK'
    return 0
  fi
  # It prints a path if it has the linker, and the bare name if not.
  case $("$CLANG" -print-prog-name=ld64.lld 2>/dev/null) in
    /*) ;;
    *)
      printf 'error: %s with lld was not found.\n  hint: %s\n' "$CLANG" \
        'Run scripts/setup.sh test, or set CLANG to a clang that has lld.' >&2
      exit 1
      ;;
  esac
  inspect=$out/darwininspect
  "$GO" build -o "$inspect" ./tools/darwininspect
  for arch in arm64 amd64; do
    begun=$(date +%s)
    cc=$("$GO" run ./tools/darwinsdk -out "$out/sdk-$arch" -arch "$arch" -clang "$CLANG")
    program=$out/CALMenu-$arch
    # Always linked anew: the go command does not see when a library stub changes.
    rm -f "$program"
    CC=$cc GOOS=darwin GOARCH=$arch CGO_ENABLED=1 "$GO" vet -trimpath "$SAFE" ./...
    # Without debugging information: to move it, Go would run programs that only macOS has.
    CC=$cc GOOS=darwin GOARCH=$arch CGO_ENABLED=1 "$GO" build -trimpath "$SAFE" \
      -ldflags="-w -compressdwarf=false -X github.com/calmenu/calmenu/app.stamp=$VERSION" -o "$program" ./cmd/CALMenu
    "$inspect" -version "$VERSION" -host "$PWD" -host "$("$GO" env GOROOT)" -host "$("$GO" env GOMODCACHE)" \
      -host "${TMPDIR:-/tmp}/go-build" -host "${TMPDIR:-/tmp}/go-link" "$program"
    printf 'cgo for macOS on %s: vet, compile, link, inspect: %d s\n' "$arch" "$(($(date +%s) - begun))"
  done
}

case ${1:-} in
  types) types ;;
  link) link ;;
  *)
    printf 'error: check-darwin.sh does not know "%s".\n  hint: Use: check-darwin.sh types, or check-darwin.sh link.\n' \
      "${1:-}" >&2
    exit 2
    ;;
esac
