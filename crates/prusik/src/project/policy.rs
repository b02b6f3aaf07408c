//! The organisation's policy in a project: `policy/*.cedar`.

use std::path::Path;

use prusik_core::agent::Tool;
use prusik_policy::{Finding, PolicyFile, Vocabulary};

use super::error::{Place, ProjectError};
use super::lock::Lock;
use super::source::read_text;
use super::{BUILT_IN_TOOLS, ListedTool, Project, ProjectErrors};

/// The folder that policy files stand in.
pub const POLICY_FOLDER: &str = "policy";
/// Most files that are read.
const FILES_MAX: usize = 1_000;

/// Reads the policy files of a project; what cannot be read is an error, for a rule that nobody reads
/// forbids nothing.
pub(super) fn files(root: &Path, errors: &mut Vec<ProjectError>) -> Vec<PolicyFile> {
    let folder = Path::new(POLICY_FOLDER);
    let unreadable = |file: &Path, error: &dyn std::fmt::Display| {
        ProjectError::of_file(file, format!("cannot be read: {error}"))
    };
    let entries = match std::fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.push(unreadable(folder, &error));
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => errors.push(unreadable(folder, &error)),
        }
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let file = folder.join(&name);
        if root.join(&file).is_dir() {
            let message = "is a folder, and policies are not looked for in it";
            let help = "put its files into `policy` itself";
            errors.push(ProjectError::of_file(file, message).with_help(help));
            continue;
        }
        let is_policy =
            Path::new(&name).extension().is_some_and(|e| e.eq_ignore_ascii_case("cedar"));
        if !is_policy || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match read_text(&root.join(&file), &file) {
            Ok(text) => files.push(PolicyFile { name: file.display().to_string(), text }),
            Err(error) => errors.push(error),
        }
    }
    if files.len() > FILES_MAX {
        let message = format!("holds more than the {FILES_MAX} policy files that are read");
        errors.push(ProjectError::of_file(folder, message));
    }
    files
}

/// Returns a mistake in a policy as one of the project.
pub(crate) fn error(finding: &Finding) -> ProjectError {
    ProjectError {
        file: finding.file.clone().into(),
        place: Some(Place { line: finding.line, column: finding.column }),
        message: finding.message.clone(),
        help: finding.help.clone(),
    }
}

impl Project {
    /// Returns what policies can speak of where these are all tools that the servers have.
    pub fn vocabulary(&self, tools: &[ListedTool]) -> Vocabulary {
        let offered: Vec<Tool> = tools
            .iter()
            .filter(|tool| tool.left_out.is_none())
            .map(|tool| Tool {
                name: tool.facts.name.clone(),
                description: tool.facts.description.clone(),
                input_schema: tool.facts.input_schema.clone(),
                output_schema: tool.facts.output_schema.clone(),
                contract: self.contract_of(&tool.facts),
                shown: true,
            })
            .collect();
        let left_out = tools.iter().filter(|tool| tool.left_out.is_some());
        let own = self.own.iter().map(|own| own.name.clone());
        let others = left_out.map(|tool| tool.facts.name.clone()).chain(own);
        let others = others.chain(BUILT_IN_TOOLS.map(str::to_owned));
        Vocabulary::new(self.agent_names(), &offered).with_others(others)
    }

    pub(crate) fn agent_names(&self) -> impl Iterator<Item = String> {
        self.agents.iter().map(|agent| agent.name.clone())
    }

    /// Adds to what a run's policies may name: the tools that the lock knows, and those of servers that
    /// it does not.
    pub(crate) fn with_what_is_elsewhere(
        &self,
        vocabulary: Vocabulary,
    ) -> Result<Vocabulary, ProjectErrors> {
        let lock = Lock::read(&self.root)?;
        let known = lock.iter().flat_map(Lock::tools).map(|(name, _)| name);
        let unheard = self.servers().filter(|server| {
            lock.as_ref().is_none_or(|lock| !lock.servers.contains_key(&server.name))
        });
        let own = self.own.iter().map(|own| own.name.clone());
        let others = known.chain(own).chain(BUILT_IN_TOOLS.map(str::to_owned));
        let unheard = unheard.map(|server| server.name.clone());
        Ok(vocabulary.with_others(others).with_unheard(unheard))
    }
}
