//! What the built-in tools say of themselves, and their contracts.

use std::collections::BTreeMap;

use prusik_core::contract::{Contract, EffectClass, KeyPlace, Returns};
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use serde_json::{Value, json};

use super::problem::Kind;
use crate::ToolInfo;

/// The `_meta` field in which `edit` gets the key of its call.
pub const EDIT_KEY: &str = "prusik/key";

/// What [`info`] calls a shell that nothing confines. The tool's own name is the same.
pub(super) const UNCONFINED_SHELL: &str = "unconfined shell";
/// Longest that a shell command may run, in milliseconds.
pub(super) const SHELL_TIMEOUT_MS_MAX: u64 = 600_000;
pub(super) const SHELL_TIMEOUT_MS: u64 = 120_000;
/// Time for the shell to report after its own time-out, before the call is given up.
const SHELL_GRACE_MS: u64 = 30_000;
/// `read` shows more than other tools before its result becomes a blob.
const READ_RESULT_BYTES_MAX: u64 = 64 * 1024;

const ON_PATHS: [Kind; 8] = [
    Kind::NotFound,
    Kind::OutsideWorkspace,
    Kind::InvalidPath,
    Kind::NotAFile,
    Kind::NotAFolder,
    Kind::TooLarge,
    Kind::Forbidden,
    Kind::Io,
];
const ON_WRITES: [Kind; 2] = [Kind::Protected, Kind::DiskFull];
const ON_COMMANDS: [Kind; 1] = [Kind::NoSandbox];
const ON_EDITS: [Kind; 4] = [Kind::NotText, Kind::NotUnique, Kind::NoMatch, Kind::NoChange];

/// Returns the contract of a built-in tool, or `None` if there is no such tool.
///
/// - `read`, `list`, `glob` and `grep` change nothing.
/// - `write` is idempotent by itself: the same content in the same place is the same file.
/// - `edit` is idempotent by the key of its call, under which it notes what it does.
/// - What `write` and `edit` say is the runtime's own word; what stands in files is anybody's.
/// - `shell` is a write that nobody can repeat, undo or ask about.
pub fn builtin_contract(name: &str) -> Option<Contract> {
    let contract = match name {
        "read" => Contract {
            failures: Kind::terms(&ON_PATHS),
            result_bytes_max: READ_RESULT_BYTES_MAX,
            ..Contract::of(EffectClass::Read)
        },
        "list" => Contract { failures: Kind::terms(&ON_PATHS), ..Contract::of(EffectClass::Read) },
        "glob" | "grep" => Contract {
            failures: Kind::terms(&[&ON_PATHS[..], &[Kind::InvalidPattern]].concat()),
            ..Contract::of(EffectClass::Read)
        },
        "write" => Contract {
            failures: Kind::terms(&[&ON_PATHS[..], &ON_WRITES].concat()),
            arguments: content(["content"]),
            returns: Returns::Trusted,
            ..Contract::of(EffectClass::Idempotent)
        },
        "edit" => Contract {
            key: Some(KeyPlace::Meta(EDIT_KEY.to_owned())),
            failures: Kind::terms(&[&ON_PATHS[..], &ON_WRITES, &ON_EDITS].concat()),
            arguments: content(["old_text", "new_text"]),
            returns: Returns::Trusted,
            ..Contract::of(EffectClass::Idempotent)
        },
        "shell" => Contract {
            timeout_ms: SHELL_TIMEOUT_MS_MAX + SHELL_GRACE_MS,
            failures: Kind::terms(&ON_COMMANDS),
            ..Contract::of(EffectClass::Write)
        },
        _ => return None,
    };
    Some(contract)
}

/// What stands in a file is for whoever opens it; which file that is decides who.
fn content<const N: usize>(names: [&str; N]) -> BTreeMap<String, ArgumentTerm> {
    names.map(|name| (name.to_owned(), ArgumentTerm::of(ArgumentKind::Content))).into()
}

/// Returns what the built-in tool `name` says of itself.
pub(super) fn info(name: &str) -> ToolInfo {
    let (description, properties, required) = match name {
        "read" => read(),
        "write" => write(),
        "edit" => edit(),
        "list" => list(),
        "glob" => glob(),
        "grep" => grep(),
        UNCONFINED_SHELL => shell(UNCONFINED),
        _ => shell(CONFINED),
    };
    let name = if name == UNCONFINED_SHELL { "shell" } else { name };
    ToolInfo {
        name: name.to_owned(),
        description: description.to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        output_schema: None,
        hints: None,
    }
}

