//! The folder that the file tools are confined to.
//!
//! A path is never handed to the operating system as a whole. It is walked one component at a
//! time from the open workspace folder, each step relative to the folder before it and with
//! symlinks not followed by the kernel but read and walked here by the same rules. So neither a
//! link, `..`, nor a folder that is swapped for a link while we look can lead outside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::problem::{Kind, Problem};

/// Longest path that is looked at, in bytes (Linux's `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;
/// Most symlinks that one path may lead through (the kernel's own limit).
const LINKS_MAX: usize = 40;
/// Most components walked for one path, those of its links included.
const STEPS_MAX: usize = 4096;

/// A folder and what in it may never be written.
#[derive(Debug)]
pub struct Workspace {
    dir: OwnedFd,
    /// The real path: links in the path to the workspace are resolved once, here.
    root: PathBuf,
    /// The path as it was given, which a person or a model may write too.
    given: PathBuf,
    /// Relative to the root, links resolved.
    protected: Vec<PathBuf>,
    /// The same, for what may not even be read.
    hidden: Vec<PathBuf>,
}

/// What a path is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Read,
    /// Missing folders on the way are made; protected paths are refused.
    Write,
}

/// Where a path leads.
#[derive(Debug)]
pub enum Place {
    Folder {
        dir: OwnedFd,
        rel: PathBuf,
    },
    /// Something in `parent` that is not a folder, or is not there (`stat` is `None`).
    Entry {
        parent: OwnedFd,
        name: OsString,
        rel: PathBuf,
        stat: Option<Stat>,
    },
}

impl Place {
    /// Returns the path relative to the workspace, links resolved.
    pub fn rel(&self) -> &Path {
        match self {
            Self::Folder { rel, .. } | Self::Entry { rel, .. } => rel,
        }
    }
}

impl Workspace {
    /// Opens the folder at `root`. Each of `protected` is a path, absolute or relative to `root`,
    /// that is never written, nor anything below it, whether it exists yet or not; what is `hidden` is
    /// not read either.
    pub fn open(root: &Path, protected: &[PathBuf], hidden: &[PathBuf]) -> std::io::Result<Self> {
        let real = root.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&real, flags, Mode::empty())?;
        let relative = |paths: &[PathBuf]| {
            let mut relative = Vec::new();
            for path in paths {
                let absolute = real.join(path);
                // Both the name and what it leads to are meant.
                for path in [absolute.canonicalize().ok(), Some(absolute)].into_iter().flatten() {
                    for base in [real.as_path(), root] {
                        if let Ok(rel) = path.strip_prefix(base)
                            && !relative.contains(&rel.to_owned())
                        {
                            relative.push(rel.to_owned());
                        }
                    }
                }
            }
            relative
        };
        let (protected, hidden) = (relative(protected), relative(hidden));
        Ok(Self { dir, root: real, given: root.to_owned(), protected, hidden })
    }

    /// Returns the real path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Walks `path` and returns where it leads. Only the last component may be missing, and none
    /// of it leads outside.
    pub fn find(&self, path: &str, intent: Intent) -> Result<Place, Problem> {
        let mut walk = Walk { workspace: self, path, intent, folders: Vec::new(), links: 0 };
        walk.run(self.relative(path)?)
    }

    /// Opens an existing ordinary file for reading. Never blocks on a pipe or a device.
    pub fn open_file(&self, path: &str) -> Result<(File, Stat), Problem> {
        match self.find(path, Intent::Read)? {
            Place::Folder { .. } => {
                Err(Problem::new(Kind::NotAFile, format!("{path} is a folder")))
            }
            Place::Entry { stat: None, .. } => {
                Err(Problem::new(Kind::NotFound, format!("{path} does not exist")))
            }
            Place::Entry { parent, name, stat: Some(stat), .. } => {
                regular(&stat, path)?;
                open_entry(&parent, &name, path)
            }
        }
    }

    /// Reads an ordinary file whole.
    pub fn read_file(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, Problem> {
        let (file, stat) = self.open_file(path)?;
        read_bounded(file, &stat, path, bytes_max)
    }

    fn relative<'a>(&self, path: &'a str) -> Result<&'a Path, Problem> {
        if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains('\0') {
            let message = format!("a path has 1 to {PATH_BYTES_MAX} bytes and no NUL");
            return Err(Problem::new(Kind::InvalidPath, message));
        }
        let path = Path::new(path);
        if path.is_relative() {
            return Ok(path);
        }
        self.inside(path).ok_or_else(|| outside(&path.to_string_lossy()))
    }

    /// Returns what follows the workspace in an absolute path.
    fn inside<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(&self.given)).ok()
    }

    fn refuses(&self, rel: &Path, intent: Intent) -> bool {
        is_below(rel, &self.hidden) || (intent == Intent::Write && is_below(rel, &self.protected))
    }
}

