package corpus

import "strings"

// bundles land as one, or not at all.
func bundles() (cases []Case) {
	for _, suffix := range []string{".app", ".xcarchive", ".xcresult", ".APP"} {
		name := "bundles/Good" + strings.ToLower(strings.TrimPrefix(suffix, ".")) + suffix
		if suffix == ".APP" {
			name = "bundles/Loud.APP"
		}
		cases = append(cases, Case{"bundle " + suffix, name, "", []Op{
			file(name + "/Contents/Info.plist"), file(name + "/Contents/MacOS/program"), {Kind: Dir, Path: name + "/Contents/Empty"},
		}})
	}
	cases = append(cases,
		Case{"empty bundle", "bundles/Empty.app", "", []Op{{Kind: Dir, Path: "bundles/Empty.app"}}},
		Case{"bundle in a bundle", "bundles/Outer.xcarchive", "", []Op{file("bundles/Outer.xcarchive/Products/Inner.app/x")}})
	for _, c := range []struct {
		what, reason string
		op           Op
	}{
		{"FIFO", "is a FIFO", Op{Kind: Fifo}},
		{"socket", "is a socket", Op{Kind: Socket}},
		{"device", "is a device", Op{Kind: Device}},
		{"hard link elsewhere", "is a hard link", Op{Kind: Hard, Target: Elsewhere}},
		{"endless file", "is larger than 2.0 MB", Op{Kind: Hole, Size: 1 << 40}},
	} {
		name := "bundles/Bad" + strings.ReplaceAll(c.what, " ", "-") + ".app"
		op := c.op
		op.Path = name + "/sub/s"
		cases = append(cases, Case{
			"bundle with a " + c.what, name, "holds " + op.Path + ": " + c.reason, []Op{file(name + "/a"), op, file(name + "/z")},
		})
	}
	for _, c := range []struct{ what, name, reason string }{
		{"control character", "a\x1bb", "name has the control character U+001B"},
		{"no UTF-8", "a\xff", "name is not valid UTF-8"},
		{"long name", strings.Repeat("o", 241), "name has an element longer"},
	} {
		name := "bundles/Name" + strings.ReplaceAll(c.what, " ", "-") + ".app"
		cases = append(cases, Case{"bundle with a name: " + c.what, name, "holds ", []Op{file(name + "/" + c.name)}})
	}
	return append(cases, Case{
		"bundle with a clash", "bundles/Clash.app", "holds bundles/Clash.app/b: differs from bundles/Clash.app/B only",
		[]Op{file("bundles/Clash.app/B"), file("bundles/Clash.app/b")},
	})
}

// bundleLinks are symbolic links in bundles.
func bundleLinks() (cases []Case) {
	const leaves, nothing = "is a symbolic link that leaves the bundle", "is a symbolic link to nothing in the bundle"
	for _, c := range []struct {
		what, reason string
		links        []Op // below the bundle; it has the files d/e/f and Versions/A/program
	}{
		{"a framework", "", []Op{
			link("Versions/Current", "A"), link("program", "Versions/Current/program"), link("Versions/Also", "Current"),
		}},
		{"up and down again", "", []Op{link("d/l", "../Versions/A/program")}},
		{"to its own directory", "", []Op{link("d/l", ".")}},
		{"to the bundle itself", "", []Op{link("d/l", "..")}},
		{"with slashes to spare", "", []Op{link("l", "d//e/./f")}},
		{"absolute", leaves, []Op{link("l", "/etc/passwd")}},
		{"to a secret", leaves, []Op{link("l", Secret)}},
		{"to the processes", leaves, []Op{link("l", "/proc/self/environ")}},
		{"out by one", leaves, []Op{link("l", "..")}},
		{"out by many", leaves, []Op{link("l", "../../../../../etc/passwd")}},
		{"out from deep inside", leaves, []Op{link("d/e/l", "../../../x")}},
		{"out and in again", leaves, []Op{link("l", "../Links.app/d")}},
		{"out through another link", leaves, []Op{link("d/up", ".."), link("d/l", "up/../x")}},
		{"out behind a link that goes deeper", leaves, []Op{link("s", "d"), link("l", "s/../../x")}},
		{"up behind a file", nothing, []Op{link("l", "d/e/f/../../../../x")}},
		{"to nothing", nothing, []Op{link("l", "none")}},
		{"to another case", nothing, []Op{link("l", "D/E/F")}},
		{"below a file", nothing, []Op{link("l", "d/e/f/g")}},
		{"to itself", "is a symbolic link that leads through too many others", []Op{link("l", "l")}},
		{"to each other", "is a symbolic link that leads through too many others", []Op{link("l", "m"), link("m", "l")}},
		{"with a control character", "is a symbolic link with no name as its target", []Op{link("l", "d\n")}},
		{"with no UTF-8", "is a symbolic link with no name as its target", []Op{link("l", "\xff")}},
		{"too long", "is a symbolic link with no name as its target", []Op{link("l", strings.Repeat("./", 600)+"d")}},
	} {
		name := "bundlelinks/" + strings.ReplaceAll(c.what, " ", "-") + ".app"
		ops := []Op{file(name + "/d/e/f"), file(name + "/Versions/A/program")}
		for _, l := range c.links {
			ops = append(ops, link(name+"/"+l.Path, l.Target))
		}
		reason := ""
		if c.reason != "" {
			reason = "holds " + name + "/"
		}
		cases = append(cases, Case{"link in a bundle: " + c.what, name, reason, ops})
	}
	return cases
}

func limits() []Case {
	long := strings.Repeat("o", 241)
	wide := strings.TrimSuffix(strings.Repeat(strings.Repeat("w", 200)+"/", 4), "/")
	return []Case{
		{"as large as may be", "limits/large", "", []Op{{Kind: Hole, Path: "limits/large", Size: MaxFile}}},
		{"too large by a byte", "limits/larger", "is larger than 2.0 MB", []Op{{Kind: Hole, Path: "limits/larger", Size: MaxFile + 1}}},
		{"endless", "limits/endless", "is larger than 2.0 MB", []Op{{Kind: Hole, Path: "limits/endless", Size: 1 << 42}}},
		{"name too long", "limits/" + long, "name has an element longer", []Op{file("limits/" + long)}},
		{
			"name as long as a file system takes", "limits/" + strings.Repeat("p", 255), "name has an element longer",
			[]Op{file("limits/" + strings.Repeat("p", 255))},
		},
		{"path too long", wide, "name is longer than 800 bytes", []Op{file(wide + "/x")}},
		{
			"too deep", strings.TrimSuffix(strings.Repeat("u/", 34), "/"), "lies below more than 32",
			[]Op{file(strings.Repeat("u/", 40) + "bottom")},
		},
	}
}
