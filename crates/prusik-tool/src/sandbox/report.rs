//! What the cage says on a command's standard error, told from what the command says.
//!
//! The lines begin with a word that was given to the supervisor in confidence: a command cannot
//! know it, so it can forge neither line.

use super::spec::Report;

/// Bytes of chance in a password.
const PASSWORD_BYTES: usize = 16;

/// What was heard of a command.
pub(crate) enum Heard {
    /// It has not begun.
    Nothing,
    /// It began, and nobody told how it ended.
    Begun,
    Ended(Report),
}

/// Returns a word that nobody can guess.
pub(crate) fn password() -> String {
    use std::collections::hash_map::RandomState;
    use std::hash::{BuildHasher as _, Hasher as _};
    // The keys of each state are the operating system's chance.
    let word = || RandomState::new().build_hasher().finish();
    let mut text = String::new();
    for _ in 0..PASSWORD_BYTES / 8 {
        text.push_str(&format!("{:016x}", word()));
    }
    text
}

/// Takes the cage's lines out of what a command's standard error held, or as much of it as was kept.
pub(crate) fn overhear(said: &mut Vec<u8>, password: &str) -> Heard {
    let begun = format!("{password} begun\n");
    let began = find(said, begun.as_bytes());
    if let Some(at) = began {
        said.drain(at..at + begun.len());
    }
    let mark = format!("\n{password} ");
    let Some(at) = find(said, mark.as_bytes()) else {
        return if began.is_some() { Heard::Begun } else { Heard::Nothing };
    };
    let report = serde_json::from_slice(&said[at + mark.len()..]);
    said.truncate(at);
    report.map_or(Heard::Begun, Heard::Ended)
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::super::spec::End;
    use super::*;

    fn heard(said: &str) -> (Heard, String) {
        let mut said = said.as_bytes().to_vec();
        let heard = overhear(&mut said, "word");
        (heard, String::from_utf8(said).unwrap())
    }

    #[test]
    fn the_lines_of_the_cage_are_taken_out_and_the_commands_stay() {
        let report = r#"{"end":{"exited":3},"limit":null,"set_aside":[]}"#;
        let (ended, rest) = heard(&format!("word begun\noh no\n\nword {report}\n"));
        let Heard::Ended(report) = ended else { panic!("the end is told") };
        assert_eq!((report.end, rest.as_str()), (End::Exited(3), "oh no\n"));
        let (begun, rest) = heard("word begun\noh no");
        assert!(matches!(begun, Heard::Begun) && rest == "oh no");
        let (nothing, rest) = heard("bwrap: no\nwor begun\n");
        assert!(matches!(nothing, Heard::Nothing) && rest == "bwrap: no\nwor begun\n");
    }

    #[test]
    fn passwords_differ_and_are_long() {
        let (one, other) = (password(), password());
        assert!(one != other && one.len() == 32, "{one} {other}");
    }
}
