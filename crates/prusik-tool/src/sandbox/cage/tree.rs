//! The processes of a command: who they are, what they use, and how they are ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::spec::Layer;

/// Returns the processes that belong to the command, ours not among them.
pub fn members(layer: Layer) -> Vec<i32> {
    let alive = processes();
    let own = own_pid();
    match layer {
        // The namespace has no others.
        Layer::Namespaces => alive.into_keys().filter(|pid| *pid != own).collect(),
        Layer::Floor => descendants(&alive, own),
    }
}

/// Returns the living processes that descend from `ancestor`.
fn descendants(alive: &BTreeMap<i32, Process>, ancestor: i32) -> Vec<i32> {
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = alive.iter().filter(|(_, process)| process.parent == parent);
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Kills the members that are there at this moment.
pub fn kill(layer: Layer) {
    match layer {
        // All at once, before any of them can fork. Elsewhere than in process 1 of a namespace this would
        // be everybody.
        Layer::Namespaces if is_first() => {
            let _ = kill_process_group(Pid::INIT, Signal::KILL);
        }
        Layer::Namespaces => {}
        Layer::Floor => kill_each(),
    }
}

/// Returns whether this is process 1.
pub fn is_first() -> bool {
    own_pid() == 1
}

fn kill_each() {
    let alive = processes();
    let members = descendants(&alive, own_pid());
    // Most are in one group, which ends at once. Ours is another: the command began a session.
    let own = alive.get(&own_pid()).map(|own| own.group);
    let groups: BTreeSet<i32> = members
        .iter()
        .filter_map(|pid| alive.get(pid).map(|process| process.group))
        .filter(|group| *group > 1 && Some(*group) != own)
        .collect();
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // It may have gone since, here and below.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // Who is stopped forks no more while the others are killed.
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in members.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Returns how many threads the machine has, for next to nothing; see `proc_loadavg(5)`.
pub fn threads_of_machine() -> u64 {
    let Ok(load) = fs::read_to_string("/proc/loadavg") else { return 0 };
    let of = |load: &str| load.split(' ').nth(3)?.split_once('/')?.1.parse().ok();
    of(&load).unwrap_or(0)
}

/// Returns the memory that processes use together, in bytes. What is shared counts once where
/// that decides.
pub fn memory(members: &[i32], limit: u64) -> u64 {
    let quick: u64 = members.iter().map(|pid| resident(*pid)).sum();
    if quick <= limit {
        return quick;
    }
    // Now it pays to look closely: forks share most of their pages.
    members.iter().map(|pid| proportional(*pid).unwrap_or_else(|| resident(*pid))).sum()
}

/// Memory that is no file's, as `/proc/PID/status` tells.
fn resident(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    fields(&status, &["RssAnon:", "RssShmem:"])
}

/// The same with each shared page divided among those who have it.
fn proportional(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(fields(&rollup, &["Pss_Anon:", "Pss_Shmem:"]))
}

/// Sums lines of the form `Name:   123 kB`, in bytes.
fn fields(text: &str, names: &[&str]) -> u64 {
    let kib = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    text.lines().filter_map(kib).sum::<u64>() * 1024
}

/// Returns how many threads the user of this process has.
pub fn threads_of_user() -> u64 {
    let user = rustix::process::getuid().as_raw();
    let of = |pid: i32| {
        let path = format!("/proc/{pid}");
        let own = fs::metadata(&path).is_ok_and(|metadata| metadata.uid() == user);
        let tasks = || fs::read_dir(format!("{path}/task")).map_or(0, Iterator::count);
        if own { tasks() as u64 } else { 0 }
    };
    processes().into_keys().map(of).sum()
}

/// A process that can still act.
#[derive(Debug, Clone, Copy)]
struct Process {
    parent: i32,
    group: i32,
}

fn processes() -> BTreeMap<i32, Process> {
    let Ok(listed) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let of = |name: &str| {
        let pid: i32 = name.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in brackets and may hold any character. See proc_pid_stat(5).
        let mut rest = stat.rsplit_once(") ")?.1.split(' ');
        let has_ended = rest.next()?.starts_with(['Z', 'X']);
        let (parent, group) = (rest.next()?.parse().ok()?, rest.next()?.parse().ok()?);
        (!has_ended).then_some((pid, Process { parent, group }))
    };
    listed.filter_map(|entry| of(entry.ok()?.file_name().to_str()?)).collect()
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_at_any_depth_and_strangers_are_not() {
        let alive = [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 8), (4, 7)];
        let alive = alive.map(|(pid, parent)| (pid, Process { parent, group: pid }));
        let mut found = descendants(&BTreeMap::from(alive), 5);
        found.sort_unstable();
        assert_eq!(found, [4, 6, 7]);
    }

    #[test]
    fn lines_of_memory_are_summed_and_others_are_not() {
        let text = "VmRSS:\t  999 kB\nRssAnon:\t     10 kB\nRssFile:\t 7 kB\nRssShmem:\t 2 kB\n";
        assert_eq!(fields(text, &["RssAnon:", "RssShmem:"]), 12 * 1024);
        assert_eq!(fields("RssAnon: many kB", &["RssAnon:"]), 0);
    }
}
