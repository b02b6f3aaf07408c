//! `cargo xtask docs`: writes the book's reference from the code, or says which page is stale.

mod cli;
mod events;
mod exits;
mod json_output;
mod schema;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use prusik::project::SchemaOf;

/// Where the pages are, from the root of the repository.
const FOLDER: &str = "docs/src/reference";
/// The first line of every page.
const NOTE: &str = "<!-- Written by `cargo xtask docs` from the code. Do not edit. -->\n\n";

#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail if a page is not what the code says
    #[arg(long)]
    check: bool,
}

/// A generated file.
struct Page {
    name: &'static str,
    text: String,
}

/// Writes the pages, or checks them.
pub fn run_docs(args: &Args) -> Result<()> {
    let root = crate::root();
    if args.check { check(&root) } else { write(&root) }
}

/// Fails if a page of the reference is missing, left over, or not what the code says.
pub fn check(root: &Path) -> Result<()> {
    let stale = stale(&root.join(FOLDER), &pages(root)?)?;
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "the reference is not what the code says; run `cargo xtask docs` and commit what it \
         writes:\n{}",
        stale.join("\n")
    )
}

fn write(root: &Path) -> Result<()> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for page in pages(root)? {
        let path = folder.join(page.name);
        fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn pages(root: &Path) -> Result<Vec<Page>> {
    let page = |name, text: String| Page { name, text: format!("{NOTE}{text}") };
    let json = |name, of| {
        let text = serde_json::to_string_pretty(&prusik::project::schema(of))
            .expect("a schema is plain data");
        Page { name, text: text + "\n" }
    };
    Ok(vec![
        page("cli.md", cli::page()),
        page("events.md", events::page(root)?),
        page("exit-codes.md", exits::page()),
        page("json-output.md", json_output::page()?),
        page("prusik-yaml.md", schema::project_page()?),
        page("agent-files.md", schema::agent_page()?),
        json("prusik.schema.json", SchemaOf::Project),
        json("agent.schema.json", SchemaOf::Agent),
    ])
}

/// Returns a line for each file of `folder` that is not as `pages` have it.
fn stale(folder: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for page in pages {
        let shown = format!("{FOLDER}/{}", page.name);
        match fs::read_to_string(folder.join(page.name)) {
            Ok(found) => {
                stale.extend(first_difference(&found, &page.text).map(|d| format!("{shown}:{d}")));
            }
            Err(_) => stale.push(format!("{shown}: is missing")),
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let name = entry.context("cannot list the reference")?.file_name();
        if !pages.iter().any(|page| name == page.name) {
            stale.push(format!("{FOLDER}/{}: nothing writes it", name.to_string_lossy()));
        }
    }
    Ok(stale)
}

/// Returns the first line that differs, with its number and both texts.
fn first_difference(found: &str, wanted: &str) -> Option<String> {
    if found == wanted {
        return None;
    }
    let (mut found, mut wanted) = (found.lines(), wanted.lines());
    for number in 1.. {
        match (found.next(), wanted.next()) {
            (None, None) => return Some(format!("{number}: only the end of the file differs")),
            (found, wanted) if found == wanted => {}
            (found, wanted) => {
                let found = found.unwrap_or("(the end)");
                let wanted = wanted.unwrap_or("(the end)");
                return Some(format!("{number}:\n  - {found}\n  + {wanted}"));
            }
        }
    }
    None
}

/// Returns a table in Markdown; an empty cell reads as a dash.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.iter().map(|cell| (*cell).to_owned()).collect());
    text.push_str(&line(vec!["---".to_owned(); head.len()]));
    for row in rows {
        text.push_str(&line(row.iter().map(|cell| in_a_cell(cell)).collect()));
    }
    text
}

fn in_a_cell(text: &str) -> String {
    match text.trim() {
        "" => "–".to_owned(),
        text => text.replace('\n', " ").replace('|', "\\|"),
    }
}

/// Returns a sentence: with its full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?', ':']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_missing_left_over_or_other_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let pages = || vec![Page { name: "a.md", text: "one\ntwo\n".to_owned() }];
        assert!(stale(folder.path(), &pages()).unwrap()[0].ends_with("a.md: is missing"));
        for (found, said) in [
            ("one\nzwei\n", "a.md:2:\n  - zwei\n  + two"),
            ("one\n", "a.md:2:\n  - (the end)\n  + two"),
            ("one\ntwo", "a.md:3: only the end of the file differs"),
        ] {
            fs::write(folder.path().join("a.md"), found).unwrap();
            let stale = stale(folder.path(), &pages()).unwrap();
            assert!(stale.len() == 1 && stale[0].ends_with(said), "{stale:?}");
        }
        fs::write(folder.path().join("a.md"), "one\ntwo\n").unwrap();
        assert!(stale(folder.path(), &pages()).unwrap().is_empty());
        fs::write(folder.path().join("old.md"), "").unwrap();
        assert!(stale(folder.path(), &pages()).unwrap()[0].ends_with("old.md: nothing writes it"));
    }

    #[test]
    fn a_table_keeps_its_cells() {
        let rows = [vec!["a|b".to_owned(), String::new()]];
        assert_eq!(table(&["x", "y"], &rows), "| x | y |\n| --- | --- |\n| a\\|b | – |\n");
    }
}
