//! What can be seen of the world: the files of a scratch folder, and what reads tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prusik_core::ids::Digest;
use serde_json::Value;

use crate::cli::text::one_line;
use crate::scratch::{Kind, masked, walk};

/// Largest file whose text is kept to tell differences.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Longest piece of a text or value that is told.
const SHOWN_CHARS_MAX: usize = 80;

/// What stands at a path of the scratch folder. Times and empty files do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    Text(String),
    Other {
        bytes: usize,
        digest: Digest,
    },
    /// It was there when the folder was copied.
    Gone,
}

/// What can be seen at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    files: BTreeMap<String, Entry>,
    /// By the call.
    pub reads: BTreeMap<String, Value>,
}

impl World {
    /// Looks at the files below `root`. What is at or below a path of `ignored` does not count.
    pub fn of_files(root: &Path, ignored: &[String]) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        walk(root, &mut |path, below, kind| {
            if ignored.iter().any(|ignored| below.starts_with(ignored)) {
                return Ok(());
            }
            let entry = match kind {
                Kind::Folder => Entry::Folder,
                Kind::File => match fs::read(path) {
                    // Opening a file that is not there makes an empty one.
                    Ok(bytes) if bytes.is_empty() => return Ok(()),
                    Ok(bytes) => Entry::of(bytes),
                    // Gone since the folder was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                },
            };
            files.insert(below.display().to_string(), entry);
            Ok(())
        })?;
        Ok(Self { files, reads: BTreeMap::new() })
    }

    /// Adds the files among a copy's packages that are not as in the project. All others are left out,
    /// for they are many.
    pub fn add_changed(
        &mut self,
        root: &Path,
        project: &Path,
        changed: &[PathBuf],
        ignored: &[String],
    ) {
        for below in changed {
            let now = fs::read(root.join(below)).ok().filter(|bytes| !bytes.is_empty());
            let before = fs::read(project.join(below)).ok().filter(|bytes| !bytes.is_empty());
            if now != before && !ignored.iter().any(|ignored| below.starts_with(ignored)) {
                let entry = now.map_or(Entry::Gone, Entry::of);
                self.files.insert(below.display().to_string(), entry);
            }
        }
    }

    /// Returns the first thing that is otherwise in `later`, in words.
    pub fn change(&self, later: &Self) -> Option<String> {
        self.file_change(later).or_else(|| self.read_change(later))
    }

    pub fn file_change(&self, later: &Self) -> Option<String> {
        let paths: BTreeSet<&String> = self.files.keys().chain(later.files.keys()).collect();
        paths.into_iter().find_map(|path| {
            let shown = one_line(path, SHOWN_CHARS_MAX);
            match (self.files.get(path), later.files.get(path)) {
                (Some(before), Some(after)) if before == after => None,
                (None, Some(Entry::Text(text))) => {
                    let line = one_line(text.lines().next().unwrap_or(""), SHOWN_CHARS_MAX);
                    Some(format!("{shown} is new: `{line}`"))
                }
                (_, Some(Entry::Gone)) => Some(format!("{shown} is gone")),
                (None, Some(_)) => Some(format!("{shown} is new")),
                (Some(_), None) => Some(format!("{shown} is gone or empty")),
                (Some(Entry::Text(before)), Some(Entry::Text(after))) => {
                    Some(format!("{shown}{}", line_change(before, after)))
                }
                (Some(_), Some(_)) => Some(format!("{shown} is changed")),
                (None, None) => None,
            }
        })
    }

    /// Returns the first read that tells something else in `later`. One that only one of the two has
    /// asked does not count.
    pub fn read_change(&self, later: &Self) -> Option<String> {
        self.reads.iter().find_map(|(call, before)| {
            let after = later.reads.get(call)?;
            let at = value_change(before, after)?;
            Some(format!("{} tells otherwise{at}", one_line(call, SHOWN_CHARS_MAX)))
        })
    }

    /// Forgets the reads that tell something else in `other`.
    pub fn drop_unsteady(&mut self, other: &Self) {
        self.reads.retain(|call, value| other.reads.get(call).is_none_or(|also| also == value));
    }
}

