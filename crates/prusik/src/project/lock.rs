//! `prusik.lock`: what each tool of a project's servers said of itself when a person last looked.
//!
//! The file is made to be read in a review: one key a line, in a stable order, and every character
//! that hides or reorders text written as its number. Each tool carries a digest of what is said of
//! it, so that a line that was changed by hand, or lost in a merge, is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prusik_core::ids::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Place, ProjectError, ProjectErrors};
use crate::cli::text::steers;

/// The file's name, in the project's folder.
pub const LOCK_FILE: &str = "prusik.lock";
/// The one form of the file that there is.
const VERSION: u32 = 1;
/// Largest lock that is read, in bytes: some thousand tools.
const LOCK_BYTES_MAX: u64 = 64 * 1024 * 1024;
const WAY_OUT: &str = "settle a merge in it, or bring it back from version control; `prusik lock \
     --force` writes it anew, as if all tools were new";

/// What was locked, by server and by the server's own name of the tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    pub servers: BTreeMap<String, BTreeMap<String, LockedTool>>,
}

/// What one tool said of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedTool {
    /// `sha256:` and the digest of all that follows, with the tool's name.
    digest: String,
    pub description: String,
    pub input_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// The MCP annotations: the server's own claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Value>,
    /// Why no model can be offered the tool, if none can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// What a server says of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// `server__tool`.
    pub name: &'a str,
    pub description: &'a str,
    pub input_schema: &'a Value,
    pub output_schema: Option<&'a Value>,
    pub annotations: Option<&'a Value>,
    pub left_out: Option<&'a str>,
}

impl LockedTool {
    fn of(said: &Said<'_>) -> Self {
        let mut tool = Self {
            digest: String::new(),
            description: said.description.to_owned(),
            input_schema: sorted(said.input_schema),
            output_schema: said.output_schema.map(sorted),
            annotations: said.annotations.map(sorted),
            left_out: said.left_out.map(str::to_owned),
        };
        tool.digest = tool.digest_as(said.name);
        tool
    }

    fn digest_as(&self, name: &str) -> String {
        let text = |value: &Option<Value>| value.as_ref().map(|v| sorted(v).to_string());
        let input = sorted(&self.input_schema).to_string();
        let output = text(&self.output_schema).unwrap_or_default();
        let annotations = text(&self.annotations).unwrap_or_default();
        let left_out = self.left_out.as_deref().unwrap_or_default();
        let parts = [name, &self.description, &input, &output, &annotations, left_out];
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        format!("sha256:{}", Digest::of_parts(&parts))
    }

    /// Returns what differs from `now`, in words; nothing if both say the same.
    fn difference(&self, now: &Self) -> Option<String> {
        let parts = [
            ("description", self.description != now.description),
            ("input schema", self.input_schema != now.input_schema),
            ("output schema", self.output_schema != now.output_schema),
            ("annotations", self.annotations != now.annotations),
            ("place among the tools that are offered", self.left_out != now.left_out),
        ];
        let changed: Vec<&str> =
            parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| *part).collect();
        (!changed.is_empty())
            .then(|| format!("its {} changed since it was locked", changed.join(", its ")))
    }
}

/// How the tools of now differ from the locked ones, by the names that models see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockDifference {
    pub added: Vec<String>,
    /// With what changed.
    pub changed: Vec<(String, String)>,
    pub removed: Vec<String>,
}

impl LockDifference {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Why a lock cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// A later Prusik wrote it, and knows what it means.
    Newer(ProjectError),
    Damaged(ProjectError),
}

impl From<Unreadable> for ProjectErrors {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Newer(error) | Unreadable::Damaged(error) => error.into(),
        }
    }
}

fn damaged(message: String) -> ProjectError {
    ProjectError::of_file(LOCK_FILE, message).with_help(WAY_OUT)
}

