package topline

// rule is one thing the guest's output may not do to the host's terminal.
type rule struct {
	name   string
	reason string
	quiet  bool // common and harmless to lose: no event
}

// The rules that are asked for by name.
var (
	ruleAnswerback = &rule{"answerback", "the terminal's answer would be typed into the session", false}
	ruleHighlight  = &rule{"highlight-tracking", "the terminal's mouse hangs until the program answers", false}
	ruleWindow     = &rule{"window-operation", "the window's place, size and state are the user's", false}
	ruleResize     = &rule{"resize", "the window's size is the user's", false}
	ruleTitleQuery = &rule{"title-report", "the title could hold a command, which would be typed into the session", false}
	ruleTitleStack = &rule{"title-stack", "the title under the session's is the user's shell's", true}
	ruleLocator    = &rule{"locator", "reports of a pointing device, in rows of the whole screen", false}
	rulePrinter    = &rule{"media-copy", "prints, on the host's printer", false}
	ruleStateQuery = &rule{"state-report", "the terminal's answer would be typed into the session", false}
	ruleCheckSum   = &rule{"screen-checksum", "reads back what the screen shows", false}
	ruleMacro      = &rule{"macro", "a stored macro would pass by these rules when it is invoked", false}
	ruleStatusLine = &rule{"status-line", "output would go where the banner's rules do not reach", false}
	rulePages      = &rule{"pages", "another page has no banner", false}
	ruleUnscroll   = &rule{"unscroll", "brings the user's history into the session's screen", false}
	ruleMemoryLock = &rule{"memory-lock", "changes the scroll region behind the banner's back", false}
	ruleEncoding   = &rule{"encoding", "the session is UTF-8; in another encoding bytes are controls", false}
	ruleVT52       = &rule{"vt52", "in this mode rows are named in another language", false}
	ruleTektronix  = &rule{"tektronix", "another screen, with its own language", false}
	ruleColumns    = &rule{"columns", "the window's width is the user's; it would also clear the screen", true}
	ruleReverse    = &rule{"reverse-wrap", "backspace would climb into the banner", true}
	ruleSixelHome  = &rule{"sixel-display-mode", "images would be drawn over the banner", false}
	ruleKeyboard   = &rule{"keyboard", "locks or redefines the user's keyboard", false}
	ruleUserKeys   = &rule{"user-keys", "keys would type what the guest chose", false}
	ruleSoftFont   = &rule{"soft-font", "letters would look like others, in the banner too", false}
	rulePassage    = &rule{"passthrough", "wraps sequences for a terminal further out, past these rules", false}
	ruleControl    = &rule{"remote-control", "controls the terminal program itself", false}
	ruleDCS        = &rule{"device-control", "only images and capability queries are passed", false}
	ruleFiles      = &rule{"kitty-files", "the terminal would read, and delete, files of the host", false}
	ruleAPC        = &rule{"application-command", "only inline images are passed", true}
	ruleOSC        = &rule{"operating-system-command", "not one that is known to be harmless", false}
	ruleFont       = &rule{"font", "sets the terminal's font, or reads its name back", false}
	ruleDownload   = &rule{"iterm", "only inline images are passed: no files, profiles, links or reports", false}
	ruleDirectory  = &rule{"directory", "a directory of the guest; new windows of the host would open there", true}
	ruleControlOSC = &rule{"hidden-controls", "holds controls where text belongs", false}
	ruleTooLong    = &rule{"too-long", "longer than any honest one", false}
)

// csiRules names the control sequences that are dropped, by marker, intermediate and final byte.
var csiRules = map[string]*rule{
	"i": rulePrinter, "?i": rulePrinter,
	"*y": ruleCheckSum, "#|": ruleStateQuery, "$w": ruleStateQuery, "$u": ruleStateQuery, "&u": ruleStateQuery,
	"*z": ruleMacro,
	"'w": ruleLocator, "'z": ruleLocator, "'{": ruleLocator, "'|": ruleLocator,
	"$~": ruleStatusLine, "$}": ruleStatusLine,
	"*|": ruleResize, "$|": ruleResize,
	"U": rulePages, "V": rulePages, " P": rulePages, " Q": rulePages, " R": rulePages,
	"+T": ruleUnscroll,
	"+p": ruleStateQuery, // secure reset, which is confirmed by an answer of the program's choice
	">t": ruleTitleQuery, ">T": ruleTitleQuery,
}

// modeRules names the private modes that are neither set nor reset.
var modeRules = map[int]*rule{
	modeVT52: ruleVT52, modeColumns: ruleColumns, 40: ruleColumns,
	18: rulePrinter, 19: rulePrinter,
	38: ruleTektronix, 45: ruleReverse, 1045: ruleReverse,
	60: rulePages, 61: rulePages, 64: rulePages,
	80: ruleSixelHome, 1001: ruleHighlight,
}

// escRules names the escapes that are dropped, by intermediates and final byte.
var escRules = map[string]*rule{
	"l": ruleMemoryLock, "m": ruleMemoryLock, "F": ruleMemoryLock,
	"%@": ruleEncoding, " G": ruleEncoding,
}

// tell reports an event, with its texts cleaned and capped.
func (f *Filter) tell(e Event) {
	if f.o.OnEvent == nil {
		return
	}
	e.Title, e.Text = clean(e.Title), clean(e.Text)
	f.o.OnEvent(e)
}

// refuse reports what a rule dropped.
func (f *Filter) refuse(r *rule) {
	if !r.quiet {
		f.tell(Event{Kind: Dropped, Title: r.name, Text: r.reason})
	}
}

// window handles window operations (CSI t): a few harmless reports pass.
func (f *Filter) window(dst, body []byte, p *params) []byte {
	switch op := p.first(); op {
	case 14, 16, 18, 19:
		return raw(dst, body, 't')
	case 20, 21:
		f.refuse(ruleTitleQuery)
	case 22, 23:
		f.refuse(ruleTitleStack)
	case 4, 8:
		f.refuse(ruleResize)
	default:
		if op >= 24 {
			f.refuse(ruleResize)
		} else {
			f.refuse(ruleWindow)
		}
	}
	return dst
}
