//! What is protected and not there yet cannot be mounted read-only. If a command makes it, it is given
//! another name before anybody is told that the command has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::spec::Spec;

/// Added to the name of what was set aside.
const ASIDE: &str = "set-aside";
/// Names that are tried.
const TRIES_MAX: u32 = 1000;

/// What there was of the protected when a command began.
pub struct Guard {
    /// Not there.
    unborn: Vec<PathBuf>,
    /// Links, which can be replaced although what they lead to cannot be written.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Guard {
    pub fn over(spec: &Spec) -> Self {
        let all = || spec.unborn.iter().chain(&spec.protected);
        let link = |path: &PathBuf| Some((path.clone(), fs::read_link(path).ok()?));
        Self {
            unborn: all().filter(|path| fs::symlink_metadata(path).is_err()).cloned().collect(),
            links: all().filter_map(link).collect(),
        }
    }

    /// Renames what has come into being, and puts links back. Returns the old and the new names.
    pub fn set_aside(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut moved = Vec::new();
        for path in &self.unborn {
            moved.extend(aside(path));
        }
        for (path, target) in &self.links {
            if fs::read_link(path).ok().as_ref() != Some(target) {
                moved.extend(aside(path));
                // A folder on the way that is gone is the command's loss.
                let _ = std::os::unix::fs::symlink(target, path);
            }
        }
        moved
    }
}

fn aside(path: &Path) -> Option<(PathBuf, PathBuf)> {
    fs::symlink_metadata(path).ok()?;
    let name = path.file_name()?.to_string_lossy().trim_start_matches('.').to_owned();
    for number in 1..=TRIES_MAX {
        let new = path.with_file_name(format!("{name}.{ASIDE}-{number}"));
        if fs::symlink_metadata(&new).is_err() && fs::rename(path, &new).is_ok() {
            return Some((path.to_owned(), new));
        }
    }
    // It cannot be moved: then it goes.
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    Some((path.to_owned(), PathBuf::new()))
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Input, Layer, SandboxLimits, Telling, VERSION};
    use super::*;

    fn spec(root: &Path, unborn: &[&str], protected: &[&str]) -> Spec {
        let below = |names: &[&str]| names.iter().map(|name| root.join(name)).collect();
        Spec {
            version: VERSION,
            layer: Layer::Floor,
            folder: root.to_owned(),
            writable: vec![root.to_owned()],
            readable: vec![],
            protected: below(protected),
            hidden: vec![],
            unborn: below(unborn),
            input: Input::Nothing,
            telling: Telling::Report,
            limits: SandboxLimits::default(),
            proxy: None,
        }
    }

    #[test]
    fn what_comes_into_being_under_a_protected_name_is_renamed_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("git.set-aside-1"), "an older one").unwrap();
        let guard = Guard::over(&spec(root, &[".git", ".envrc"], &[]));
        assert!(guard.set_aside().is_empty());
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/config"), "[core]").unwrap();
        let moved = guard.set_aside();
        assert_eq!(moved, [(root.join(".git"), root.join("git.set-aside-2"))]);
        assert!(!root.join(".git").exists());
        assert_eq!(fs::read(root.join("git.set-aside-2/config")).unwrap(), b"[core]");
    }

    #[test]
    fn a_link_that_was_replaced_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join(".git")).unwrap();
        let guard = Guard::over(&spec(root, &[], &[".git"]));
        assert!(guard.set_aside().is_empty());
        fs::remove_file(root.join(".git")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(guard.set_aside().len(), 1);
        assert_eq!(fs::read_link(root.join(".git")).unwrap(), Path::new("real"));
    }
}
