#!/bin/sh
# vulncheck.sh VERSION: looks for known vulnerabilities in what CALMenu calls, where the database can be reached.
set -eu

# Go unpacked there is often not on PATH.
PATH=$PATH:/usr/local/go/bin

GO=${GO:-go}
DATABASE=https://vuln.go.dev

if ! command -v curl >/dev/null 2>&1; then
  echo 'govulncheck skipped: curl is not installed, so whether its database can be reached is unknown'
elif ! curl -fsS --max-time 10 -o /dev/null "$DATABASE/index/db.json" 2>/dev/null; then
  echo 'govulncheck skipped: its database cannot be reached from here'
else
  "$GO" run "golang.org/x/vuln/cmd/govulncheck@$1" ./...
fi
