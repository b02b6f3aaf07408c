//! Words of names and descriptions, brought to one form so that they can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Words that carry no purpose.
const STOP: &[&str] = &[
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "back", "be",
    "been", "before", "being", "but", "by", "can", "do", "each", "etc", "for", "from", "given",
    "has", "have", "how", "if", "in", "into", "is", "it", "its", "just", "may", "me", "my", "new",
    "not", "of", "off", "on", "one", "only", "or", "other", "our", "out", "over", "own", "per",
    "so", "such", "than", "that", "the", "their", "them", "then", "these", "they", "this", "to",
    "up", "use", "used", "using", "via", "was", "we", "what", "when", "where", "which", "while",
    "who", "will", "with", "within", "you", "your",
];

/// Words that a description may well have and that say nothing about what a tool is for.
const FILLER: &[&str] = &[
    "allow",
    "anything",
    "api",
    "call",
    "data",
    "description",
    "easily",
    "endpoint",
    "execute",
    "function",
    "helper",
    "help",
    "info",
    "information",
    "input",
    "method",
    "object",
    "operation",
    "perform",
    "please",
    "provide",
    "request",
    "result",
    "run",
    "simple",
    "simply",
    "something",
    "specified",
    "stuff",
    "thing",
    "tool",
    "user",
    "utility",
    "value",
    "various",
    "wrapper",
];

/// Verbs with the same meaning for a tool, each under the first of its row.
const VERBS: &[&[&str]] = &[
    &[
        "get", "fetch", "retrieve", "read", "show", "view", "load", "obtain", "return", "describe",
        "display", "open", "cat", "download", "inspect", "print", "tail",
    ],
    &["find", "search", "query", "lookup", "look", "locate", "discover", "match", "grep", "scan"],
    &["list", "enumerate", "browse", "ls", "index"],
    &["create", "add", "insert", "make", "register", "generate", "build", "mkdir", "init"],
    &["delete", "remove", "destroy", "erase", "drop", "rm", "purge", "unlink", "clear", "discard"],
    &["update", "modify", "edit", "change", "patch", "alter", "set", "replace", "amend"],
    &["write", "save", "store", "put", "overwrite", "upload"],
    &["send", "post", "submit", "deliver", "dispatch", "publish", "notify", "email"],
    &["move", "rename", "mv", "relocate"],
    &["copy", "duplicate", "clone", "cp"],
    &["cancel", "abort", "revoke", "void"],
    &["pay", "charge", "transfer", "refund"],
    &["start", "launch", "begin", "trigger", "simulate"],
    &["stop", "halt", "terminate", "kill", "end"],
    &["commit"],
    &["push"],
    &["merge"],
    &["reset", "revert", "restore"],
    &["check", "verify", "validate", "test"],
    &["convert", "translate", "transform", "parse"],
    &["count", "sum", "calculate", "compute"],
    &["toggle", "switch", "checkout"],
    &["compare", "diff"],
    &["buy", "order", "book", "reserve", "purchase"],
    &["deploy", "install", "restart"],
];

/// Things that are called by several words, each under the first of its row.
const NOUNS: &[&[&str]] = &[
    &["mail", "email", "message"],
    &["folder", "directory", "dir"],
    &["image", "picture", "photo"],
    &["repository", "repo"],
    &["database", "db"],
    &["document", "doc"],
    &["page", "webpage", "url"],
    &["row", "record"],
];

/// Parts of a name that say nothing of what is got.
const VAGUE: &[&str] = &["detail", "info", "information", "data", "content"];

/// The verbs whose tools change something, by the first of their row.
const CHANGING: &[&str] = &[
    "create", "delete", "update", "write", "send", "move", "copy", "cancel", "pay", "start",
    "stop", "commit", "push", "merge", "reset", "buy", "deploy",
];

/// Returns whether a character is not seen, or reorders what is: controls, bidirectional controls,
/// zero-width, filler, tag and variation characters. The two that join letters and parts of emoji
/// count, too; the signs that choose a coloured form do not. Line breaks and tabs are controls.
pub fn hides(char: char) -> bool {
    match char {
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        char => char.is_control(),
    }
}

