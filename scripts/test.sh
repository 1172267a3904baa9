#!/bin/sh
# test.sh: everything that must hold before a change lands, in stages, cheapest first. Each stage prints its elapsed time.
set -eu

# Go unpacked there is often not on PATH.
PATH=$PATH:/usr/local/go/bin

GO=${GO:-go}
started=$(date +%s)

# stage NAME COMMAND...: runs a stage and ends the run if it fails.
stage() {
  name=$1
  shift
  printf '\n=== %s\n' "$name"
  begun=$(date +%s)
  "$@" || {
    printf '=== %s FAILED after %d s\n' "$name" "$(($(date +%s) - begun))"
    exit 1
  }
  printf '=== %s ok, %d s (%d s in all)\n' "$name" "$(($(date +%s) - begun))" "$(($(date +%s) - started))"
}

unit_tests() {
  CGO_ENABLED=1 "$GO" test -race -timeout 10m ./...
}

# Packages whose tests start virtual machines or a desktop say so by naming the variable that lets them, or the harness
# that asks for it. One at a time: each of them may load all cores. The scripts on Tart's double were played before.
machine_tests() {
  packages=$(grep -rlE --include='*_test.go' 'CAL_TEST_(VM|DESKTOP)|desktoptest\.' app cmd internal tools 2>/dev/null |
    xargs -r -n 1 dirname | sort -u | sed 's|^|./|')
  [ -n "$packages" ] || {
    printf 'no package has VM or desktop tests\n'
    return 0
  }
  # shellcheck disable=SC2086 # a list of packages
  CGO_ENABLED=1 CAL_TEST_VM=1 CAL_TEST_DESKTOP=1 "$GO" test -race -p 1 -count 1 -timeout 40m -skip '^TestTart$' $packages
}

stage setup scripts/setup.sh test
stage build make build
stage lint make lint
stage scripts shellcheck scripts/*.sh .ci/run
stage unit unit_tests
stage check-darwin make check-darwin
stage machines machine_tests
printf '\n=== all stages ok, %d s\n' "$(($(date +%s) - started))"
