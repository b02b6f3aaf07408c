//! The processes that were started for the runs of one store, written down so that whoever takes a run
//! over from a process that was killed can end what that process left running.
//!
//! A server or a command outlives us when we are killed: a call that it is still at work on could
//! land after its probe has said that it did not. So each process that starts any keeps a file, which
//! it holds locked for as long as it lives, with a line for each group that it started. Before a run
//! goes on, the groups of every file whose owner is dead are ended.
//!
//! What cannot be reached this way: what left its process group (a daemon), and what a server has
//! asked of another machine.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Held while files of this folder come and go.
const GATE: &str = "gate";
/// How long what was left running may take to end by itself (its input is closed), and again after
/// SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Where this process writes down the groups that it starts. The file goes when this is dropped.
#[derive(Debug, Clone)]
pub struct Children(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Locked until this process ends, however it does.
    file: File,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // If it stays, the next who looks finds nobody of it and removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why what a dead process left running could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    #[error("cannot keep track of child processes in {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "process group {group}, left running by a process that was killed, does not end even when it \
         is killed; end it (`kill -9 -{group}`) or wait, and try again"
    )]
    Undying { group: i32 },
}

impl Children {
    /// Begins a file in `folder` for the groups that this process will start.
    pub fn kept_in(folder: &Path) -> Result<Self, OrphanError> {
        let opened = || {
            fs::create_dir_all(folder)?;
            let _gate = pass(folder)?;
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
            let path = folder.join(format!("{}-{since}", std::process::id()));
            let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
            file.lock()?;
            Ok(Self(Arc::new(Kept { path, file })))
        };
        opened().map_err(|source| OrphanError::Io { path: folder.to_owned(), source })
    }

    /// Kills every group that this process has started and that still lives, as a crash would.
    pub fn kill(&self) -> io::Result<()> {
        let mut file = File::open(&self.0.path)?;
        for group in left_of(&mut file)? {
            signal_tree(group, Signal::KILL)?;
        }
        Ok(())
    }

    /// Writes down a group by its leader, which must not have been asked for anything yet.
    pub(crate) fn note(&self, leader: i32) -> io::Result<()> {
        let begun = processes()?.remove(&leader).map(|process| process.begun).unwrap_or_default();
        (&self.0.file).write_all(format!("{leader} {begun}\n").as_bytes())
    }
}

/// Ends the groups that dead processes have left, and returns how many there were. When this has
/// returned, none of them acts any more. It may take a few seconds; it is not for an async task.
pub fn end_orphans(folder: &Path) -> Result<usize, OrphanError> {
    let io = |source| OrphanError::Io { path: folder.to_owned(), source };
    if !folder.is_dir() {
        return Ok(0);
    }
    // Others who look at the same time wait here until what they would look for is gone.
    let _gate = pass(folder).map_err(io)?;
    let mut ended = 0;
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name() == GATE {
            continue;
        }
        let mut file = match File::open(entry.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        for group in left_of(&mut file).map_err(io)? {
            end(group).map_err(io)?.then_some(()).ok_or(OrphanError::Undying { group })?;
            ended += 1;
        }
        fs::remove_file(entry.path()).map_err(io)?;
    }
    Ok(ended)
}

fn pass(folder: &Path) -> io::Result<File> {
    let gate = OpenOptions::new().create(true).append(true).open(folder.join(GATE))?;
    gate.lock()?;
    Ok(gate)
}

/// Returns the groups of a file that still live.
fn left_of(file: &mut File) -> io::Result<Vec<i32>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let alive = processes()?;
    let noted = text.lines().filter_map(|line| line.split_once(' '));
    let noted = noted.filter_map(|(leader, begun)| Some((leader.parse().ok()?, begun)));
    let ours = noted.filter(|(group, begun)| match alive.get(group) {
        // Another process has come by the number since.
        Some(leader) if leader.begun != *begun => false,
        // No process is given the number of a group that still has members.
        Some(_) | None => alive.values().any(|process| process.group == *group),
    });
    Ok(ours.map(|(group, _)| group).collect())
}

/// Ends a group; false if it cannot be ended.
fn end(group: i32) -> io::Result<bool> {
    if is_gone_within(GRACE, group)? {
        return Ok(true);
    }
    for signal in [Signal::TERM, Signal::KILL] {
        signal_tree(group, signal)?;
        if is_gone_within(GRACE, group)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Signals a group, and before it those of its descendants who have left it: once their parents are gone nobody
/// can tell whose they are.
pub(crate) fn signal_tree(group: i32, signal: Signal) -> io::Result<()> {
    let alive = processes()?;
    let mut tree: Vec<i32> = of_group(&alive, group).collect();
    let members = tree.len();
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        let children = alive.iter().filter(|(_, process)| process.parent == parent);
        let children: Vec<i32> =
            children.map(|(pid, _)| *pid).filter(|pid| !tree.contains(pid)).collect();
        tree.extend(children);
        at += 1;
    }
    for pid in tree.split_off(members) {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may have ended in the meantime.
            let _ = kill_process(pid, signal);
        }
    }
    if let Some(pid) = Pid::from_raw(group) {
        // The only error that can come is that nobody is left, or nobody who is ours.
        let _ = kill_process_group(pid, signal);
    }
    Ok(())
}

