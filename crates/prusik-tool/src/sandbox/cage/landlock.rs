//! The floor's half for files and, on newer kernels, for signals and sockets: Landlock.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};

use super::super::grounds::{HIDDEN_OF_SYSTEM, SYSTEM};
use super::super::spec::{Layer, Spec};

/// What the floor cannot do without: with less, files elsewhere could be emptied.
const LEAST: ABI = ABI::V3;
/// What is asked for where the kernel has it.
const MOST: ABI = ABI::V10;

/// Devices that a command may use.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];
/// What tells of the machine and of nobody's processes. A process's own folder cannot be granted: the rule would
/// hold for that one process.
const MACHINE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/proc/vmstat",
];

type Result<T> = std::result::Result<T, String>;

/// Restricts this process. On the floor it is an error where Landlock is missing; in namespaces it
/// comes on top of them.
pub fn restrict(spec: &Spec) -> Result<()> {
    let created = match created(spec.layer) {
        Ok(created) => created,
        Err(_) if spec.layer == Layer::Namespaces => return Ok(()),
        Err(problem) => {
            return Err(format!(
                "this kernel has no Landlock of version 3 or newer (Linux 6.2): {problem}"
            ));
        }
    };
    let granted = match spec.layer {
        Layer::Namespaces => in_namespaces(created, spec)?,
        Layer::Floor => on_the_floor(created, spec)?,
    };
    let status = granted.restrict_self().map_err(|error| format!("Landlock: {error}"))?;
    match (status.ruleset, spec.layer) {
        (RulesetStatus::NotEnforced, Layer::Floor) => Err("Landlock is not in force".to_owned()),
        (RulesetStatus::NotEnforced, Layer::Namespaces)
        | (RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced, _) => Ok(()),
    }
}

fn created(layer: Layer) -> Result<RulesetCreated> {
    let begun = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(LEAST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(MOST))?
            .scope(Scope::from_all(MOST))?;
        match layer {
            // The namespace has a network of its own, in which tests may start their servers.
            Layer::Namespaces => ruleset.create(),
            Layer::Floor => ruleset.handle_access(AccessNet::from_all(MOST))?.create(),
        }
    };
    begun().map_err(|error: landlock::RulesetError| error.to_string())
}

/// The namespace holds only what may be seen, and read-only what may not be written. Of what it cannot
/// be without, such as `/proc`, the kernel's own files belong to root.
fn in_namespaces(mut ruleset: RulesetCreated, spec: &Spec) -> Result<RulesetCreated> {
    ruleset = grant(ruleset, Path::new("/"), AccessFs::from_read(MOST))?;
    for device in DEVICES.iter().chain(&["/dev/pts"]) {
        ruleset = grant_if_there(ruleset, Path::new(device), device_access())?;
    }
    let own = ["/tmp", "/dev/shm"].map(PathBuf::from);
    for path in own.iter().chain(&spec.writable) {
        ruleset = grant(ruleset, path, AccessFs::from_all(MOST))?;
    }
    Ok(ruleset)
}

fn on_the_floor(mut ruleset: RulesetCreated, spec: &Spec) -> Result<RulesetCreated> {
    let hidden: Vec<PathBuf> = HIDDEN_OF_SYSTEM.iter().map(PathBuf::from).collect();
    let hidden: Vec<&Path> = hidden.iter().chain(&spec.hidden).map(PathBuf::as_path).collect();
    let read = AccessFs::from_read(MOST);
    for system in SYSTEM {
        if let Ok(system) = fs::canonicalize(system) {
            ruleset = carve(ruleset, &system, read, &[], &hidden)?;
        }
    }
    for path in &spec.readable {
        ruleset = carve(ruleset, path, read, &[], &hidden)?;
    }
    for path in MACHINE {
        ruleset = grant_if_there(ruleset, Path::new(path), read)?;
    }
    for device in DEVICES {
        ruleset = grant_if_there(ruleset, Path::new(device), device_access())?;
    }
    let protected: Vec<&Path> = spec.protected.iter().map(PathBuf::as_path).collect();
    for path in &spec.writable {
        ruleset = carve(ruleset, path, AccessFs::from_all(MOST), &protected, &hidden)?;
    }
    Ok(ruleset)
}

/// Grants `access` below `path`, but for what is protected (which may be read) and hidden. A right holds for
/// all below, so around an exception each neighbour is granted by itself, and the folder with the
/// exception is only listed: nothing can be made, renamed or removed in it.
fn carve(
    mut ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    protected: &[&Path],
    hidden: &[&Path],
) -> Result<RulesetCreated> {
    if hidden.contains(&path) {
        return Ok(ruleset);
    }
    let access =
        if protected.contains(&path) { access & AccessFs::from_read(MOST) } else { access };
    if !protected.iter().chain(hidden).any(|other| *other != path && other.starts_with(path)) {
        return grant_if_there(ruleset, path, access);
    }
    ruleset = grant(ruleset, path, AccessFs::ReadDir.into())?;
    let listed = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for entry in listed {
        let entry = entry.map_err(|error| format!("{}: {error}", path.display()))?;
        // A link gives nothing but what its target has.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            ruleset = carve(ruleset, &entry.path(), access, protected, hidden)?;
        }
    }
    Ok(ruleset)
}

fn device_access() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev
}

fn grant_if_there(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated> {
    if path.exists() { grant(ruleset, path, access) } else { Ok(ruleset) }
}

fn grant(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let opened = PathFd::new(path).map_err(|error| failed(&error))?;
    // Rights of folders mean nothing to a file.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(MOST) };
    ruleset.add_rule(PathBeneath::new(opened, access)).map_err(|error| failed(&error))
}