type Spec = (&'static str, Value, &'static [&'static str]);

fn path_of(what: &str) -> Value {
    let description = format!("{what}, relative to the workspace.");
    json!({"type": "string", "minLength": 1, "maxLength": 4096, "description": description})
}

fn count(description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "default": false, "description": description})
}

fn read() -> Spec {
    (
        "Reads a file of the workspace. Text comes with line numbers, which are not part of the \
         file; PNG, JPEG, GIF and WebP come as images; of other files only the size is told.",
        json!({
            "path": path_of("The file"),
            "offset": count("The first line to return, counted from 1."),
            "limit": count("How many lines to return; 2000 if not given."),
        }),
        &["path"],
    )
}

fn write() -> Spec {
    (
        "Writes a whole file of the workspace: replaces it if it exists, else makes it and the \
         folders on the way. To change a part of a file use `edit`.",
        json!({
            "path": path_of("The file"),
            "content": {"type": "string", "description": "All that the file is to hold."},
        }),
        &["path", "content"],
    )
}

fn edit() -> Spec {
    (
        "Replaces a text in a file of the workspace. The old text must match exactly, white space \
         included, and occur once, unless all places are meant.",
        json!({
            "path": path_of("The file"),
            "old_text": {
                "type": "string", "minLength": 1,
                "description": "The text to replace, without the line numbers of `read`.",
            },
            "new_text": {"type": "string", "description": "What to put in its place."},
            "replace_all": flag("Replace every occurrence."),
        }),
        &["path", "old_text", "new_text"],
    )
}

fn list() -> Spec {
    (
        "Lists a folder of the workspace: names, sizes, and which of them are folders (with a \
         slash at the end) or links.",
        json!({"path": path_of("The folder; the workspace itself if not given")}),
        &[],
    )
}

fn glob() -> Spec {
    (
        "Finds files by the pattern of their path, such as `*.rs` (a name, in any folder) or \
         `src/**/*.ts`. Files that .gitignore names are left out.",
        json!({
            "pattern": {
                "type": "string", "minLength": 1, "maxLength": 4096,
                "description": "The pattern: * ? ** [a-z] {a,b}.",
            },
            "path": path_of("The folder to look in; the whole workspace if not given"),
            "hidden": flag("Look at hidden files too."),
            "limit": count("Most paths to return; 200 if not given, 10000 at most."),
        }),
        &["pattern"],
    )
}

fn grep() -> Spec {
    (
        "Searches the text of files by a regular expression (Rust's syntax), line by line. Files \
         that .gitignore names and files that are not text are left out.",
        json!({
            "pattern": {
                "type": "string", "minLength": 1, "maxLength": 4096,
                "description": "The regular expression.",
            },
            "path": path_of("The folder or file to search; the whole workspace if not given"),
            "glob": {
                "type": "string", "minLength": 1, "maxLength": 4096,
                "description": "Search only files whose path matches, such as `*.md`.",
            },
            "mode": {
                "type": "string", "enum": ["content", "files", "count"], "default": "content",
                "description": "Return matching lines, only paths, or the number per file.",
            },
            "ignore_case": flag("Take upper and lower case for the same."),
            "literal": flag("Take the pattern as plain text."),
            "hidden": flag("Search hidden files too."),
            "context": {
                "type": "integer", "minimum": 0, "maximum": 50,
                "description": "Lines to show before and after each match.",
            },
            "limit": count("Most results to return; 200 if not given, 10000 at most."),
        }),
        &["pattern"],
    )
}

const CONFINED: &str = "Runs a command with `sh -c` in the workspace folder, without input, in a sandbox: the \
     workspace can be written, system folders can be read, all else is hidden, and there is no \
     network but what the project grants. Files that steer other programs, such as .git, cannot be \
     written. Returns the exit code and what it printed. Whatever it leaves running is ended, and \
     its home and temporary folder are gone then.";
const UNCONFINED: &str = "Runs a command with `sh -c` in the workspace folder, without input and not confined to it. \
     Returns the exit code and what it printed. Whatever it leaves running is ended.";

fn shell(description: &'static str) -> Spec {
    (
        description,
        json!({
            "command": {
                "type": "string", "minLength": 1, "maxLength": 65536,
                "description": "The command line.",
            },
            "timeout_ms": {
                "type": "integer", "minimum": 1, "maximum": SHELL_TIMEOUT_MS_MAX,
                "default": SHELL_TIMEOUT_MS,
                "description": "When to end it, in milliseconds.",
            },
        }),
        &["command"],
    )
}
