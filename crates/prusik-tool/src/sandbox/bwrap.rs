//! The namespaces: what bubblewrap is told.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::grounds::{HIDDEN_OF_SYSTEM, SYSTEM};
use super::spec::Spec;

/// The command's temporary files live in memory; this share of its memory at most.
const TEMPORARY_SHARE: u64 = 2;
const SHARED_MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a hidden folder has room for.
const NOTHING_BYTES: u64 = 4096;
/// Who the command is inside. Nobody it meets outside is that.
const USER: &str = "1000";

/// What of `/proc` belongs to root and stays writable to a root without capabilities.
const KERNEL: [&str; 6] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi"];

/// Returns bubblewrap's arguments, up to the command.
pub fn arguments(spec: &Spec, helper: &Path) -> Vec<OsString> {
    let mut line = Line::default();
    // The group is not left (`--new-session`): a signal to it ends process 1, and with it the namespace. The
    // command itself begins a session of its own.
    for flag in [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--as-pid-1",
    ] {
        line.put(&[flag]);
    }
    line.put(&["--uid", USER, "--gid", USER, "--hostname", "sandbox", "--cap-drop", "ALL"]);
    for system in SYSTEM {
        line.system(Path::new(system));
    }
    for hidden in HIDDEN_OF_SYSTEM {
        line.hide(Path::new(hidden));
    }
    line.put(&["--proc", "/proc"]);
    for kernel in KERNEL {
        line.put(&["--ro-bind-try", kernel, kernel]);
    }
    line.put(&["--dev", "/dev"]);
    line.memory("/dev/shm", SHARED_MEMORY_BYTES_MAX);
    line.put(&["--remount-ro", "/dev"]);
    line.memory("/tmp", spec.limits.memory_mb.saturating_mul(1024 * 1024) / TEMPORARY_SHARE);
    line.put(&["--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp"]);
    // A folder comes before what lies in it, or it would cover that.
    let mut binds: Vec<(&Path, &str)> = Vec::new();
    binds.extend(spec.readable.iter().map(|path| (path.as_path(), "--ro-bind")));
    binds.extend(spec.writable.iter().map(|path| (path.as_path(), "--bind")));
    binds.push((helper, "--ro-bind"));
    for path in &spec.protected {
        // A link is not mounted over; that it stays what it is, is looked after.
        if path.is_symlink() {
            continue;
        }
        // A folder on the way could be renamed, and another put in its place. A mount cannot.
        let roots = |above: &Path| spec.writable.iter().any(|root| root == above);
        let way = path.ancestors().skip(1).take_while(|above| !roots(above));
        binds.extend(way.map(|above| (above, "--bind")));
        binds.push((path, "--ro-bind"));
    }
    binds.sort_by(|(one, how), (other, other_how)| {
        one.components().count().cmp(&other.components().count()).then(how.cmp(other_how))
    });
    binds.dedup();
    for (path, how) in binds {
        line.bind(how, path, path);
    }
    for hidden in &spec.hidden {
        line.hide(hidden);
    }
    if let Some(proxy) = &spec.proxy {
        line.bind("--ro-bind", proxy, proxy);
    }
    line.put(&["--remount-ro", "/", "--chdir"]);
    line.0.push(spec.folder.clone().into());
    line.put(&["--"]);
    line.0
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn put(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.0.extend([how.into(), from.into(), to.into()]);
    }

    /// Shows a folder of the system: as the link that it may be.
    fn system(&mut self, path: &Path) {
        match fs::read_link(path) {
            Ok(target) => self.bind("--symlink", &target, path),
            Err(_) if path.exists() => self.bind("--ro-bind", path, path),
            Err(_) => {}
        }
    }

    fn memory(&mut self, path: &str, bytes: u64) {
        self.put(&["--size", &bytes.to_string(), "--perms", "1777", "--tmpfs", path]);
    }

    /// Covers a file by nothing and a folder by an empty one.
    fn hide(&mut self, path: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        if real.is_dir() {
            self.put(&["--size", &NOTHING_BYTES.to_string(), "--perms", "0500", "--tmpfs"]);
            self.0.push(real.clone().into());
            self.put(&["--remount-ro"]);
            self.0.push(real.into());
        } else {
            self.bind("--ro-bind", Path::new("/dev/null"), &real);
        }
    }
}

/// Returns the program in a folder of the search path. What the search path names relative to some
/// folder is not looked at.
pub fn on_path(name: &str, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let folders = std::env::split_paths(path?).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|program| is_program(program))
}

pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
