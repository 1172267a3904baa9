//go:build !darwin

package main

func again() {}
