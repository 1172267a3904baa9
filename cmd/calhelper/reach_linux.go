package main

import "github.com/calmenu/calmenu/internal/guest/reach"

func init() { verbs["reach"] = reach.Run }
