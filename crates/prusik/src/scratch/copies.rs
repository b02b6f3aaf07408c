//! Copies of a project's folder that go when they are done with, and at the latest with their owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::programs::Programs;
use super::walk;
use crate::project::values::Template;
use crate::project::{Project, Transport};

/// What folders of copies are called in the folder for temporary files.
const PREFIX: &str = "prusik-scratch-";
/// Locked by the owner for as long as it lives.
const LOCK: &str = "lock";
/// Where the runs of a copy write down what they start, if its store is where stores usually are.
const CHILDREN: &str = ".prusik/children";
/// Files that hold keys; a copy has those that its servers name.
const KEYS: &str = ".env";
/// Tries to remove what a process that was just killed may still be writing to.
const REMOVALS_MAX: u32 = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// Makes copies of one project.
#[derive(Debug)]
pub struct Copies {
    root: PathBuf,
    base: tempfile::TempDir,
    _lock: File,
    /// Words that servers are told, and files that they name.
    told: Vec<String>,
    spare: Mutex<Vec<Programs>>,
    /// Set when copies are to stay until what runs in them has been ended.
    is_stopping: AtomicBool,
}

/// A copy of a project's folder. It goes when this is dropped.
#[derive(Debug)]
pub struct Copy {
    copies: Arc<Copies>,
    folder: PathBuf,
    programs: Option<Programs>,
}

impl Copies {
    /// Prepares for copies of `project`, and removes what killed processes have left of theirs.
    pub fn of(project: &Project) -> io::Result<Arc<Self>> {
        remove_left();
        let base = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // Whoever looks finds it locked, or not at all.
        let new = base.path().join("lock.new");
        let lock = File::create(&new)?;
        lock.lock()?;
        fs::rename(new, base.path().join(LOCK))?;
        Ok(Arc::new(Self {
            root: std::path::absolute(project.root())?,
            base,
            _lock: lock,
            told: told(project),
            spare: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        }))
    }

