package main

import "github.com/calmenu/calmenu/internal/guest/renewal"

func init() { verbs["renew"] = renewal.Run }
