package app

// autonomousStart begins an agent's work in the guest, apart from the connection that asked for it: in a session and
// process group of its own, its input at the end, its output in a file. A lock, which ends with the process that watches
// over the agent, tells whether one is at work. Arguments: directory, seconds until the deadline, seconds between TERM
// and KILL, the agent's argv. perl is in every guest and knows process groups; setsid(1) is not in macOS.
const autonomousStart = `use strict; use Fcntl ":flock"; use POSIX qw(setsid :sys_wait_h);
my ($dir, $limit, $grace, @argv) = @ARGV;
my $d = ""; for (split m{/}, $dir) { $d .= ($d eq "" ? "" : "/") . $_; mkdir $d, 0700 }
mkdir "workspace"; umask 077;
open(my $lock, ">>", "$dir/lock") or die "opening $dir/lock: $!\n";
my $got; for (1 .. 20) { last if $got = flock($lock, LOCK_EX | LOCK_NB); select(undef, undef, undef, 0.1) }
exit 96 unless $got;
unlink "$dir/exit"; rename "$dir/log", "$dir/log.before";
open(my $log, ">", "$dir/log") or die "opening $dir/log: $!\n";
defined(my $own = fork) or die "starting: $!\n";
exit 0 if $own;
setsid();
open STDIN, "<", "/dev/null"; open STDOUT, ">>", "/dev/null"; open STDERR, ">>", "/dev/null";
my $stop = 0; $SIG{TERM} = $SIG{INT} = sub { $stop = 130 };
my $agent = fork;
if (defined $agent && !$agent) {
  $SIG{TERM} = $SIG{INT} = "DEFAULT"; setpgrp(0, 0);
  open STDOUT, ">>&", $log; open STDERR, ">>&", $log; chdir "workspace";
  { exec { $argv[0] } @argv } print STDERR "starting $argv[0]: $!\n"; POSIX::_exit(127);
}
setpgrp($agent, $agent) if $agent;
if (open(my $f, ">", "$dir/pid")) { print $f "$$\n"; close $f }
my ($end, $status, $told) = (time + $limit, undef, 0);
while (defined $agent) {
  $status = $? if !defined $status && waitpid($agent, WNOHANG) == $agent;
  last if defined $status && !$stop;
  $stop ||= 124 if time >= $end;
  if ($stop) {
    last if defined $status && !kill 0, -$agent;
    if (!$told) { kill "TERM", -$agent; $told = time }
    elsif (time >= $told + $grace) { kill "KILL", -$agent; waitpid($agent, 0) unless defined $status; last }
  }
  select(undef, undef, undef, 0.1);
}
my $code = $stop ? $stop : !defined $status ? 125 : $status & 127 ? 128 + ($status & 127) : $status >> 8;
if (open(my $f, ">", "$dir/exit.new")) { print $f "$code\n"; close $f; rename "$dir/exit.new", "$dir/exit" }
`

// autonomousFollow prints what an agent has written from an offset on, until it has ended. It ends with 0 then, and with
// 98 if the agent is gone without a word: its machine was stopped or rolled back. Arguments: directory, offset.
const autonomousFollow = `use strict; use Fcntl ":flock"; my ($dir, $at) = @ARGV; $| = 1;
open(my $log, "<", "$dir/log") or exit 98; seek($log, $at, 0); my ($b, $last);
for (;;) {
  while (sysread($log, $b, 32768)) { print $b or exit 1 }
  exit $last if defined $last;
  if (-e "$dir/exit") { $last = 0; next }
  if (open(my $lock, "<", "$dir/lock")) {
    if (flock($lock, LOCK_SH | LOCK_NB)) { $last = -e "$dir/exit" ? 0 : 98; next }
  } else { $last = 98; next }
  select(undef, undef, undef, 0.2);
}
`

// autonomousAlive ends with 0 if an agent is at work by itself. Argument: directory.
const autonomousAlive = `use Fcntl ":flock"; open(my $l, "<", "$ARGV[0]/lock") or exit 1; ` +
	`exit(flock($l, LOCK_SH | LOCK_NB) ? 1 : 0)`

// autonomousStop asks the process that watches over the agent to end it. Argument: directory.
const autonomousStop = `open(my $f, "<", "$ARGV[0]/pid") or exit 1; kill "TERM", <$f> + 0`

// Exit codes of the scripts above.
const (
	autonomousBusy = 96
	autonomousGone = 98
)
