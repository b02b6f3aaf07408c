//! The installed packages that a server may be made of, copied for real.
//!
//! A server may keep its data among its own files, and may write them in place: neither symbolic nor
//! hard links to what is installed would be safe. So each folder of packages is copied. A copy that is
//! as it was made is used again; that is known from the sizes and inode times of its files.

use std::collections::BTreeMap;
use std::fs::{self, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Folders of packages, as tools of developers call them.
pub const NAMES: [&str; 3] = ["node_modules", ".venv", "venv"];
/// Most files and bytes of packages that are copied.
const FILES_MAX: u64 = 200_000;
const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Deepest folder of packages. A link may lead round in a circle.
const DEPTH_MAX: usize = 64;
/// Most files that are restored one by one.
const RESTORED_MAX: usize = 64;
/// What Python makes by itself of what it reads.
const COMPILED: &str = "__pycache__";

/// A copy of a project's packages.
#[derive(Debug)]
pub struct Programs {
    /// The folder that they stand in.
    pub folder: PathBuf,
    prints: BTreeMap<PathBuf, Print>,
}

/// What tells that a file was touched. The inode's time cannot be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    bytes: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Print {
    fn of(file: &Metadata) -> Self {
        Self {
            bytes: file.len(),
            inode: file.ino(),
            seconds: file.ctime(),
            nanoseconds: file.ctime_nsec(),
        }
    }
}

impl Programs {
    /// Copies the packages of the project at `root` into `folder`.
    pub fn copy(root: &Path, folder: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        for name in NAMES {
            let from = root.join(name);
            if from.is_dir() {
                let real = from.canonicalize()?;
                let mut copying = Copying { root: &root, name, real: &real, files: 0, bytes: 0 };
                copying.folder(&from, Path::new(name), folder, 0)?;
            }
        }
        Ok(Self { folder: folder.to_owned(), prints: prints(folder)? })
    }

    /// Moves them to another folder of the same file system.
    pub fn move_to(&mut self, folder: &Path) -> io::Result<()> {
        for name in NAMES {
            if self.folder.join(name).is_dir() {
                fs::rename(self.folder.join(name), folder.join(name))?;
            }
        }
        folder.clone_into(&mut self.folder);
        Ok(())
    }

    /// Makes them as they were copied; false if that is easier done by another copy.
    pub fn restore(&mut self, root: &Path) -> io::Result<bool> {
        let changed = self.changed()?;
        if changed.len() > RESTORED_MAX {
            return Ok(false);
        }
        for below in &changed {
            let (from, to) = (root.join(below), self.folder.join(below));
            let is_file = |path: &Path| path.symlink_metadata().map(|found| found.is_file());
            if matches!(is_file(&to), Ok(false)) {
                return Ok(false);
            }
            if self.prints.remove(below).is_some() && !matches!(is_file(&from), Ok(true)) {
                return Ok(false);
            }
            if to.exists() {
                fs::remove_file(&to)?;
            }
            if is_file(&from).is_ok() {
                copy_file(&from, &to)?;
                self.prints.insert(below.clone(), Print::of(&to.metadata()?));
            }
        }
        Ok(self.changed()?.is_empty())
    }

    /// Returns the files and folders that are not as they were copied.
    pub fn changed(&self) -> io::Result<Vec<PathBuf>> {
        let now = prints(&self.folder)?;
        let paths =
            self.prints.keys().chain(now.keys().filter(|path| !self.prints.contains_key(*path)));
        let changed = paths.filter(|path| self.prints.get(*path) != now.get(*path));
        Ok(changed.cloned().collect())
    }
}

struct Copying<'a> {
    /// The project's folder, without links in its path.
    root: &'a Path,
    /// The folder of packages that is copied, and where it really is.
    name: &'a str,
    real: &'a Path,
    files: u64,
    bytes: u64,
}

impl Copying<'_> {
    fn folder(&mut self, from: &Path, below: &Path, to: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(self.too_much("is nested too deeply, or in a circle"));
        }
        fs::create_dir_all(to.join(below))?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let below = below.join(entry.file_name());
            if kind.is_dir() {
                self.folder(&path, &below, to, depth + 1)?;
            } else if kind.is_file() {
                self.file(&path, &to.join(&below))?;
            } else if kind.is_symlink() {
                self.link(&path, &below, to, depth)?;
            }
        }
        Ok(())
    }

    /// A link within what is copied stays one; what another leads to is copied, but for programs that
    /// are installed elsewhere, such as the Python of a virtual environment.
    fn link(&mut self, path: &Path, below: &Path, to: &Path, depth: usize) -> io::Result<()> {
        // It may lead nowhere.
        let Ok(target) = path.canonicalize() else { return Ok(()) };
        let within = match target.strip_prefix(self.real) {
            Ok(rest) => Some(Path::new(self.name).join(rest)),
            Err(_) => target.strip_prefix(self.root).ok().map(Path::to_owned),
        };
        if let Some(within) = within {
            let up = below.components().count() - 1;
            let way: PathBuf = std::iter::repeat_n("..", up).collect();
            return symlink(way.join(within), to.join(below));
        }
        let found = target.metadata()?;
        if found.is_dir() {
            self.folder(&target, below, to, depth + 1)
        } else if found.is_file() && found.permissions().mode() & 0o111 != 0 {
            symlink(target, to.join(below))
        } else if found.is_file() {
            self.file(&target, &to.join(below))
        } else {
            Ok(())
        }
    }

    fn file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let found = from.metadata()?;
        self.files += 1;
        self.bytes += found.len();
        if self.files > FILES_MAX || self.bytes > BYTES_MAX {
            let limit = format!("has more than {FILES_MAX} files or {BYTES_MAX} bytes");
            return Err(self.too_much(&limit));
        }
        copy_file(from, to)
    }

    fn too_much(&self, what: &str) -> io::Error {
        let name = self.name;
        io::Error::other(format!(
            "{name} {what}; try it in a folder of its own, whose {name} has only what the servers need"
        ))
    }
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    // What Python has compiled counts only for a source of the same time.
    let times = FileTimes::new().set_modified(from.metadata()?.modified()?);
    fs::File::open(to)?.set_times(times)
}

