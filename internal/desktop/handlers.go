package desktop

import "sync"

// handlers keeps what to call for notifications that are still shown, by the identifiers the system knows them by.
type handlers[ID comparable] struct {
	mu   sync.Mutex // guards the rest; held while a notification is posted, so that its click finds it here
	byID map[ID]map[string]func()
	ids  []ID // oldest first
}

// most is how many notifications can be clicked at a time; older ones have long left the screen.
const most = 100

func (h *handlers[ID]) keep(id ID, actions map[string]func()) {
	if h.byID == nil {
		h.byID = map[ID]map[string]func(){}
	}
	if _, known := h.byID[id]; !known {
		h.ids = append(h.ids, id)
	}
	h.byID[id] = actions
	for len(h.ids) > most {
		delete(h.byID, h.ids[0])
		h.ids = h.ids[1:]
	}
}

// take returns the handler of an action once and forgets the notification; key "" only forgets.
func (h *handlers[ID]) take(id ID, key string) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.byID[id][key]
	delete(h.byID, id)
	for i, other := range h.ids {
		if other == id {
			h.ids = append(h.ids[:i], h.ids[i+1:]...)
			break
		}
	}
	return f
}
