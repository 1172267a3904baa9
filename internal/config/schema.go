package config

import (
	"strings"
	"time"
)

// field is one setting: the single place that says everything about a key. The tables of docs/config.md, the template
// of config.yaml, the environment's names and the checks are all made from it.
type field struct {
	key  string   // in config.yaml
	vm   []string // in vm.yaml: as it is written today, then older ways; empty if it is the same for all workspaces
	flag string   // name of the command line's flag, without dashes
	kind kind
	def  string // default, as text; resources are computed instead (Defaults)
	doc  string
	put  func(*Settings, any)
}

// env is the environment variable's name: the key without isolation and defaults, in capitals, after CAL_.
func (f *field) env() string {
	if f.key == "version" {
		return ""
	}
	short := strings.TrimPrefix(strings.TrimPrefix(f.key, "isolation."), "defaults.")
	return "CAL_" + strings.ToUpper(strings.ReplaceAll(short, ".", "_"))
}

const (
	keyCPU    = "isolation.defaults.vm.cpu"
	keyMemory = "isolation.defaults.vm.memory"
	keyDisk   = "isolation.defaults.vm.disk_size"
	keySync   = "isolation.defaults.output.sync_dir"
)

// schema lists the settings in the order of the template and the documentation.
var schema = []field{
	{
		key: "version", kind: versionNumber(), def: "1",
		doc: "version of this file's shape",
		put: func(s *Settings, v any) { s.Version = v.(int) },
	},
	{
		key: "agent", vm: []string{"agent"}, flag: "agent", def: "shell",
		kind: matching("an agent's id such as claude-code", nameRE.String()),
		doc:  "agent that Launch starts",
		put:  func(s *Settings, v any) { s.Agent = v.(string) },
	},
	{
		key: "terminal", flag: "terminal", def: "auto", kind: text("auto or a command", isTerminal),
		doc: "terminal that sessions open in: auto, or a command the session's command is appended to",
		put: func(s *Settings, v any) { s.Terminal = v.(string) },
	},
	{
		key: keyCPU, vm: []string{"resources.cpu", "cpu"}, flag: "cpu", kind: wholeNumber(1, 64),
		doc: "virtual processors",
		put: func(s *Settings, v any) { s.VM.CPU = v.(int) },
	},
	{
		key: keyMemory, vm: []string{"resources.memory", "memory"}, flag: "memory", kind: wholeNumber(256, 1048576),
		doc: "memory in MB (of 1024 kB)",
		put: func(s *Settings, v any) { s.VM.MemoryMB = v.(int) },
	},
	{
		key: keyDisk, vm: []string{"resources.disk_size", "disk_size"}, flag: "disk", kind: wholeNumber(4, 4096),
		doc: "disk in GB as the guest sees it; it can grow, never shrink",
		put: func(s *Settings, v any) { s.VM.DiskGB = v.(int) },
	},
	{
		key: "isolation.defaults.vm.base_image", vm: []string{"base_image"}, flag: "image",
		kind: matching("an image's name, or nothing for the driver's own", `^[A-Za-z0-9._/:@+-]{0,255}$`),
		doc:  "image new workspaces are made from; empty is the driver's own",
		put:  func(s *Settings, v any) { s.VM.BaseImage = v.(string) },
	},
	{
		key: "isolation.defaults.github.default_branch_prefix", vm: []string{"github.default_branch_prefix"},
		def: "agent/", kind: matching("the beginning of a branch name such as agent/",
			`^([A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*/)*([A-Za-z0-9_][A-Za-z0-9_-]*)?$`),
		doc: "what the names of agents' branches begin with",
		put: func(s *Settings, v any) { s.GitHub.BranchPrefix = v.(string) },
	},
	{
		key: "isolation.defaults.github.auto_push", vm: []string{"github.auto_push"}, def: "false", kind: yesNo(),
		doc: "push after every commit made through CALMenu",
		put: func(s *Settings, v any) { s.GitHub.AutoPush = v.(bool) },
	},
	{
		key: "isolation.defaults.github.create_pr", vm: []string{"github.create_pr"}, def: "false", kind: yesNo(),
		doc: "open a pull request after the first push of a branch",
		put: func(s *Settings, v any) { s.GitHub.CreatePR = v.(bool) },
	},
	{
		key: keySync, vm: []string{"output.sync_dir"}, def: "~/cal-output",
		kind: text("an absolute path or one that begins with ~/", isHostPath),
		doc:  "where artifacts land, one directory per workspace",
		put:  func(s *Settings, v any) { s.Output.SyncDir = v.(string) },
	},
	{
		key: "isolation.defaults.output.watch_patterns", vm: []string{"output.watch_patterns"},
		def:  "*",
		kind: listOf("name patterns such as *.ipa", isGlob),
		doc: "artifacts that a notification tells of when they have landed; everything lands, and what was refused or " +
			"would run by itself is told of in any case",
		put: func(s *Settings, v any) { s.Output.WatchPatterns = v.([]string) },
	},
	{
		key: "isolation.defaults.proxy.mode", vm: []string{"proxy.mode"}, flag: "proxy", def: "auto",
		kind: oneOf("auto", "on", "off"),
		doc:  "tunnel for the guest's network: auto turns it on where the guest cannot get out by itself",
		put:  func(s *Settings, v any) { s.Proxy.Mode = v.(string) },
	},
	{
		key: "isolation.snapshots.auto_snapshot_on_session_start", def: "true", kind: yesNo(),
		vm:  []string{"snapshots.auto_snapshot_on_session_start"},
		doc: "make a snapshot before each session",
		put: func(s *Settings, v any) { s.Snapshots.AutoOnSessionStart = v.(bool) },
	},
	{
		key: "isolation.snapshots.max_auto_snapshots", vm: []string{"snapshots.max_auto_snapshots"}, def: "3",
		kind: wholeNumber(1, 100),
		doc:  "automatic snapshots kept, newest first",
		put:  func(s *Settings, v any) { s.Snapshots.MaxAuto = v.(int) },
	},
	{
		key: "isolation.snapshots.auto_cleanup_after_days", vm: []string{"snapshots.auto_cleanup_after_days"},
		def: "7", kind: wholeNumber(0, 3650),
		doc: "days after which automatic snapshots go; 0 keeps them",
		put: func(s *Settings, v any) { s.Snapshots.CleanupAfterDays = v.(int) },
	},
	{
		key: "isolation.snapshots.snapshot_prefix", vm: []string{"snapshots.snapshot_prefix"}, def: "session",
		kind: matching("1 to 20 of a-z, 0-9 and -, beginning with a letter", `^[a-z][a-z0-9-]{0,19}$`),
		doc:  "what the names of automatic snapshots begin with",
		put:  func(s *Settings, v any) { s.Snapshots.Prefix = v.(string) },
	},
	{
		key: "isolation.snapshots.mode", vm: []string{"snapshots.mode"}, def: "auto", kind: oneOf("auto", "warm", "cold"),
		doc: "whether snapshots of a running workspace hold its memory too, so that a rollback resumes what ran (warm), or " +
			"its disk alone (cold); auto takes the memory where the driver can, warm fails where it cannot",
		put: func(s *Settings, v any) { s.Snapshots.Mode = v.(string) },
	},
	{
		key: "isolation.snapshots.periodic_minutes", vm: []string{"snapshots.periodic_minutes"}, def: "0",
		kind: wholeNumber(0, 1440),
		doc:  "minutes between the snapshots made while an agent is at work; 0 makes none",
		put:  func(s *Settings, v any) { s.Snapshots.PeriodicMinutes = v.(int) },
	},
	{
		key: "isolation.snapshots.max_periodic", vm: []string{"snapshots.max_periodic"}, def: "6",
		kind: wholeNumber(1, 100),
		doc:  "periodic snapshots kept; the older they are, the further apart",
		put:  func(s *Settings, v any) { s.Snapshots.MaxPeriodic = v.(int) },
	},
	{
		key: "isolation.snapshots.undo_keep", vm: []string{"snapshots.undo_keep"}, def: "3", kind: wholeNumber(1, 100),
		doc: "undo snapshots kept, newest first: how many rollbacks can be undone",
		put: func(s *Settings, v any) { s.Snapshots.UndoKeep = v.(int) },
	},
	{
		key: "isolation.snapshots.warn_free_gib", def: "5", kind: wholeNumber(0, 65536),
		doc: "GiB free on the host's disk below which CALMenu warns; 0 never warns",
		put: func(s *Settings, v any) { s.Snapshots.WarnFreeGiB = v.(int) },
	},
	{
		key: "isolation.snapshots.max_total_gib", vm: []string{"snapshots.max_total_gib"}, def: "0",
		kind: wholeNumber(0, 65536),
		doc: "GiB that a workspace's snapshots may hold before the oldest automatic ones go; 0 is no limit, and manual " +
			"ones never go",
		put: func(s *Settings, v any) { s.Snapshots.MaxTotalGiB = v.(int) },
	},
	{
		key: "isolation.check_interval", vm: []string{"isolation.check_interval"}, def: "60s",
		kind: duration(10*time.Second, 24*time.Hour),
		doc:  "how often isolation is checked again while a workspace runs",
		put:  func(s *Settings, v any) { s.Isolation.CheckInterval = v.(time.Duration) },
	},
	{
		key: "network.policy", vm: []string{"network.policy"}, flag: "network", def: "allowlist",
		kind: oneOf("allowlist", "ask", "open", "offline"),
		doc: "what becomes of destinations no rule is for: refused (allowlist), asked about (ask), or allowed if they are " +
			"public (open); offline refuses everything",
		put: func(s *Settings, v any) { s.Network.Policy = v.(string) },
	},
	{
		key: "network.rules", vm: []string{"network.rules"},
		kind: listOf("allow, deny or ask, and a destination such as *.example.org:443 or preset:npm", isRule),
		doc: "rules in order, before network.allow and all others; the first that is for a destination decides. A " +
			"workspace's list replaces the general one",
		put: func(s *Settings, v any) { s.Network.Rules = v.([]string) },
	},
	{
		key: "network.allow", vm: []string{"network.allow"},
		kind: listOf("names, *.names, addresses or CIDR ranges with an optional :port, or preset:NAME", isDestination),
		doc: "destinations the guest may reach, beside the package registries of this host and of its image. A " +
			"workspace's list replaces the general one",
		put: func(s *Settings, v any) { s.Network.Allow = v.([]string) },
	},
	{
		key: "network.hidden_names", vm: []string{"network.hidden_names"}, def: "false", kind: yesNo(),
		doc: "let connections be that do not show which name they are for (TLS without a server name, or with an encrypted " +
			"hello); one that was allowed for a name could be for any other of the same server",
		put: func(s *Settings, v any) { s.Network.HiddenNames = v.(bool) },
	},
	{
		key: "network.probe", vm: []string{"network.probe"}, def: "github.com:443", kind: text("a name and a port", isProbe),
		doc: "what a guest must reach by itself for the tunnel's mode auto to leave it alone",
		put: func(s *Settings, v any) { s.Network.Probe = v.(string) },
	},
	{
		key: "network.host_proxy", def: "auto",
		kind: text("auto, off, or an http, https or socks5 URL without a password", isHostProxy),
		doc: "proxy this host uses for the guests' connections: auto takes *_PROXY of the environment, then the system's " +
			"settings; its password is kept by `CALMenu net login`",
		put: func(s *Settings, v any) { s.Network.HostProxy = v.(string) },
	},
	{
		key: "network.host_proxy_pac", kind: text("an http, https or file URL, or an absolute path, or nothing", isPAC),
		doc: "proxy auto-configuration (PAC) that says which proxy this host uses, if network.host_proxy is auto",
		put: func(s *Settings, v any) { s.Network.HostProxyPAC = v.(string) },
	},
	{
		key: "network.ca_file", vm: []string{"network.ca_file"},
		kind: text("an absolute path or one that begins with ~/, or nothing", isOptionalPath),
		doc:  "PEM file of certificate authorities the guest is to trust as well",
		put: func(s *Settings, v any) {
			if s.Network.CAFile = v.(string); s.Network.CAFile != "" {
				s.Network.CAFile = expandHome(s.Network.CAFile)
			}
		},
	},
	{
		key: "network.transparent", vm: []string{"network.transparent"}, def: "auto",
		kind: oneOf("auto", "redirect", "sshuttle", "off"),
		doc: "how connections of programs that know no proxy are caught in the guest: by its kernel (redirect), by stock " +
			"sshuttle, by the first of the two that works (auto), or not (off)",
		put: func(s *Settings, v any) { s.Network.Transparent = v.(string) },
	},
	{
		key: "network.trust_host_ca", vm: []string{"network.trust_host_ca"}, def: "true", kind: yesNo(),
		doc: "let the guest trust the certificate authorities the host trusts",
		put: func(s *Settings, v any) { s.Network.TrustHostCA = v.(bool) },
	},
	{
		key: "vm.accel", vm: []string{"vm.accel"}, flag: "accel", def: "auto", kind: oneOf("auto", "kvm", "tcg"),
		doc: "how QEMU runs the guest: by the processor (kvm) or in software (tcg); auto tries the first",
		put: func(s *Settings, v any) { s.VM.Accel = v.(string) },
	},
	{
		key: "vm.template", def: "auto", kind: oneOf("auto", "off"),
		doc: "whether new workspaces start as copies of one that has booted, where the driver can; auto makes such a template " +
			"beside the first workspace of its size",
		put: func(s *Settings, v any) { s.VM.Template = v.(string) },
	},
	{
		key: "vm.keep_running_on_quit", def: "ask", kind: oneOf("ask", "keep", "stop"),
		doc: "what Quit does with workspaces that run",
		put: func(s *Settings, v any) { s.VM.KeepRunningOnQuit = v.(string) },
	},
	{
		key: "vm.keeper", def: "auto", kind: oneOf("auto", "off"),
		doc: "whether a process of CALMenu stays with a workspace that runs where neither the menu-bar agent nor a session looks " +
			"after it: without one it has no network, nothing of it lands, and its isolation is not checked again",
		put: func(s *Settings, v any) { s.VM.Keeper = v.(string) },
	},
	{
		key: "image.mirror", kind: text("an http or https URL without a password, or nothing", isMirror),
		doc: "Debian mirror the guest image is built from; empty takes the host's own",
		put: func(s *Settings, v any) { s.Image.Mirror = v.(string) },
	},
	{
		key: "session.prefix_key", def: "ctrl-]",
		kind: matching(`ctrl- and one of a-z [ ] \ ^ _ @`, `^ctrl-[a-z\[\]\\^_@]$`),
		doc:  "key that opens the bar of hotkeys in a session; twice sends the key itself",
		put:  func(s *Settings, v any) { s.Session.PrefixKey = v.(string) },
	},
	{
		key: "session.banner", def: "true", kind: yesNo(),
		doc: "keep the status banner in the session's top line",
		put: func(s *Settings, v any) { s.Session.Banner = v.(bool) },
	},
	{
		key: "session.clipboard_write", def: "true", kind: yesNo(),
		doc: "let programs in the guest put text on the host's clipboard (OSC 52); reading it is never allowed",
		put: func(s *Settings, v any) { s.Session.ClipboardWrite = v.(bool) },
	},
	{
		key: "session.clipboard_max", def: "1MB", kind: byteSize("1kB", "16MB"),
		doc: "longest text a program in the guest may put on the clipboard",
		put: func(s *Settings, v any) { s.Session.ClipboardMax = v.(int64) },
	},
	{
		key: "session.notify_waiting", def: "true", kind: yesNo(),
		doc: "tell by a notification that an agent waits while its window is not in front",
		put: func(s *Settings, v any) { s.Session.NotifyWaiting = v.(bool) },
	},
	{
		key: "session.quiet_after", def: "20s", kind: duration(time.Second, time.Hour),
		doc: "how long an agent that was at work must be silent to count as waiting",
		put: func(s *Settings, v any) { s.Session.QuietAfter = v.(time.Duration) },
	},
	{
		key: "session.confirm", def: "terminal", kind: oneOf("terminal", "dialog"),
		doc: "where Launch in the menu confirms: in the terminal it opens, or in a dialog before it (of a VM that runs)",
		put: func(s *Settings, v any) { s.Session.Confirm = v.(string) },
	},
	{
		key: "session.on_exit", def: "ask", kind: oneOf("ask", "keep"),
		doc: "what follows the end of an agent: the questions about its work, or none",
		put: func(s *Settings, v any) { s.Session.OnExit = v.(string) },
	},
	{
		key: "session.disposable", vm: []string{"disposable"}, def: "false", kind: yesNo(),
		doc: "the workspace is deleted when its session ends, unless it is kept (what `session --disposable` makes)",
		put: func(s *Settings, v any) { s.Session.Disposable = v.(bool) },
	},
	{
		key: "session.autonomous_deadline", def: "1h", kind: duration(time.Second, 7*24*time.Hour),
		doc: "how long an agent started with --autonomous may work before it is ended",
		put: func(s *Settings, v any) { s.Session.AutonomousDeadline = v.(time.Duration) },
	},
	{
		key: "outbox.transport", vm: []string{"outbox.transport"}, def: "auto", kind: oneOf("auto", "ssh", "share"),
		doc: "how ~/output comes to the host: over the SSH connection, or by a staging folder of the host that the guest " +
			"writes into (which rules out warm snapshots); auto is ssh; share fails where the driver cannot",
		put: func(s *Settings, v any) { s.Outbox.Transport = v.(string) },
	},
	{
		key: "outbox.max_file", vm: []string{"outbox.max_file"}, def: "2GB", kind: byteSize("1kB", "1TB"),
		doc: "largest file taken from the guest",
		put: func(s *Settings, v any) { s.Outbox.MaxFile = v.(int64) },
	},
	{
		key: "outbox.max_total", vm: []string{"outbox.max_total"}, def: "20GB", kind: byteSize("1kB", "10TB"),
		doc: "most that is kept of one workspace's artifacts",
		put: func(s *Settings, v any) { s.Outbox.MaxTotal = v.(int64) },
	},
	{
		key: "outbox.max_files", vm: []string{"outbox.max_files"}, def: "20000", kind: wholeNumber(1, 1000000),
		doc: "most files that are kept of one workspace",
		put: func(s *Settings, v any) { s.Outbox.MaxFiles = v.(int) },
	},
	{
		key: "outbox.rate_limit", vm: []string{"outbox.rate_limit"}, def: "0B", kind: byteSize("0B", "1TB"),
		doc: "most bytes a second that are brought in over SSH; 0B is as many as come",
		put: func(s *Settings, v any) { s.Outbox.RateLimit = v.(int64) },
	},
	{
		key: "outbox.keep_versions", vm: []string{"outbox.keep_versions"}, def: "5", kind: wholeNumber(1, 1000),
		doc: "earlier contents of an artifact that are kept when it lands again",
		put: func(s *Settings, v any) { s.Outbox.KeepVersions = v.(int) },
	},
	{
		key: "outbox.exclude", vm: []string{"outbox.exclude"},
		kind: listOf("name patterns such as *.o or node_modules", isGlob),
		doc:  "names, or elements of names, that do not land and are not told of",
		put:  func(s *Settings, v any) { s.Outbox.Exclude = v.([]string) },
	},
	{
		key: "ui.theme", def: "auto", kind: oneOf("auto", "light", "dark"),
		doc: "colours of the icon: by the desktop, or for a light or dark bar",
		put: func(s *Settings, v any) { s.UI.Theme = v.(string) },
	},
	{
		key: "ui.show_logs", def: "true", kind: yesNo(),
		doc: "show Logs in the menu",
		put: func(s *Settings, v any) { s.UI.ShowLogs = v.(bool) },
	},
	{
		key: "ui.notifications", def: "true", kind: yesNo(),
		doc: "post desktop notifications",
		put: func(s *Settings, v any) { s.UI.Notifications = v.(bool) },
	},
	{
		key: "ui.start_at_login", def: "false", kind: yesNo(),
		doc: "start CALMenu when the user logs in",
		put: func(s *Settings, v any) { s.UI.StartAtLogin = v.(bool) },
	},
	{
		key: "update.check", def: "true", kind: yesNo(),
		doc: "ask the project once a day whether there is a newer release, and tell in the menu; only releases ask, " +
			"and nothing is installed",
		put: func(s *Settings, v any) { s.Update.Check = v.(bool) },
	},
}

// fieldByKey finds a setting by its key in config.yaml.
var fieldByKey = func() map[string]*field {
	m := make(map[string]*field, len(schema))
	for i := range schema {
		m[schema[i].key] = &schema[i]
	}
	return m
}()
