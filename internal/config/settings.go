package config

import "time"

// Settings are all values a person can set, as one view: of config.yaml (Config) or of a workspace (Workspace).
// docs/config.md says what each does; the names here follow the keys.
type Settings struct {
	Version   int
	Agent     string // id in the agent catalogue
	Terminal  string // "auto" or a command; see TerminalCommand
	VM        VMSettings
	Image     ImageSettings
	GitHub    GitHubSettings
	Output    OutputSettings
	Proxy     ProxySettings
	Network   NetworkSettings
	Snapshots SnapshotSettings
	Session   SessionSettings
	Outbox    OutboxSettings
	Isolation IsolationSettings
	UI        UISettings
	Update    UpdateSettings
}

// VMSettings are the machine's resources and how it is run.
type VMSettings struct {
	CPU               int
	MemoryMB          int    // in MiB
	DiskGB            int    // in GiB, as the guest sees it
	BaseImage         string // empty: the driver's default image
	Accel             string // "auto", "kvm" or "tcg"
	Template          string // "auto" or "off"
	KeepRunningOnQuit string // "ask", "keep" or "stop"
	Keeper            string // "auto" or "off"
}

// ImageSettings say how base images are made.
type ImageSettings struct {
	Mirror string // URL of a Debian mirror, empty for the host's own
}

// GitHubSettings say how agents' work goes to GitHub.
type GitHubSettings struct {
	BranchPrefix string
	AutoPush     bool
	CreatePR     bool
}

// OutputSettings say where artifacts land.
type OutputSettings struct {
	SyncDir       string // absolute; ~ is expanded
	WatchPatterns []string
}

// ProxySettings say when the guest's network goes through the tunnel.
type ProxySettings struct {
	Mode string // "auto", "on" or "off"
}

// NetworkSettings say what the guest may reach.
type NetworkSettings struct {
	Policy       string   // "allowlist", "ask", "open" or "offline"
	Rules        []string // each valid for netpolicy.ParseEntry
	Allow        []string // each valid for netpolicy.ParseDestination
	HiddenNames  bool
	Probe        string // name:port
	HostProxy    string // "auto", "off" or a URL
	HostProxyPAC string // URL, path or empty
	Transparent  string // "auto", "redirect", "sshuttle" or "off"
	TrustHostCA  bool
	CAFile       string // absolute or with ~/; empty: none
}

// SnapshotSettings say when snapshots are made by themselves and how long they stay.
type SnapshotSettings struct {
	AutoOnSessionStart bool
	MaxAuto            int
	CleanupAfterDays   int // 0: never by age
	Prefix             string
	Mode               string // "auto", "warm" or "cold"
	PeriodicMinutes    int    // 0: no periodic snapshots
	MaxPeriodic        int
	UndoKeep           int
	WarnFreeGiB        int // of the host's disk; 0: no warning
	MaxTotalGiB        int // of one workspace's snapshots; 0: no limit
}

// SessionSettings are those of the terminal session.
type SessionSettings struct {
	PrefixKey string // such as "ctrl-]"; see PrefixByte
	Banner    bool
	// ClipboardWrite lets the guest write the host's clipboard, ClipboardMax bytes at a time.
	ClipboardWrite bool
	ClipboardMax   int64
	NotifyWaiting  bool
	QuietAfter     time.Duration // silence that counts as waiting
	Confirm        string        // "terminal" or "dialog"
	OnExit         string        // "ask" or "keep"
	// AutonomousDeadline bounds an agent that nobody watches.
	AutonomousDeadline time.Duration
	// Disposable: the workspace goes when its session ends.
	Disposable bool
}

// OutboxSettings limit what is taken from the guest's ~/output.
type OutboxSettings struct {
	MaxFile      int64 // bytes
	MaxTotal     int64 // bytes
	MaxFiles     int
	RateLimit    int64 // bytes a second that are taken over SSH; 0: as many as come
	KeepVersions int
	Exclude      []string
	Transport    string // "auto", "ssh" or "share"
}

// IsolationSettings are those of the isolation checks.
type IsolationSettings struct {
	CheckInterval time.Duration
}

// UISettings are those of the menu and the desktop.
type UISettings struct {
	Theme         string // "auto", "light" or "dark"
	ShowLogs      bool
	Notifications bool
	StartAtLogin  bool
}

// UpdateSettings say whether newer releases are looked for.
type UpdateSettings struct {
	Check bool
}

// AgentSettings are the keys of agents.<id>: what the user adds to, or changes in, the agent catalogue. A zero field is
// not set.
type AgentSettings struct {
	Name           string
	InstallCommand Command
	Probe          Command
	ConfigDir      string
	DefaultMode    string
	LaunchCommand  Command
	PromptArgs     []string
	AutonomousArgs []string
	HeadlessArgs   []string
	AuthCheck      Command
	AuthCommand    Command
	AuthHosts      []string
	LogoutCommand  Command
	Requires       []string
	Homepage       string
}

// Command is a command as a person writes it: a list is argv; a text is split into words, and is a script for the
// guest's sh if it needs more than words and quotes.
type Command struct {
	Argv   []string
	Script string
}

// IsZero tells whether the command is not set.
func (c Command) IsZero() bool { return len(c.Argv) == 0 && c.Script == "" }

// Args returns argv to run the command with; a script becomes sh -c SCRIPT.
func (c Command) Args() []string {
	if c.Script != "" {
		return []string{"sh", "-c", c.Script}
	}
	return append([]string(nil), c.Argv...)
}

// Repo is a repository a workspace's vm.yaml names.
type Repo struct {
	Name     string
	URL      string
	Branch   string
	ClonedAt time.Time
}

// AgentPermissions are the keys of agent_config.<id> in vm.yaml: what an agent is told it may do. It is advice to the
// agent; the boundary is the virtual machine.
type AgentPermissions struct {
	Mode         string
	AllowedTools []string
	DeniedTools  []string
	AutoApprove  []string
	Deny         []string
}

// ListedSnapshot is an entry of the older vm.yaml's list of snapshots. The driver's own list is what counts.
type ListedSnapshot struct {
	Name      string
	CreatedAt time.Time
}
