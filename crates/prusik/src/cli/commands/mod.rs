//! The commands, and what most of them begin with: the project, its store, and one run of it.

pub mod certify;
pub mod change;
pub mod chaos;
pub mod context;
pub mod demo;
pub mod inbox;
pub mod lock;
pub mod look;
pub mod make;
pub mod policy;
pub mod review;
pub mod run;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use prusik_core::ids::RunId;
use prusik_store::{Filter, RunRow};

use super::exit::Stopped;
use super::live::complain;
use crate::library::{Error, Prusik};
use crate::project::Project;

/// Fewest characters of an id that name a run.
const ID_CHARS_MIN: usize = 4;

/// Where a command was given and how it is to answer.
#[derive(Debug, Clone)]
pub struct Place {
    pub directory: Option<PathBuf>,
    pub json: bool,
}

impl Place {
    /// Loads the project of this folder or of one above it.
    pub fn project(&self) -> Result<Project, Stopped> {
        Ok(Project::load(&self.root()?)?)
    }

    /// Returns the folder of the project.
    pub fn root(&self) -> Result<PathBuf, Stopped> {
        let here = std::env::current_dir()
            .map_err(|error| Stopped::misuse(format!("the current folder is gone: {error}")))?;
        let from = match &self.directory {
            Some(directory) => here.join(directory),
            None => here,
        };
        if !from.is_dir() {
            return Err(Stopped::misuse(format!("there is no folder {}", from.display())));
        }
        Ok(Project::find(&from)?)
    }

    /// Loads the project and opens its store.
    pub fn prusik(&self) -> Result<Prusik, Stopped> {
        Ok(self.open(self.project()?)?)
    }

    /// Opens the store of a project.
    pub fn open(&self, project: Project) -> Result<Prusik, Error> {
        let prusik = Prusik::of_project(project, Vec::new())?;
        Ok(if self.json { prusik } else { prusik.tell(|text| complain(&text)) })
    }

    /// Returns `-C DIR` where the next command needs it, to be put into hints.
    pub fn option(&self) -> String {
        match &self.directory {
            Some(directory) => format!(" -C {}", directory.display()),
            None => String::new(),
        }
    }
}

/// Writes a file of the project in one go: whoever reads it sees the old text or the new one.
/// A link stays one, and the file's permissions stay as they are.
pub fn write_atomically(path: &Path, text: &str) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".prusik-").tempfile_in(folder).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    match std::fs::metadata(&target) {
        // A rename would take the place of a file that nobody may write.
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(format!("cannot write {}: it is read-only", path.display()));
        }
        Ok(metadata) => file.as_file().set_permissions(metadata.permissions()).map_err(fail)?,
        Err(_) => readable_by_others(file.as_file()).map_err(fail)?,
    }
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&target).map_err(|error| fail(error.error))?;
    Ok(())
}

/// A temporary file is its owner's alone; one of the project is for whoever has the project.
fn readable_by_others(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Finds the run that a person means: an id, its beginning or its end, or `last`.
pub async fn find_run(prusik: &Prusik, text: &str) -> Result<RunId, Stopped> {
    let rows = prusik.runs(&Filter::default()).await?;
    if rows.is_empty() {
        let message = "the project has no runs yet; `prusik run \"…\"` makes one";
        return Err(Stopped::misuse(message));
    }
    if text == "last" {
        return Ok(rows[0].run.clone());
    }
    // An empty variable in a script must not mean some run.
    if text.len() < ID_CHARS_MIN {
        let message =
            format!("`{text}` is too short for a run's id; give {ID_CHARS_MIN} characters");
        return Err(Stopped::misuse(message));
    }
    let means =
        |row: &&RunRow| row.run.as_str().starts_with(text) || row.run.as_str().ends_with(text);
    let found: Vec<&RunRow> = rows.iter().filter(means).collect();
    match found.as_slice() {
        [one] => Ok(one.run.clone()),
        [] => Err(Stopped::misuse(format!("there is no run `{text}`; `prusik runs` lists them"))),
        several => {
            let ids: Vec<&str> = several.iter().take(5).map(|row| row.run.as_str()).collect();
            let message = format!("`{text}` means {} runs: {}", several.len(), ids.join(", "));
            Err(Stopped::misuse(format!("{message}; give more of the id")))
        }
    }
}