impl Entry {
    fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() <= TEXT_BYTES_MAX {
            return match String::from_utf8(bytes) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::other(error.as_bytes()),
            };
        }
        Self::other(&bytes)
    }

    fn other(bytes: &[u8]) -> Self {
        Self::Other { bytes: bytes.len(), digest: Digest::of(bytes) }
    }
}

/// Returns the first line that differs.
fn line_change(before: &str, after: &str) -> String {
    let (mut old, mut new) = (before.lines(), after.lines());
    for number in 1.. {
        let (left, right) = (old.next(), new.next());
        let shown = |line: Option<&str>| match line {
            Some(line) => format!("`{}`", one_line(line, SHOWN_CHARS_MAX)),
            None => "nothing".to_owned(),
        };
        match (left, right) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                return format!(":{number}: {} where {} was", shown(right), shown(left));
            }
        }
    }
    " differs in its line ends".to_owned()
}

/// Returns where two values differ and how; none if they do not.
pub fn value_change(before: &Value, after: &Value) -> Option<String> {
    let (at, before, after) = first_difference(String::new(), before, after)?;
    let shown = |value: Option<&Value>| {
        value.map_or("nothing".to_owned(), |value| one_line(&value.to_string(), SHOWN_CHARS_MAX))
    };
    let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
    if let (Some(Value::String(before)), Some(Value::String(after))) = (before, after)
        && (before.contains('\n') || after.contains('\n'))
    {
        return Some(format!("{at}, line {}", line_change(before, after).trim_start_matches(':')));
    }
    Some(format!("{at}: {} where {} was", shown(after), shown(before)))
}

type Difference<'a> = (String, Option<&'a Value>, Option<&'a Value>);

fn first_difference<'a>(at: String, before: &'a Value, after: &'a Value) -> Option<Difference<'a>> {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().find_map(|key| {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                between(at, old.get(key), new.get(key))
            })
        }
        (Value::Array(old), Value::Array(new)) => (0..old.len().max(new.len()))
            .find_map(|index| between(format!("{at}/{index}"), old.get(index), new.get(index))),
        (before, after) if before == after => None,
        (before, after) => Some((at, Some(before), Some(after))),
    }
}

fn between<'a>(
    at: String,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
) -> Option<Difference<'a>> {
    match (before, after) {
        (Some(before), Some(after)) => first_difference(at, before, after),
        (before, after) => Some((at, before, after)),
    }
}

/// How the worlds of two scratch folders in which the same was done are alike, so that a third one
/// can be compared with them although some of it varies by itself.
#[derive(Debug)]
pub struct Likeness {
    /// How often each part is there, as far as the two agree.
    exact: BTreeMap<String, String>,
    sizes: BTreeMap<String, usize>,
}

impl Likeness {
    pub fn of(one: &World, other: &World) -> Self {
        let (left, right) = (exact_parts(one), exact_parts(other));
        let exact: BTreeMap<_, _> =
            left.into_iter().filter(|(part, text)| right.get(part) == Some(text)).collect();
        let (left, right) = (size_parts(one), size_parts(other));
        let sizes = left.into_iter().filter(|(part, size)| right.get(part) == Some(size)).collect();
        Self { exact, sizes }
    }

    /// Returns how `world` is unlike both, in words.
    pub fn unlike(&self, world: &World) -> Option<String> {
        let parts = exact_parts(world);
        for (part, text) in &self.exact {
            let found = parts.get(part);
            if found != Some(text) {
                let shown = match found {
                    Some(found) => line_change(text, found),
                    None => " is gone".to_owned(),
                };
                return Some(format!("{}{shown}", one_line(part, SHOWN_CHARS_MAX)));
            }
        }
        let sizes = size_parts(world);
        for (part, size) in &self.sizes {
            let found = sizes.get(part).copied().unwrap_or(0);
            if found != *size {
                let part = one_line(part, SHOWN_CHARS_MAX);
                return Some(format!("{part}: {found} lines or values where {size} are due"));
            }
        }
        None
    }
}