fn of_group(alive: &BTreeMap<i32, Process>, group: i32) -> impl Iterator<Item = i32> {
    alive.iter().filter(move |(_, process)| process.group == group).map(|(pid, _)| *pid)
}

fn is_gone_within(grace: Duration, group: i32) -> io::Result<bool> {
    let deadline = Instant::now() + grace;
    loop {
        if !processes()?.values().any(|process| process.group == group) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// A process that can still act.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    group: i32,
    /// When it began, in whatever words the system has for that.
    begun: String,
}

/// Returns the processes that can still act, by number.
fn processes() -> io::Result<BTreeMap<i32, Process>> {
    if Path::new("/proc/self/stat").exists() { processes_of_proc() } else { processes_of_ps() }
}

fn processes_of_proc() -> io::Result<BTreeMap<i32, Process>> {
    // Numbers start anew, and clocks with them, when the machine does.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have gone since.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name stands in brackets and may hold any character. See proc_pid_stat(5).
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let [mode, parent, group, ..] = &fields[..] else { continue };
        let Some(begun) = fields.get(19) else { continue };
        if let (false, Ok(parent), Ok(group)) = (has_ended(mode), parent.parse(), group.parse()) {
            let begun = format!("{begun}@{}", boot.trim());
            found.insert(pid, Process { parent, group, begun });
        }
    }
    Ok(found)
}

fn processes_of_ps() -> io::Result<BTreeMap<i32, Process>> {
    let listed = Command::new("ps")
        .args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat=", "-o", "lstart="])
        .env("LC_ALL", "C")
        .output()?;
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [pid, parent, group, mode, begun @ ..] = &fields[..] else { continue };
        let numbers = (pid.parse(), parent.parse(), group.parse());
        if let (false, (Ok(pid), Ok(parent), Ok(group))) = (has_ended(mode), numbers) {
            found.insert(pid, Process { parent, group, begun: begun.join("_") });
        }
    }
    Ok(found)
}

/// A process that has ended and was not waited for stays in the list.
fn has_ended(mode: &str) -> bool {
    mode.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Stdio};

    use super::*;

    /// A leader that ignores polite words, with a child in its group.
    fn stubborn() -> Child {
        Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 60 & echo ready; wait; sleep 60"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn ready(child: &mut Child) -> i32 {
        let mut word = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        i32::try_from(child.id()).unwrap()
    }

    fn left_by_the_dead(folder: &Path, line: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("1-1"), line).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_ended_and_what_a_living_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("children");
        assert_eq!(end_orphans(&folder).unwrap(), 0);
        let ours = Children::kept_in(&folder).unwrap();
        let mut kept = stubborn();
        let kept_group = ready(&mut kept);
        ours.note(kept_group).unwrap();

        let mut orphan = stubborn();
        let group = ready(&mut orphan);
        let begun = &processes().unwrap()[&group].begun;
        left_by_the_dead(&folder, &format!("{group} {begun}\n"));
        assert_eq!(end_orphans(&folder).unwrap(), 1);
        let alive = processes().unwrap();
        assert!(alive.values().all(|process| process.group != group), "{alive:?}");
        assert!(alive.values().any(|process| process.group == kept_group));
        assert!(!folder.join("1-1").exists());
        assert_eq!(end_orphans(&folder).unwrap(), 0);

        drop(ours);
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [GATE]);
        kill_process_group(Pid::from_raw(kept_group).unwrap(), Signal::KILL).unwrap();
        kept.wait().unwrap();
        orphan.wait().unwrap();
    }

    #[test]
    fn a_stranger_with_the_same_number_and_a_damaged_file_harm_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut stranger = stubborn();
        let group = ready(&mut stranger);
        let lines = format!("{group} another time\nnonsense\n\n0\n-1 x\n999999999 y\n");
        left_by_the_dead(folder.path(), &lines);
        assert_eq!(end_orphans(folder.path()).unwrap(), 0);
        assert!(stranger.try_wait().unwrap().is_none());
        kill_process_group(Pid::from_raw(group).unwrap(), Signal::KILL).unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn both_ways_to_list_processes_agree() {
        let mut child = stubborn();
        let group = ready(&mut child);
        let by_ps = processes_of_ps().unwrap();
        for (pid, process) in processes_of_proc().unwrap() {
            if process.group == group {
                assert_eq!(by_ps[&pid].group, group);
                assert_eq!(by_ps[&pid], processes_of_ps().unwrap()[&pid]);
            }
        }
        assert!(by_ps.values().filter(|process| process.group == group).count() >= 2);
        kill_process_group(Pid::from_raw(group).unwrap(), Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
