package main

import "github.com/calmenu/calmenu/internal/guest/changes/search"

func init() { verbs["changes"] = search.Run }