impl Lock {
    /// Makes a lock of what the servers say. `servers` names all that were asked: one without any
    /// tool is locked, too.
    pub fn of<'a>(
        servers: impl IntoIterator<Item = &'a str>,
        said: impl IntoIterator<Item = Said<'a>>,
    ) -> Self {
        let mut lock = Self { version: VERSION, servers: BTreeMap::new() };
        for server in servers {
            lock.servers.insert(server.to_owned(), BTreeMap::new());
        }
        for said in said {
            if let Some((server, tool)) = said.name.split_once("__")
                && let Some(tools) = lock.servers.get_mut(server)
            {
                tools.insert(tool.to_owned(), LockedTool::of(&said));
            }
        }
        lock
    }

    /// Reads the lock of the project in `root`; none if there is no such file.
    pub fn read(root: &Path) -> Result<Option<Self>, Unreadable> {
        let fail = |message: String| Unreadable::Damaged(damaged(message));
        let path = root.join(LOCK_FILE);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(format!("cannot be read: {error}"))),
        };
        if !metadata.is_file() || metadata.len() > LOCK_BYTES_MAX {
            return Err(fail(format!("is no file of at most {LOCK_BYTES_MAX} bytes")));
        }
        let text =
            fs::read_to_string(&path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&text).map(Some)
    }

    /// Reads a lock, and checks each digest in it.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        /// What every version has, whatever else there is.
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        if let Ok(Versioned { version }) = serde_json::from_str(text)
            && version > u64::from(VERSION)
        {
            let message = format!("has version {version}; this Prusik reads {VERSION}");
            let help = "use the Prusik that wrote it, or a later one; `prusik lock` does not write \
                        over what it does not know";
            let error = ProjectError::of_file(LOCK_FILE, message).with_help(help);
            return Err(Unreadable::Newer(error));
        }
        Self::checked(text).map_err(Unreadable::Damaged)
    }

    fn checked(text: &str) -> Result<Self, ProjectError> {
        let lock: Self = serde_json::from_str(text).map_err(|error| {
            let whole = error.to_string();
            let message = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
            let place = Place { line: count(error.line()), column: count(error.column()) };
            ProjectError { place: Some(place), ..damaged(format!("is not a lock: {message}")) }
        })?;
        if lock.version != VERSION {
            let version = lock.version;
            return Err(damaged(format!("has version {version}; this Prusik reads {VERSION}")));
        }
        for (server, tools) in &lock.servers {
            for (tool, locked) in tools {
                let name = format!("{server}__{tool}");
                if locked.digest != locked.digest_as(&name) {
                    let line = text.lines().position(|line| line.contains(&locked.digest));
                    let place = line.map(|line| Place {
                        line: u32::try_from(line + 1).unwrap_or(u32::MAX),
                        column: 1,
                    });
                    let message = format!("what it holds of `{name}` does not fit its digest");
                    return Err(ProjectError { place, ..damaged(message) });
                }
            }
        }
        Ok(lock)
    }

    /// Returns the file's text.
    pub fn text(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("a lock is plain data");
        let mut text = String::with_capacity(json.len());
        for char in json.chars() {
            if char != '\n' && steers(char) {
                // Such characters stand in texts only, where JSON takes their number.
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                text.push(char);
            }
        }
        text.push('\n');
        text
    }

    /// Returns each locked tool with the name that a model sees.
    pub fn tools(&self) -> impl Iterator<Item = (String, &LockedTool)> {
        self.servers.iter().flat_map(|(server, tools)| {
            tools.iter().map(move |(tool, locked)| (format!("{server}__{tool}"), locked))
        })
    }

    /// Returns how `now` differs, for the servers that both know and those that only `now` does.
    pub fn difference(&self, now: &Self) -> LockDifference {
        let mut difference = LockDifference::default();
        let before: BTreeMap<String, &LockedTool> = self.tools().collect();
        let after: BTreeMap<String, &LockedTool> = now.tools().collect();
        for (name, tool) in &after {
            match before.get(name) {
                None => difference.added.push(name.clone()),
                Some(locked) => {
                    difference.changed.extend(locked.difference(tool).map(|w| (name.clone(), w)));
                }
            }
        }
        difference.removed = before.into_keys().filter(|name| !after.contains_key(name)).collect();
        difference
    }
}

/// Returns a value with the keys of every object in order: a server's map may have none.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let ordered: BTreeMap<&String, &Value> = map.iter().collect();
            let map: Map<String, Value> =
                ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            Value::Object(map)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lock(description: &str, schema: &Value) -> Lock {
        let said = Said {
            name: "bank__pay",
            description,
            input_schema: schema,
            output_schema: None,
            annotations: None,
            left_out: None,
        };
        Lock::of(["bank", "empty"], [said])
    }

    #[test]
    fn a_lock_reads_as_it_was_written() {
        let lock = lock("Pays.\u{202e}\u{e0041} “now”\n", &json!({"type": "object", "b": 1}));
        let text = lock.text();
        assert!(text.contains("Pays.\\u202e\\udb40\\udc41 “now”\\n"), "{text}");
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        assert!(lock.servers["empty"].is_empty());
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let one = lock("Pays.", &json!({"type": "object", "title": "Pay"}));
        let other = lock("Pays.", &json!({"title": "Pay", "type": "object"}));
        assert_eq!(one.text(), other.text());
        let changed = one.difference(&lock("Pays now.", &json!({"type": "object"})));
        let what = "its description, its input schema changed since it was locked";
        assert_eq!(changed.changed, [("bank__pay".to_owned(), what.to_owned())]);
        let gone = one.difference(&Lock::of(["bank"], []));
        assert_eq!(gone.removed, ["bank__pay"]);
        assert!(one.difference(&other).is_empty());
    }

    #[test]
    fn what_was_changed_by_hand_is_found_with_its_line() {
        let text = lock("Pays.", &json!({"type": "object"})).text();
        for (bad, said) in [
            (text.replace("Pays.", "Pays all."), "prusik.lock:6:1: what it holds of `bank__pay`"),
            (text.replace("\"version\": 1", "\"version\": 2"), "has version 2"),
            (text.replacen("\"servers\"", "<<<<<<< HEAD\n\"servers\"", 1), "prusik.lock:3:3"),
            (text.replace("\"description\"", "\"descripton\""), "unknown field `descripton`"),
        ] {
            let error = ProjectErrors::from(Lock::parse(&bad).unwrap_err()).to_string();
            assert!(error.contains(said) && error.contains("prusik lock"), "{error}");
        }
    }
}
