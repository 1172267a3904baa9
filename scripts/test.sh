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

# All tests, with the race detector; those that start virtual machines or a desktop, or take long, skip themselves. Then exactly those,
# from another build: the programs they start are as they are shipped. CAL_TEST_RACE=1 gives them the race detector too.
unit_tests() {
  "$GO" run ./tools/teststage unit -race
}

machine_tests() {
  "$GO" run ./tools/teststage machines ${CAL_TEST_RACE:+-race}
}

stage setup scripts/setup.sh test
stage build make build
stage lint make lint
stage scripts shellcheck scripts/*.sh .ci/run
stage unit unit_tests
stage check-darwin make check-darwin
stage machines machine_tests
printf '\n=== all stages ok, %d s\n' "$(($(date +%s) - started))"