fn prints(folder: &Path) -> io::Result<BTreeMap<PathBuf, Print>> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = NAMES.iter().map(PathBuf::from).collect();
    folders.retain(|name| folder.join(name).is_dir());
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = below.join(entry.file_name());
            if kind.is_dir() {
                if entry.file_name() != COMPILED {
                    let inode = entry.ino();
                    found.insert(
                        path.clone(),
                        Print { bytes: 0, inode, seconds: 0, nanoseconds: 0 },
                    );
                    folders.push(path);
                }
                continue;
            }
            match entry.metadata() {
                Ok(file) => found.insert(path, Print::of(&file)),
                // Gone since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn nothing_that_is_written_through_a_copy_arrives_in_the_project() {
        let (project, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, outside) = (project.path(), elsewhere.path());
        write(&root.join("node_modules/memory/dist/memory.jsonl"), "real");
        write(&root.join("packages/own/data.json"), "real");
        write(&outside.join("shared/data.json"), "real");
        write(&outside.join("file.json"), "real");
        write(&outside.join("venv/lib/x.py"), "real");
        symlink("../packages/own", root.join("node_modules/own")).unwrap();
        symlink(outside.join("shared"), root.join("node_modules/shared")).unwrap();
        symlink(outside.join("file.json"), root.join("node_modules/file.json")).unwrap();
        symlink(root.join("node_modules/memory"), root.join("node_modules/again")).unwrap();
        symlink("nowhere", root.join("node_modules/broken")).unwrap();
        symlink("lib", outside.join("venv/lib64")).unwrap();
        symlink(outside.join("venv"), root.join(".venv")).unwrap();
        symlink("/bin/sh", outside.join("venv/python")).unwrap();

        let scratch = tempfile::tempdir().unwrap();
        let copy = scratch.path();
        let programs = Programs::copy(root, copy).unwrap();
        write(&copy.join("packages/own/data.json"), "copied apart");
        assert_eq!(programs.changed().unwrap(), Vec::<PathBuf>::new());
        for path in [
            "node_modules/memory/dist/memory.jsonl",
            "node_modules/again/dist/memory.jsonl",
            "node_modules/own/data.json",
            "node_modules/shared/data.json",
            "node_modules/file.json",
            ".venv/lib/x.py",
            ".venv/lib64/x.py",
        ] {
            // In place, as a data base does.
            fs::OpenOptions::new().append(true).open(copy.join(path)).expect(path);
            fs::write(copy.join(path), "lost").expect(path);
        }
        assert!(copy.join(".venv/python").is_file());
        for path in [
            root.join("node_modules/memory/dist/memory.jsonl"),
            root.join("packages/own/data.json"),
            outside.join("shared/data.json"),
            outside.join("file.json"),
            outside.join("venv/lib/x.py"),
        ] {
            assert_eq!(fs::read_to_string(&path).unwrap(), "real", "{}", path.display());
        }
        assert_eq!(programs.changed().unwrap().len(), 4);
    }

    #[test]
    fn a_change_shows_although_size_and_time_are_set_back() {
        let (project, first, second) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        write(&project.path().join("node_modules/a"), "one");
        write(&project.path().join("node_modules/b"), "two");
        let mut programs = Programs::copy(project.path(), first.path()).unwrap();
        programs.move_to(second.path()).unwrap();
        assert!(programs.changed().unwrap().is_empty());
        let file = second.path().join("node_modules/a");
        let time = file.metadata().unwrap().modified().unwrap();
        fs::write(&file, "neo").unwrap();
        let opened = fs::File::open(&file).unwrap();
        opened.set_times(FileTimes::new().set_modified(time)).unwrap();
        fs::remove_file(second.path().join("node_modules/b")).unwrap();
        write(&second.path().join("node_modules/c"), "new");
        write(&second.path().join("node_modules/__pycache__/d"), "new");
        let mut changed = programs.changed().unwrap();
        changed.sort();
        assert_eq!(
            changed,
            ["node_modules/a", "node_modules/b", "node_modules/c"].map(PathBuf::from)
        );
    }
    #[test]
    fn what_was_changed_is_restored_or_copied_anew() {
        let (project, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            write(&project.path().join("node_modules/x").join(name), "real");
        }
        let (from, to) = (project.path(), copy.path());
        let mut programs = Programs::copy(from, to).unwrap();
        fs::write(to.join("node_modules/x/a"), "lost").unwrap();
        fs::remove_file(to.join("node_modules/x/b")).unwrap();
        write(&to.join("node_modules/x/c"), "new");
        assert!(programs.restore(from).unwrap());
        for name in ["a", "b"] {
            let text = fs::read_to_string(to.join("node_modules/x").join(name)).unwrap();
            assert_eq!(text, "real");
        }
        assert!(!to.join("node_modules/x/c").exists());
        assert!(programs.changed().unwrap().is_empty());
        // A folder is more than a file.
        write(&to.join("node_modules/y/d"), "new");
        assert!(!programs.restore(from).unwrap());
    }
}
