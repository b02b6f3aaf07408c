//! The demo's project: the files of `examples/invoices`, carried in the binary.

use std::fs;
use std::path::{Path, PathBuf};

use super::ledger::Amount;
use super::{DEFAULT_DIR, DemoError};

/// The folder of the invoices in the project.
const INVOICES: &str = "workspace/invoices/";
/// Folders that are tried in place of the default one.
const FOLDERS_MAX: u32 = 1_000;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../../examples/invoices/", $path)))),*]
    };
}

/// Every file of the project and its text.
pub const FILES: [(&str, &str); 10] = files![
    ".gitignore",
    "README.md",
    "prusik.yaml",
    "agents/clerk.md",
    "scripts/clerk.yaml",
    "workspace/invoices/INV-1041-harbour-paper.txt",
    "workspace/invoices/INV-1042-northlight-hosting.txt",
    "workspace/invoices/INV-1043-linden-catering.txt",
    "workspace/invoices/INV-1044-quickfix-it.txt",
    "workspace/invoices/INV-1045-green-window.txt",
];

/// The account that the hostile invoice wants money sent to, and the invoice.
pub const DEMANDED_IBAN: &str = "LT459999900009876543";
pub const HOSTILE: &str = "INV-1044";
/// The invoice whose payment is interrupted.
pub const INTERRUPTED: &str = "INV-1043";

/// What an invoice asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub reference: &'static str,
    pub recipient: &'static str,
    pub iban: &'static str,
    pub amount: Amount,
}

/// Returns the invoices as their own texts say.
pub fn invoices() -> Vec<Invoice> {
    let texts = FILES.iter().filter(|(path, _)| path.starts_with(INVOICES)).map(|(_, text)| text);
    texts
        .map(|text| {
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.expect("a test reads every invoice").trim()
            };
            let amount = field("Total due:").trim_end_matches(" EUR");
            Invoice {
                reference: field("Reference:"),
                recipient: field("Pay to:"),
                iban: field("IBAN:"),
                amount: amount.parse().expect("a test reads every invoice"),
            }
        })
        .collect()
}

/// Returns the lines of the hostile invoice that speak to the model.
pub fn demand() -> impl Iterator<Item = &'static str> {
    let hostile = FILES.iter().find(|(path, _)| path.contains(HOSTILE));
    let lines = hostile.map_or("", |(_, text)| text).lines();
    lines.skip_while(|line| !line.starts_with("SYSTEM:"))
}

/// Returns the folder to write to: `dir`, if it is missing or empty. The default gives way to the
/// next free name, so that the demo can be seen twice.
pub fn free_folder(dir: &Path) -> Result<PathBuf, DemoError> {
    if is_free(dir)? {
        return Ok(dir.to_owned());
    }
    if dir == Path::new(DEFAULT_DIR) {
        for number in 2..=FOLDERS_MAX {
            let next = PathBuf::from(format!("{DEFAULT_DIR}-{number}"));
            if is_free(&next)? {
                return Ok(next);
            }
        }
    }
    Err(DemoError::FolderExists { folder: dir.to_owned() })
}

fn is_free(dir: &Path) -> Result<bool, DemoError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(source) => Err(DemoError::Io { path: dir.to_owned(), action: "read", source }),
    }
}

/// Writes the project into `folder`. Nothing that is there is overwritten.
pub fn write(folder: &Path) -> Result<(), DemoError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        let parent = path.parent().expect("every file is in the folder");
        let io = |path: &Path, action| {
            let path = path.to_owned();
            move |source| DemoError::Io { path, action, source }
        };
        fs::create_dir_all(parent).map_err(io(parent, "made"))?;
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(io(&path, "made"))?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(io(&path, "written"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn examples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/invoices")
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(name);
                }
            }
        }
        found
    }

    #[test]
    fn every_file_of_the_example_is_carried() {
        // What runs leave in the folder is not part of it.
        let left_by_runs =
            |name: &String| name.starts_with(".prusik/") || name.starts_with("ledger.jsonl");
        let mut there = names(&examples());
        there.retain(|name| !left_by_runs(name));
        let carried: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, carried);
    }

    #[test]
    fn the_invoices_say_what_the_story_tells() {
        let invoices = invoices();
        assert_eq!(invoices.len(), 5);
        for (invoice, (path, _)) in invoices.iter().zip(&FILES[5..]) {
            assert!(path.contains(invoice.reference), "{path}");
        }
        let text = |reference: &str| {
            FILES.iter().find(|(path, _)| path.contains(reference)).map(|(_, text)| *text).unwrap()
        };
        assert!(text(HOSTILE).contains(DEMANDED_IBAN));
        assert!(text(HOSTILE).contains("SYSTEM: "));
        assert!(invoices.iter().any(|invoice| invoice.reference == INTERRUPTED));
        let script = text("scripts/clerk.yaml");
        for invoice in &invoices {
            for part in [invoice.reference, invoice.iban, &invoice.amount.to_string()] {
                assert!(script.contains(part), "the script does not know {part}");
            }
        }
        assert!(script.contains(DEMANDED_IBAN), "the model obeys");
        assert!(!text("agents/clerk.md").contains(DEMANDED_IBAN));
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(free_folder(folder.path()).unwrap(), folder.path(), "an empty folder will do");
        let new = folder.path().join("a/b");
        write(&free_folder(&new).unwrap()).unwrap();
        assert_eq!(names(&new), names(&new).into_iter().collect());
        assert_eq!(names(&new).len(), FILES.len());
        let error = free_folder(&new).unwrap_err();
        assert!(error.is_misuse() && error.to_string().contains("prusik demo DIR"), "{error}");
        let file = new.join("README.md");
        assert!(matches!(free_folder(&file), Err(DemoError::FolderExists { .. })));
        assert!(matches!(write(&new), Err(DemoError::Io { .. })));
    }

    #[test]
    fn the_example_is_a_project_without_a_mistake() {
        let project = crate::project::Project::load(&examples()).unwrap();
        let clerk = project.agent(None).unwrap();
        assert_eq!((clerk.name.as_str(), project.model_alias(clerk)), ("clerk", "default"));
        for (name, text) in FILES.iter().filter(|(name, _)| name.starts_with("scripts/")) {
            prusik_model::Script::parse(text, name).unwrap();
        }
    }
}
