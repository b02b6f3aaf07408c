//! `new`, `init`, `schema` and `completions`.

use std::path::Path;

use crate::cli::args::{SchemaKind, Shell};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::project::{SchemaOf, schema as schema_of};
use crate::scaffold::{self, StartModel};

pub fn new(dir: &Path, model: StartModel) -> Result<Exit, Stopped> {
    let made = scaffold::new(dir, model).map_err(|error| Stopped::misuse(error.to_string()))?;
    report(&made);
    put(&format!(
        "\nnext:\n  cd {}\n  prusik run \"Say what is in the workspace\"\n",
        dir.display()
    ));
    Ok(Exit::Done)
}

pub fn init(dir: &Path, model: StartModel) -> Result<Exit, Stopped> {
    let made = scaffold::init(dir, model).map_err(|error| Stopped::misuse(error.to_string()))?;
    report(&made);
    put("\nnext:\n  prusik run \"…\"\n");
    Ok(Exit::Done)
}

fn report(made: &scaffold::Made) {
    for file in &made.created {
        put(&format!("wrote {}\n", file.display()));
    }
    for file in &made.kept {
        put(&format!("kept  {}\n", file.display()));
    }
    for note in &made.notes {
        put(&format!("{note}\n"));
    }
}

pub fn schema(of: SchemaKind) -> Exit {
    let schema = schema_of(match of {
        SchemaKind::Project => SchemaOf::Project,
        SchemaKind::Agent => SchemaOf::Agent,
    });
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    put(&format!("{text}\n"));
    Exit::Done
}

pub fn completions(shell: Shell) -> Exit {
    let line = match shell {
        Shell::Bash => "source <(COMPLETE=bash prusik)",
        Shell::Zsh => "source <(COMPLETE=zsh prusik)",
        Shell::Fish => "COMPLETE=fish prusik | source",
        Shell::Elvish => "eval (E:COMPLETE=elvish prusik | slurp)",
        Shell::Powershell => {
            "$env:COMPLETE = \"powershell\"; prusik | Out-String | Invoke-Expression; \
             Remove-Item Env:\\COMPLETE"
        }
    };
    put(&format!("{line}\n"));
    Exit::Done
}
