package main

import "context"

func tunnelInGuest(context.Context, *bench) error { return nil }
