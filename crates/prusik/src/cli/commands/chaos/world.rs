//! What a run left in its project's folder, so that two runs can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// What belongs to nobody's work: our own records, and what tools of developers leave.
const LEFT_OUT: [&str; 5] = [".prusik", ".git", "node_modules", "target", "__pycache__"];
/// Most files and bytes of a project that is copied and compared.
const FILES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Copies a project's files; our own records are left out.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut files, mut bytes) = (0, 0);
    walk(from, &mut |path, below| {
        files += 1;
        bytes += fs::metadata(path)?.len();
        if files > FILES_MAX || bytes > BYTES_MAX {
            let problem = format!("has more than {FILES_MAX} files or {BYTES_MAX} bytes");
            return Err(io::Error::other(problem));
        }
        let target = to.join(below);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(path, target).map(|_| ())
    })
}

fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let below = path.strip_prefix(root).map_err(io::Error::other)?.to_owned();
                visit(&path, &below)?;
            }
        }
    }
    Ok(())
}

/// Every line of every file, with how often it stands there. What differs from run to run by itself,
/// such as a time or a random id, is blanked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World(BTreeMap<(String, String), usize>);

impl World {
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut lines = BTreeMap::new();
        walk(root, &mut |path, below| {
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

/// Times, UUIDs, and digests.
static VARYING: LazyLock<Regex> = LazyLock::new(|| {
    let hex = "[0-9a-fA-F]";
    let pattern = [
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?".to_owned(),
        format!("{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}"),
        format!(r"\b{hex}{{32,}}\b"),
        r"\b1[6-9]\d{8}(\d{3})?\b".to_owned(),
    ];
    Regex::new(&pattern.join("|")).expect("the pattern is a valid one")
});

/// Returns the line with what varies by itself blanked.
pub fn masked(line: &str) -> String {
    VARYING.replace_all(line, "~").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_by_itself_is_blanked_and_nothing_else() {
        for (line, expected) in [
            (r#"{"at":"2026-11-24T16:20:21Z","n":5}"#, r#"{"at":"~","n":5}"#),
            ("run 01a20e60-a674-7151-8998-dbba717851f5 ends", "run ~ ends"),
            ("at 1795534342867 and 1795534342", "at ~ and ~"),
            (
                "INV-1041 184.20 EUR GB72EXPL00999912345678",
                "INV-1041 184.20 EUR GB72EXPL00999912345678",
            ),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    #[test]
    fn more_of_a_line_and_another_file_are_told() {
        let (calm, wild) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(calm.path().join("a"), "x\ny\n").unwrap();
        copy(calm.path(), wild.path()).unwrap();
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
