//! A file that a report is written into: opened before the work is done that it reports.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Stopped;

/// A file that can be written. What stood in it stays until then.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    file: File,
    /// Whether there was no such file: it goes again if nothing is written.
    is_new: bool,
}

impl Page {
    pub fn open(path: &Path) -> Result<Self, Stopped> {
        let is_new = !path.exists();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| cannot(path, &error))?;
        Ok(Self { path: path.to_owned(), file, is_new })
    }

    pub fn write(mut self, text: &str) -> Result<(), Stopped> {
        self.is_new = false;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|error| cannot(&self.path, &error))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.is_new {
            // An empty file that stays harms nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Stopped {
    Stopped::misuse(format!(
        "cannot write {}: {error}\n  help: name a file in a folder that exists and may be written",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_written_leaves_all_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::write(&old, "a longer text").unwrap();
        drop(Page::open(&old).unwrap());
        drop(Page::open(&new).unwrap());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "a longer text");
        assert!(!new.exists());
        for path in [&old, &new] {
            Page::open(path).unwrap().write("short").unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), "short");
        }
        let error = Page::open(&folder.path().join("none/x")).unwrap_err();
        assert!(error.message.contains("none/x"), "{error}");
    }
}
