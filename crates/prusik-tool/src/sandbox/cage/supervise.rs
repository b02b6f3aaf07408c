//! Watches over a command from outside of the floor, and tells how it ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait,
};
use tokio::signal::unix::{SignalKind, signal};

use super::super::aside::Guard;
use super::super::spec::{CAGE, ENTER, End, Input, Layer, Limit, Report, Spec, Telling};
use super::{complain, relay, tree};

/// How often the command is looked at closely, and how often whether there is reason to.
const LOOK: Duration = Duration::from_millis(25);
const GLANCE: Duration = Duration::from_millis(5);
/// How long a command whose input has ended may go on: a server ends by that.
const SERVER_GRACE: Duration = Duration::from_millis(1500);
/// How long what was killed may take to be gone.
const DEATH_MAX: Duration = Duration::from_secs(5);
/// Longest line that lets the command begin.
const PASSWORD_BYTES_MAX: usize = 128;
/// What a file that grows too large ends a process with.
const FILE_TOO_LARGE: i32 = libc::SIGXFSZ;
/// A shell says of a signalled command this much more than the signal's number.
const SHELL_SIGNAL: i32 = 128;

/// Runs the command and returns its exit code, or why it was not begun.
pub fn supervise(spec: &Spec, command: &[OsString]) -> Result<ExitCode, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    if spec.layer == Layer::Namespaces && !tree::is_first() {
        return Err("there is no namespace around it".to_owned());
    }
    // Descriptors that somebody above us has left open would lead outside.
    close_fds::set_fds_cloexec(3, &[]);
    // What is said here in confidence cannot be read from our memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("dumpable: {error}"))?;
    if spec.layer == Layer::Floor {
        // Any number but none means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| format!("subreaper: {error}"))?;
    }
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed("input"))?;
    let mut input = File::from(input);
    // The host has written us down by then. If it died before, nothing has begun.
    let Some(password) = password(&mut input).map_err(failed("input"))? else {
        return Ok(ExitCode::FAILURE);
    };
    let asked = asked_to_end().map_err(failed("signals"))?;
    let guard = Guard::over(spec);
    let temporary = Temporary::of(spec.layer).map_err(failed("temporary folder"))?;
    let mut line = Command::new("/proc/self/exe");
    line.args([CAGE, ENTER]);
    line.arg(entry(spec, &temporary)?).args(command).current_dir(&spec.folder);
    temporary.tell(&mut line);
    if let Some(proxy) = &spec.proxy {
        let port = relay::start(proxy).map_err(failed("proxy"))?;
        let url = format!("http://127.0.0.1:{port}");
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            line.env(name, &url);
        }
        line.env("no_proxy", "localhost,127.0.0.1,::1").env("NO_PROXY", "localhost,127.0.0.1,::1");
    }
    if spec.input == Input::Nothing {
        line.stdin(Stdio::null());
    }
    if spec.telling == Telling::Report {
        let _ = writeln!(io::stderr(), "{password} begun");
    }
    let child = line.spawn().map_err(failed("cannot start the helper again"))?;
    let child = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    let (end, limit) = watch(spec, child, &input, &asked);
    let report = Report { end, limit, set_aside: guard.set_aside() };
    drop(temporary);
    Ok(tell(spec, &password, &report))
}

/// Reads one line and not a byte more: what follows is the command's.
fn password(input: &mut File) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < PASSWORD_BYTES_MAX {
        if input.read(&mut byte)? == 0 {
            return Ok(None);
        }
        if byte[0] == b'\n' {
            return Ok(String::from_utf8(line).ok());
        }
        line.push(byte[0]);
    }
    Ok(None)
}

/// Returns the spec as the command's side needs it.
fn entry(spec: &Spec, temporary: &Temporary) -> Result<String, String> {
    let mut spec = spec.clone();
    spec.writable.extend(temporary.0.as_ref().map(|folder| folder.path().to_owned()));
    serde_json::to_string(&spec).map_err(|error| error.to_string())
}

/// A folder for the command's temporary files, its home among them. It goes with the command.
struct Temporary(Option<tempfile::TempDir>);

impl Temporary {
    /// A namespace has a `/tmp` of its own.
    fn of(layer: Layer) -> io::Result<Self> {
        let made = || tempfile::Builder::new().prefix("prusik-cage-").tempdir();
        Ok(Self(match layer {
            Layer::Namespaces => None,
            Layer::Floor => Some(made()?),
        }))
    }

    fn tell(&self, line: &mut Command) {
        let folder = self.0.as_ref().map_or_else(|| PathBuf::from("/tmp"), |f| f.path().to_owned());
        // A server may have been given others in so many words.
        if std::env::var_os("HOME").is_none() {
            let home = folder.join("home");
            // Without it programs find no home, and do without.
            let _ = std::fs::create_dir_all(&home);
            line.env("HOME", home);
        }
        if std::env::var_os("TMPDIR").is_none() {
            line.env("TMPDIR", folder);
        }
    }
}

