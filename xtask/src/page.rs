//! Measured tables in docs/benchmarks.md, each between markers of its own.

use std::fs;

use anyhow::{Context, Result};

/// Puts a table between the markers that name the command that wrote it. The page keeps everything
/// else.
pub fn write(command: &str, table: &str) -> Result<()> {
    let page = crate::root().join("docs/benchmarks.md");
    let text =
        fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let replaced = between_markers(&text, command, table).with_context(|| {
        format!("{} does not hold the lines `{}` and `{END}`", page.display(), begin(command))
    })?;
    fs::write(&page, replaced).with_context(|| format!("cannot write {}", page.display()))
}

const END: &str = "<!-- end -->";

fn begin(command: &str) -> String {
    format!("<!-- begin: written by `{command}` -->")
}

fn between_markers(text: &str, command: &str, table: &str) -> Option<String> {
    let begin = begin(command);
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n\n{}\n\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_the_markers_stays() {
        let (one, other) = (begin("one"), begin("other"));
        let page = format!("before\n{other}\nkept\n{END}\n{one}\nold\n{END}\nafter\n");
        let written = between_markers(&page, "one", "| new |\n").unwrap();
        let kept = format!("before\n{other}\nkept\n{END}\n{one}\n\n| new |\n\n{END}\nafter\n");
        assert_eq!(written, kept);
        assert_eq!(between_markers("no markers", "one", "x"), None);
    }
}