/// One walk: the open folders from the workspace down to where we stand.
struct Walk<'a> {
    workspace: &'a Workspace,
    path: &'a str,
    intent: Intent,
    folders: Vec<(OwnedFd, OsString)>,
    links: usize,
}

impl Walk<'_> {
    fn run(&mut self, start: &Path) -> Result<Place, Problem> {
        let mut pending = components(start);
        let mut steps = 0;
        while let Some(name) = pending.pop_front() {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Problem::new(Kind::InvalidPath, format!("{}: too long", self.path)));
            }
            if name == ".." {
                self.folders.pop().ok_or_else(|| outside(self.path))?;
                continue;
            }
            let rel = self.rel().join(&name);
            if self.workspace.refuses(&rel, self.intent) {
                let message = format!("{} is protected", rel.display());
                return Err(Problem::new(Kind::Protected, message));
            }
            let stat = match rustix::fs::statat(self.here(), &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(Problem::of_errno(errno, self.path)),
            };
            match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Some(FileType::Symlink) => self.follow(&name, &mut pending)?,
                Some(FileType::Directory) => self.enter(name)?,
                None if !pending.is_empty() && self.intent == Intent::Write => {
                    match rustix::fs::mkdirat(self.here(), &name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => self.enter(name)?,
                        Err(errno) => return Err(Problem::of_errno(errno, self.path)),
                    }
                }
                // FileType is the system's; what is neither link nor folder ends the walk.
                kind => {
                    return if pending.is_empty() {
                        Ok(Place::Entry { parent: self.here_owned()?, name, rel, stat })
                    } else {
                        let kind = if kind.is_none() { Kind::NotFound } else { Kind::NotAFolder };
                        let message =
                            format!("{}: there is no folder {}", self.path, rel.display());
                        Err(Problem::new(kind, message))
                    };
                }
            }
        }
        Ok(Place::Folder { dir: self.here_owned()?, rel: self.rel() })
    }

    fn here(&self) -> &OwnedFd {
        self.folders.last().map_or(&self.workspace.dir, |(dir, _)| dir)
    }

    fn here_owned(&self) -> Result<OwnedFd, Problem> {
        self.here().try_clone().map_err(|error| Problem::of_io(&error, self.path))
    }

    fn rel(&self) -> PathBuf {
        self.folders.iter().map(|(_, name)| name).collect()
    }

    fn enter(&mut self, name: OsString) -> Result<(), Problem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(self.here(), &name, flags, Mode::empty())
            .map_err(|errno| Problem::of_errno(errno, self.path))?;
        self.folders.push((dir, name));
        Ok(())
    }

    /// Puts the target of the link `name` in front of what is still to be walked.
    fn follow(&mut self, name: &OsStr, pending: &mut VecDeque<OsString>) -> Result<(), Problem> {
        self.links += 1;
        if self.links > LINKS_MAX {
            let message = format!("{}: more than {LINKS_MAX} symlinks", self.path);
            return Err(Problem::new(Kind::InvalidPath, message));
        }
        let target = rustix::fs::readlinkat(self.here(), name, Vec::new())
            .map_err(|errno| Problem::of_errno(errno, self.path))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        let relative = if target.is_absolute() {
            self.folders.clear();
            self.workspace.inside(&target).ok_or_else(|| outside(self.path))?
        } else {
            &target
        };
        for name in components(relative).into_iter().rev() {
            pending.push_front(name);
        }
        Ok(())
    }
}