/// Waits until the command has ended or must, ends what is left of it, and returns how it ended.
fn watch(spec: &Spec, child: i32, input: &File, asked: &AtomicBool) -> (End, Option<Limit>) {
    let ended = reap();
    let parent = rustix::process::getppid();
    let mut end = None;
    let mut limit = None;
    let mut gone_since = None;
    let mut looked = Instant::now();
    let mut threads = tree::threads_of_machine();
    loop {
        match ended.recv_timeout(GLANCE) {
            Ok((pid, status)) if pid == child => {
                end = Some(status);
                break;
            }
            // An orphan that came to us.
            Ok(_) => continue,
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody is left.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // Between two close looks a fork bomb would have filled the machine.
        let more = tree::threads_of_machine().saturating_sub(threads);
        if looked.elapsed() < LOOK && more < u64::from(spec.limits.processes) / 2 {
            continue;
        }
        limit = exceeded(spec);
        (looked, threads) = (Instant::now(), tree::threads_of_machine());
        if limit.is_some() || asked.load(Ordering::Acquire) {
            break;
        }
        if rustix::process::getppid() != parent || has_hung_up(input) {
            let since: &Instant = gone_since.get_or_insert_with(Instant::now);
            let grace = match spec.input {
                Input::Nothing => Duration::ZERO,
                Input::Passed => SERVER_GRACE,
            };
            if since.elapsed() >= grace {
                break;
            }
        }
    }
    if let Some(status) = end_all(spec.layer, child, end.is_some(), &ended) {
        end.get_or_insert(status);
    }
    let end = end.unwrap_or(End::Signalled(libc::SIGKILL));
    let too_large = [End::Signalled(FILE_TOO_LARGE), End::Exited(SHELL_SIGNAL + FILE_TOO_LARGE)];
    (end, limit.or_else(|| too_large.contains(&end).then_some(Limit::FileSize)))
}

/// Returns what becomes true when somebody sends SIGTERM: on the floor, what the command started would
/// otherwise outlive us.
fn asked_to_end() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _within = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    thread::spawn(move || {
        runtime.block_on(signals.recv());
        told.store(true, Ordering::Release);
    });
    Ok(asked)
}

fn exceeded(spec: &Spec) -> Option<Limit> {
    let members = tree::members(spec.layer);
    if members.len() > spec.limits.processes as usize {
        return Some(Limit::Processes);
    }
    let most = spec.limits.memory_mb.saturating_mul(1024 * 1024);
    (tree::memory(&members, most) > most).then_some(Limit::Memory)
}

/// Kills until nobody is left. All orphans come to us, so nobody is missed. Returns how the command ended
/// if it did meanwhile.
fn end_all(layer: Layer, child: i32, has_ended: bool, ended: &Receiver<(i32, End)>) -> Option<End> {
    let begun = Instant::now();
    let mut end = None;
    // The command's own group in one stroke, before anything takes time. Once it was waited for, its number
    // may be another's.
    if let (false, Some(group)) = (has_ended, Pid::from_raw(child)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    loop {
        tree::kill(layer);
        loop {
            match ended.recv_timeout(Duration::from_millis(5)) {
                Ok((pid, status)) if pid == child => end = Some(status),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return end,
            }
        }
        if begun.elapsed() > DEATH_MAX {
            // In a namespace our own end is theirs; else the host looks again.
            complain("processes of the command do not end even when they are killed");
            return end;
        }
    }
}

/// Waits for whoever ends, in a thread of its own. The channel closes when there is nobody to wait for.
fn reap() -> Receiver<(i32, End)> {
    let (sender, ended) = channel();
    thread::spawn(move || {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let told = sender.send((pid.as_raw_nonzero().get(), end_of(status)));
                    if told.is_err() {
                        return;
                    }
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    ended
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        // Nobody asked to be told of stops.
        (None, None) => End::Signalled(libc::SIGKILL),
    }
}

/// Returns whether the other end of our input is closed: the host is gone, or wants the command to end.
fn has_hung_up(input: &File) -> bool {
    let mut asked = [PollFd::new(input, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|_| asked[0].revents().contains(PollFlags::HUP))
}

fn tell(spec: &Spec, password: &str, report: &Report) -> ExitCode {
    match spec.telling {
        Telling::Report => {
            let report = serde_json::to_string(report).unwrap_or_default();
            let _ = writeln!(io::stderr(), "\n{password} {report}");
        }
        Telling::Words => {
            if let Some(limit) = report.limit {
                complain(&limit.words(&spec.limits));
            }
            for (from, to) in &report.set_aside {
                complain(&format!("{} is protected: it is now {}", from.display(), to.display()));
            }
        }
    }
    let code = match report.end {
        End::Exited(code) => code,
        End::Signalled(signal) => SHELL_SIGNAL + signal,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