    /// Copies the project's files, folders and packages. Our own records and files with keys that no
    /// server names are left out.
    pub fn make(self: &Arc<Self>) -> io::Result<Copy> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut programs = match spare {
            Some(programs) => programs,
            None => Programs::copy(&self.root, &self.folder("packages-")?)?,
        };
        let folder = self.folder("copy-")?;
        let mut copy = Copy { copies: Arc::clone(self), folder, programs: None };
        let root = copy.root();
        fs::create_dir(&root)?;
        walk(&self.root, &mut |path, below, kind| match kind {
            super::Kind::Folder => fs::create_dir_all(root.join(below)),
            super::Kind::File if self.is_left_out(below) => Ok(()),
            super::Kind::File => fs::copy(path, root.join(below)).map(|_| ()),
        })?;
        let emptied = programs.folder.clone();
        programs.move_to(&root)?;
        fs::remove_dir(emptied)?;
        copy.programs = Some(programs);
        Ok(copy)
    }

    /// Returns in words which files with keys copies are made without; none if there are none.
    pub fn without(&self) -> io::Result<Option<String>> {
        let names: Vec<String> =
            self.left_out()?.iter().map(|path| path.display().to_string()).collect();
        let told = || format!("the copies have no {}: no server names it", names.join(", "));
        Ok((!names.is_empty()).then(told))
    }

    fn left_out(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.root, &mut |_, below, kind| {
            if kind == super::Kind::File && self.is_left_out(below) {
                found.push(below.to_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn is_left_out(&self, below: &Path) -> bool {
        let is_of_keys = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(KEYS);
        let path = below.to_string_lossy();
        below.file_name().is_some_and(is_of_keys)
            && !self.told.iter().any(|word| word.ends_with(&*path))
    }

    /// From now on, copies stay although they are dropped.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// Returns the folders of all copies that are there.
    pub fn roots(&self) -> Vec<PathBuf> {
        roots_in(self.base.path())
    }

    /// Removes all copies. What ran in them must have been ended.
    pub async fn remove(&self) {
        for _ in 0..REMOVALS_MAX {
            // The owner goes on to its end, whatever remains; the next one tries again.
            let _ = fs::remove_dir_all(self.base.path());
            if !self.base.path().exists() {
                return;
            }
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
    }

    fn folder(&self, prefix: &str) -> io::Result<PathBuf> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(self.base.path())
            .map(tempfile::TempDir::keep)
    }
}

impl Copy {
    /// Returns the folder with the copied project.
    pub fn root(&self) -> PathBuf {
        self.folder.join("project")
    }

    /// Returns a folder beside it, which goes with it.
    pub fn beside(&self) -> &Path {
        &self.folder
    }

    /// Returns the files among its packages that are not as they were copied.
    pub fn changed_programs(&self) -> io::Result<Vec<PathBuf>> {
        self.programs.as_ref().map_or(Ok(Vec::new()), Programs::changed)
    }

    /// Gives the packages to the next copy, as they were. What ran here must have ended.
    pub fn done(mut self) -> io::Result<()> {
        let Some(mut programs) = self.programs.take() else { return Ok(()) };
        if programs.restore(&self.copies.root)? {
            programs.move_to(&self.copies.folder("packages-")?)?;
            self.copies.spare.lock().unwrap_or_else(PoisonError::into_inner).push(programs);
        }
        Ok(())
    }

    /// Moves the copy to where it stays, and returns that place.
    pub fn keep(self) -> io::Result<PathBuf> {
        let place = tempfile::Builder::new().prefix("prusik-kept-").tempdir()?.keep();
        fs::rename(self.root(), &place)?;
        Ok(place)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.copies.is_stopping.load(Ordering::SeqCst) {
            // What remains goes with the folder of all copies.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn roots_in(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("project")).filter(|root| root.is_dir()).collect()
}

fn told(project: &Project) -> Vec<String> {
    let mut told = Vec::new();
    for server in project.servers() {
        told.extend(server.secret_files().iter().map(|path| path.display().to_string()));
        if let Transport::Stdio { args, env, .. } = &server.transport {
            let words = args.iter().chain(env.values()).filter_map(Template::literal);
            told.extend(words.map(str::to_owned));
        }
    }
    told
}

/// Removes the copies of owners that were killed. Those of other users are none of our business.
fn remove_left() {
    let ours = rustix::process::getuid().as_raw();
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == ours);
        if !is_ours {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            for root in roots_in(&entry.path()) {
                // Runs in a copy are written down there; what cannot be ended is no reason to stop.
                let _ = prusik_tool::end_orphans(&root.join(CHILDREN));
            }
            // What cannot be removed now may be by the next who looks.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(folder: &Path) -> Project {
        for (file, text) in [
            ("prusik.yaml", "servers:\n  s: { command: s, args: [--env-file=conf/.env.s] }\n"),
            ("a", "a"),
            ("b/c", "c"),
            (".prusik/prusik.db", "x"),
            (".env", "KEY=1"),
            ("conf/.env.s", "KEY=2"),
            ("node_modules/x/index.js", "real"),
        ] {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Project::load(folder).unwrap()
    }

    #[test]
    fn a_copy_has_all_but_our_records_and_keys_that_nobody_needs() {
        let from = tempfile::tempdir().unwrap();
        let copies = Copies::of(&project(from.path())).unwrap();
        assert_eq!(copies.left_out().unwrap(), [PathBuf::from(".env")]);
        let copy = copies.make().unwrap();
        let mut seen = Vec::new();
        walk(&copy.root(), &mut |_, below, _| {
            seen.push(below.display().to_string());
            Ok(())
        })
        .unwrap();
        seen.sort();
        assert_eq!(seen, ["a", "b", "b/c", "conf", "conf/.env.s", "prusik.yaml"]);
        assert!(!copy.root().join(".prusik").exists());
    }

    #[test]
    fn packages_are_used_again_only_if_they_are_as_they_were() {
        let from = tempfile::tempdir().unwrap();
        let copies = Copies::of(&project(from.path())).unwrap();
        let file = "node_modules/x/index.js";
        let inode = |copy: &Copy| copy.root().join(file).metadata().unwrap().ino();
        let first = copies.make().unwrap();
        let (was, root) = (inode(&first), first.root());
        first.done().unwrap();
        assert!(!root.exists());
        let second = copies.make().unwrap();
        assert_eq!(inode(&second), was);
        fs::write(second.root().join(file), "lost").unwrap();
        assert_eq!(second.changed_programs().unwrap(), [PathBuf::from(file)]);
        second.done().unwrap();
        let third = copies.make().unwrap();
        assert_eq!(fs::read_to_string(third.root().join(file)).unwrap(), "real");
        assert_eq!(fs::read_to_string(from.path().join(file)).unwrap(), "real");
    }

    #[test]
    fn what_a_dead_owner_left_goes_and_what_a_living_one_has_stays() {
        let from = tempfile::tempdir().unwrap();
        let project = project(from.path());
        let living = Copies::of(&project).unwrap();
        let copy = living.make().unwrap();
        let dead = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        fs::write(dead.join(LOCK), "").unwrap();
        let base = Copies::of(&project).unwrap().base.path().to_owned();
        assert!(!dead.exists() && !base.exists());
        assert!(copy.root().join("a").exists());
    }
}
