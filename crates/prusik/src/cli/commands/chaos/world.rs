//! What a run left in its project's folder, so that two runs can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::scratch::{Kind, masked, walk};

/// Every line of every file, with how often it stands there. What differs from run to run by itself,
/// such as a time or a random id, is blanked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World(BTreeMap<(String, String), usize>);

impl World {
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut lines = BTreeMap::new();
        walk(root, &mut |path, below, kind| {
            if kind == Kind::Folder {
                return Ok(());
            }
            let file = below.display().to_string();
            let bytes = fs::read(path)?;
            // A file without lines is there all the same.
            *lines.entry((file.clone(), String::new())).or_default() = 1;
            for line in String::from_utf8_lossy(&bytes).lines() {
                *lines.entry((file.clone(), masked(line))).or_default() += 1;
            }
            Ok(())
        })?;
        Ok(Self(lines))
    }

    /// Returns what is here more often than in `calm`, in words.
    pub fn more_than(&self, calm: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for ((file, line), times) in &self.0 {
            let there = calm.0.get(&(file.clone(), line.clone())).copied().unwrap_or(0);
            if *times > there {
                let what = if line.is_empty() { "the file itself" } else { line };
                found.push(format!("{file}: {times} times where {there} is due: {what}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_of_a_line_and_another_file_are_told() {
        let (calm, wild) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(calm.path().join("a"), "x\ny\n").unwrap();
        fs::copy(calm.path().join("a"), wild.path().join("a")).unwrap();
        let calm = World::of(calm.path()).unwrap();
        assert_eq!(World::of(wild.path()).unwrap(), calm);
        fs::write(wild.path().join("a"), "x\n").unwrap();
        let less = World::of(wild.path()).unwrap();
        assert!(less.more_than(&calm).is_empty() && less != calm);
        fs::write(wild.path().join("a"), "x\nx\n").unwrap();
        fs::write(wild.path().join("b"), "").unwrap();
        let more = World::of(wild.path()).unwrap().more_than(&calm);
        assert_eq!(more.len(), 2, "{more:?}");
        fs::create_dir(wild.path().join(".prusik")).unwrap();
        fs::write(wild.path().join(".prusik/c"), "ours").unwrap();
        assert_eq!(World::of(wild.path()).unwrap().more_than(&calm), more);
    }
}
