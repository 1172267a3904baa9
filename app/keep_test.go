package app

import (
	"fmt"
	"testing"
	"time"
)

func TestRefusalsAreToldOfOnceInAWhile(t *testing.T) {
	var r told
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	told := 0
	for i := range 1000 {
		if r.news("example.org", now.Add(time.Duration(i)*time.Second)) {
			told++
		}
	}
	if told != 2 { // 1000 s are one interval and a bit
		t.Errorf("one host is told of %d times", told)
	}
	for i := range 1000 {
		if r.news(fmt.Sprintf("host-%d.example.org", i), now.Add(1000*time.Second)) {
			told++
		}
	}
	if told > toldMost+2 {
		t.Errorf("a thousand hosts are told of %d times", told)
	}
}