/// Letters' case is ignored, because some file systems do.
fn is_below(rel: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| {
        let mut parts = rel.components();
        folder.components().all(|part| {
            parts
                .next()
                .is_some_and(|other| other.as_os_str().eq_ignore_ascii_case(part.as_os_str()))
        })
    })
}

fn components(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn outside(path: &str) -> Problem {
    Problem::new(Kind::OutsideWorkspace, format!("{path} leads outside the workspace"))
}

fn regular(stat: &Stat, path: &str) -> Result<(), Problem> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok(())
    } else {
        Err(Problem::new(Kind::NotAFile, format!("{path} is not an ordinary file")))
    }
}

/// Opens what was seen to be an ordinary file, and checks that it still is.
fn open_entry(parent: &OwnedFd, name: &OsStr, path: &str) -> Result<(File, Stat), Problem> {
    let problem = |errno| Problem::of_errno(errno, path);
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(problem)?;
    let stat = rustix::fs::fstat(&file).map_err(problem)?;
    regular(&stat, path)?;
    Ok((File::from(file), stat))
}

fn read_bounded(file: File, stat: &Stat, path: &str, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let too_large = |bytes: u64| {
        let message = format!("{path} has {bytes} bytes or more; the limit is {bytes_max}");
        Problem::new(Kind::TooLarge, message)
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > bytes_max {
        return Err(too_large(size));
    }
    // The file may grow while it is read.
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::of_io(&error, path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes_max + 1));
    }
    Ok(bytes)
}

/// A file about to get new content as a whole: readers see the old or the new, also after a crash.
#[derive(Debug)]
pub struct Replacement {
    parent: OwnedFd,
    name: OsString,
    temporary: Option<OsString>,
    path: String,
}

static TEMPORARY_COUNT: AtomicU64 = AtomicU64::new(0);

impl Replacement {
    /// Writes `bytes` beside the file at `path`, durably. The file itself is as it was until
    /// [`Self::commit`].
    pub fn stage(workspace: &Workspace, path: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let Place::Entry { parent, name, stat, .. } = workspace.find(path, Intent::Write)? else {
            return Err(Problem::new(Kind::NotAFile, format!("{path} is a folder")));
        };
        let mode = match stat {
            Some(stat) => {
                regular(&stat, path)?;
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                if !mode.contains(Mode::WUSR) {
                    return Err(Problem::new(Kind::Forbidden, format!("{path} is read-only")));
                }
                Some(mode)
            }
            None => None,
        };
        // A name that is too long for the folder is found out before anything is made.
        if name.as_bytes().len() > 255 {
            return Err(Problem::of_errno(Errno::NAMETOOLONG, path));
        }
        let problem = |errno| Problem::of_errno(errno, path);
        let (temporary, file) = create_temporary(&parent).map_err(problem)?;
        let staged = Self { parent, name, temporary: Some(temporary), path: path.to_owned() };
        let mut file = File::from(file);
        file.write_all(bytes).map_err(|error| Problem::of_io(&error, path))?;
        if let Some(mode) = mode {
            rustix::fs::fchmod(&file, mode).map_err(problem)?;
        }
        file.sync_all().map_err(|error| Problem::of_io(&error, path))?;
        Ok(staged)
    }

    /// Puts the new content in place, durably.
    pub fn commit(mut self) -> Result<(), Problem> {
        let problem = |errno| Problem::of_errno(errno, &self.path);
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(&self.parent, temporary, &self.parent, &self.name)
                .map_err(problem)?;
        }
        self.temporary = None;
        rustix::fs::fsync(&self.parent).map_err(|errno| Problem::of_errno(errno, &self.path))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Best effort: a file that is left behind harms nobody.
            let _ = rustix::fs::unlinkat(&self.parent, &temporary, AtFlags::empty());
        }
    }
}

fn create_temporary(parent: &OwnedFd) -> Result<(OsString, OwnedFd), Errno> {
    loop {
        let count = TEMPORARY_COUNT.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!(".prusik-{}-{count}.tmp", std::process::id()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => return Ok((name, file)),
            // Left by a killed process that had our number.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
