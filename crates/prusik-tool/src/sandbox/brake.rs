//! A bound on threads that the kernel itself keeps: the supervisor can say in words that there are too many
//! processes, but a fork bomb would leave it no time to look.
//!
//! Users have `RLIMIT_NPROC`, which does not hold for root. Root can make control groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::spec::SandboxLimits;

/// What groups of ours are called.
const PREFIX: &str = "prusik-cage-";
/// Threads for each process that is allowed, and a few for the cage.
const THREADS_FACTOR: u64 = 4;
const THREADS_OF_CAGE: u64 = 16;
/// A group can be removed when its last process is gone, which takes a moment.
const REMOVALS_MAX: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// A control group that bounds what is in it. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Brake(PathBuf);

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Brake {
    /// Makes a group, where this process may make one.
    pub fn of(limits: &SandboxLimits) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let above = own_group()?;
        remove_left(&above);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let group = above.join(format!("{PREFIX}{}-{count}", std::process::id()));
        fs::create_dir(&group).ok()?;
        let brake = Self(group);
        let most = u64::from(limits.processes).saturating_mul(THREADS_FACTOR) + THREADS_OF_CAGE;
        fs::write(brake.0.join("pids.max"), most.to_string()).ok()?;
        Some(brake)
    }

    /// Puts a process into the group, and with it all that come of it from now on.
    pub fn hold(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        if fs::remove_dir(&self.0).is_ok() {
            return;
        }
        let group = std::mem::take(&mut self.0);
        std::thread::spawn(move || {
            for _ in 0..REMOVALS_MAX {
                std::thread::sleep(REMOVAL_PAUSE);
                if fs::remove_dir(&group).is_ok() || !group.exists() {
                    return;
                }
            }
        });
    }
}

/// Returns the folder of the group that this process is in and that can count threads.
fn own_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let at = |root: &str, below: &str| {
        let path = Path::new(root).join(below.trim_start_matches('/'));
        path.is_dir().then_some(path)
    };
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, below) = (parts.next()?, parts.next()?);
        if controllers.split(',').any(|name| name == "pids") {
            return at("/sys/fs/cgroup/pids", below);
        }
        // The second version has one tree for all, if what is above hands the counting down.
        let path = controllers.is_empty().then(|| at("/sys/fs/cgroup", below))??;
        let handed = fs::read_to_string(path.join("cgroup.subtree_control")).ok()?;
        handed.split_whitespace().any(|name| name == "pids").then_some(path)
    })
}

/// Removes groups that killed processes have left. Those in which something runs stay by themselves.
fn remove_left(above: &Path) {
    let Ok(listed) = fs::read_dir(above) else { return };
    for entry in listed.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        if let Some((owner, _)) = owner
            && !Path::new("/proc").join(owner).exists()
        {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
