package main

import "github.com/calmenu/calmenu/internal/guest/freezer"

func init() { verbs[freezer.Verb] = freezer.Run }
