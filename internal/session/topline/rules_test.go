package topline

var ruleTable = []struct{ name, in, out string }{{"x", "x", "x"}}