/// Returns the words of a name or a text, in order: small letters, `camelCase` and `snake_case` parted.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = ' ';
    for char in text.chars() {
        if !char.is_alphanumeric() && char != '\'' {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        } else if char != '\'' {
            if char.is_uppercase() && before.is_lowercase() {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            word.extend(char.to_lowercase());
        }
        before = char;
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Returns the base of an English word, roughly: enough for `reads` and `reading` to meet.
pub(crate) fn stem(word: &str) -> String {
    let cut = |suffix: &str, keep: usize| {
        word.strip_suffix(suffix).filter(|base| base.is_ascii() && base.len() >= keep)
    };
    if let Some(base) = cut("ies", 2) {
        return format!("{base}y");
    }
    for suffix in ["ches", "shes", "sses", "xes"] {
        if cut(suffix, 2).is_some() {
            return word[..word.len() - 2].to_owned();
        }
    }
    if let Some(base) = cut("ing", 4).filter(|_| !word.ends_with("thing")) {
        return base.to_owned();
    }
    match cut("s", 3) {
        Some(base) if !base.ends_with(['s', 'u', 'i']) => base.to_owned(),
        Some(_) | None => word.to_owned(),
    }
}

/// Returns a stemmed word, with a verb under its row's first. `listing` meets `list` meets `lists`.
pub(crate) fn canonical(word: &str) -> String {
    let stem = stem(word);
    match row(&stem) {
        Some(first) => first.to_owned(),
        None => stem,
    }
}

/// Each verb, with the first of its row.
static ROWS: LazyLock<BTreeMap<&str, &str>> =
    LazyLock::new(|| VERBS.iter().flat_map(|row| row.iter().map(|verb| (*verb, row[0]))).collect());
static STOPPED: LazyLock<BTreeSet<&str>> = LazyLock::new(|| STOP.iter().copied().collect());

fn row(stem: &str) -> Option<&'static str> {
    let find = |word: &str| ROWS.get(word).copied();
    find(stem).or_else(|| stem.strip_suffix('e').and_then(find))
}

/// Returns whether a word carries meaning.
pub(crate) fn is_meaningful(word: &str) -> bool {
    word.len() > 1 && !STOPPED.contains(word)
}

/// Returns a word of a text as it is compared: the first one is more likely a verb, any other a
/// thing.
pub(crate) fn compared(index: usize, word: &str) -> String {
    let base = stem(word);
    let noun = NOUNS.iter().find(|row| row.contains(&base.as_str())).map(|row| row[0]);
    match noun {
        Some(noun) if index > 0 => noun.to_owned(),
        Some(_) | None => canonical(word),
    }
}

/// Returns the words of a tool's name as they are compared: without what all tools of the server
/// are called, and without what says nothing.
pub(crate) fn compared_name(name: &str, server: Option<&str>) -> BTreeSet<String> {
    let words = split(name);
    let server: Vec<String> = server.map(split).unwrap_or_default();
    let mut telling: Vec<&String> =
        words.iter().filter(|word| is_meaningful(word) && !server.contains(word)).collect();
    if telling.is_empty() {
        telling = words.iter().collect();
    }
    let all: BTreeSet<String> =
        telling.iter().enumerate().map(|(index, word)| compared(index, word)).collect();
    let kept: BTreeSet<String> =
        all.iter().filter(|word| !VAGUE.contains(&word.as_str())).cloned().collect();
    if kept.is_empty() { all } else { kept }
}

/// Returns the words of a text that carry meaning, stemmed.
pub(crate) fn meaningful(text: &str) -> Vec<String> {
    split(text).iter().filter(|word| !STOPPED.contains(word.as_str())).map(|w| stem(w)).collect()
}

/// Returns the words of a name, with verbs under their row's first.
pub(crate) fn name_words(name: &str) -> Vec<String> {
    split(name)
        .iter()
        .filter(|word| !STOPPED.contains(word.as_str()))
        .map(|word| canonical(word))
        .collect()
}

/// Returns the action that a name begins with, or ends with, if it is one.
pub(crate) fn action(name: &str) -> Option<&'static str> {
    let words = split(name);
    let first = words.iter().find_map(|word| row(&stem(word)));
    first.or_else(|| words.last().and_then(|word| row(&stem(word))))
}

/// Returns whether two actions may serve the same purpose: to get, to find and to list are told
/// apart by few.
pub(crate) fn may_be_the_same(a: &str, b: &str) -> bool {
    const READS: [&str; 3] = ["get", "find", "list"];
    a == b || (READS.contains(&a) && READS.contains(&b))
}

/// Returns whether the name's own first words say that something is changed.
pub(crate) fn names_a_change(name: &str) -> bool {
    let words = split(name);
    words.iter().take(2).find_map(|word| row(&stem(word))).is_some_and(|a| CHANGING.contains(&a))
}

/// Returns whether a description of something called `name` adds nothing to the name.
pub(crate) fn only_restates(name: &str, description: &str) -> bool {
    let known: BTreeSet<String> = name_words(name).into_iter().collect();
    let is_filler =
        |word: &String| FILLER.contains(&word.as_str()) || FILLER.contains(&&*canonical(word));
    let adds = |word: &String| {
        let base = canonical(word);
        // Nor is a longer form of a known word any news.
        !known.contains(&base)
            && !is_filler(word)
            && !known.iter().any(|k| k.len() > 3 && base.starts_with(k.as_str()))
    };
    // Other verbs at the beginning, beside the name's own, are no news; further on they are nouns
    // as likely: “changes that are staged for commit”.
    let words = meaningful(description);
    let rest = words.iter().skip_while(|word| is_filler(word) || row(word).is_some());
    !rest.into_iter().any(adds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_meet_in_their_base() {
        assert_eq!(split("getUserByID_v2-now"), ["get", "user", "by", "id", "v2", "now"]);
        for (a, b) in
            [("reads", "read"), ("queries", "query"), ("listing", "list"), ("matches", "match")]
        {
            assert_eq!(stem(a), b);
        }
        assert_eq!(stem("status"), "status");
        assert_eq!(canonical("fetches"), "get");
        assert_eq!(canonical("retrieves"), "get");
        assert_eq!(name_words("fetch_users"), name_words("getUser"));
    }

    #[test]
    fn a_description_that_adds_nothing_is_known() {
        for (name, text) in [
            ("get_user", "Gets the user."),
            ("pay", "Pays something."),
            ("create_issue", "A tool to create new issues"),
            ("searchDocs", "Search docs"),
            ("git_log", "Shows the commit logs"),
        ] {
            assert!(only_restates(name, text), "{name}");
        }
        for (name, text) in [
            ("get_user", "Returns a user's profile by e-mail address."),
            ("echo", "Echoes back the input string"),
            ("list", "Lists a folder of the workspace."),
            ("git_diff_staged", "Shows changes that are staged for commit"),
        ] {
            assert!(!only_restates(name, text), "{name}");
        }
    }

    #[test]
    fn names_tell_what_they_do() {
        assert_eq!(action("fetch_page"), Some("get"));
        assert!(names_a_change("delete_user") && names_a_change("user_create"));
        assert!(!names_a_change("get_commit") && !names_a_change("search_orders"));
    }
}