fn exact_parts(world: &World) -> BTreeMap<String, String> {
    let files = world.files.iter().map(|(path, entry)| {
        let text = match entry {
            Entry::Folder | Entry::Gone => String::new(),
            Entry::Text(text) => text.lines().map(masked).collect::<Vec<_>>().join("\n"),
            Entry::Other { digest, .. } => digest.to_string(),
        };
        (path.clone(), text)
    });
    let reads = world.reads.iter().map(|(call, value)| (call.clone(), masked(&value.to_string())));
    files.chain(reads).collect()
}

fn size_parts(world: &World) -> BTreeMap<String, usize> {
    fn leaves(value: &Value) -> usize {
        match value {
            Value::Object(map) => map.values().map(leaves).sum::<usize>() + 1,
            Value::Array(items) => items.iter().map(leaves).sum::<usize>() + 1,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }
    let mut parts = BTreeMap::from([("the files".to_owned(), world.files.len())]);
    for (path, entry) in &world.files {
        let size = match entry {
            Entry::Folder | Entry::Gone => 0,
            Entry::Text(text) => text.lines().count(),
            Entry::Other { bytes, .. } => *bytes,
        };
        parts.insert(path.clone(), size);
    }
    parts.extend(world.reads.iter().map(|(call, value)| (call.clone(), leaves(value))));
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn world(files: &[(&str, &str)], reads: &[(&str, Value)]) -> World {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut world = World::of_files(folder.path(), &["skip".to_owned()]).unwrap();
        world.reads =
            reads.iter().map(|(call, value)| ((*call).to_owned(), value.clone())).collect();
        world
    }

    #[test]
    fn the_first_difference_is_named_with_its_place() {
        let before = world(&[("a", "1\n2\n"), ("skip", "x")], &[("look", json!({"n": [1, 2]}))]);
        assert_eq!(before.change(&before), None);
        for (files, reads, expected) in [
            (vec![("a", "1\n3\n")], json!({"n": [1, 2]}), "a:2: `3` where `2` was"),
            (vec![("a", "1\n2\n"), ("b", "new\n")], json!({"n": [1, 2]}), "b is new: `new`"),
            (vec![], json!({"n": [1, 2]}), "a is gone or empty"),
            (
                vec![("a", "1\n2\n")],
                json!({"n": [1, 2, 3]}),
                "look tells otherwise at /n/2: 3 where nothing was",
            ),
        ] {
            let later = world(&files, &[("look", reads)]);
            assert_eq!(before.change(&later).as_deref(), Some(expected));
        }
        let ignored = world(&[("a", "1\n2\n")], &[("look", json!({"n": [1, 2]}))]);
        assert_eq!(before.change(&ignored), None);
    }

    #[test]
    fn what_varies_by_itself_is_compared_by_its_size() {
        let once = |id: &str| world(&[("log", &format!("{id} paid\n")), ("name", "x\n")], &[]);
        let like = Likeness::of(&once("k3"), &once("q9"));
        assert_eq!(like.unlike(&once("z1")), None);
        let twice = world(&[("log", "a paid\nb paid\n"), ("name", "x\n")], &[]);
        assert_eq!(like.unlike(&twice).as_deref(), Some("log: 2 lines or values where 1 are due"));
        let other = world(&[("log", "a paid\n"), ("name", "y\n")], &[]);
        assert_eq!(like.unlike(&other).as_deref(), Some("name:1: `y` where `x` was"));
        let more = world(&[("log", "a paid\n"), ("name", "x\n"), ("new", "z")], &[]);
        assert!(like.unlike(&more).is_some());
    }

    #[test]
    fn an_empty_file_is_none() {
        let before = world(&[("a", "x")], &[]);
        assert_eq!(before.change(&world(&[("a", "x"), ("lock", "")], &[])), None);
        let emptied = before.change(&world(&[("a", "")], &[]));
        assert_eq!(emptied.as_deref(), Some("a is gone or empty"));
    }

    #[test]
    fn unsteady_reads_are_forgotten() {
        let mut one = world(&[], &[("now", json!(1)), ("look", json!(1))]);
        one.drop_unsteady(&world(&[], &[("now", json!(2)), ("look", json!(1))]));
        assert_eq!(one.reads.len(), 1);
    }
}
