// Package agents holds the built-in agent catalogue as data.
package agents

import _ "embed"

// YAML is agents.yaml, the catalogue internal/agent reads.
//
//go:embed agents.yaml
var YAML []byte
