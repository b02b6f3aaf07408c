//! `policy`: what can be said of the organisation's policies before a call depends on them.

use std::path::Path;

use prusik_policy::{Finding, Severity, Vocabulary};
use serde_json::json;

use super::Place;
use crate::assemble;
use crate::cli::args::PolicyCommand;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{Paint, counted, within_line};
use crate::project::Project;
use crate::project::policy::POLICY_FOLDER;

pub fn policy(place: &Place, command: &PolicyCommand) -> Result<Exit, Stopped> {
    let (project, mistakes) = Project::load_beside_policy(&place.root()?, Vec::new())?;
    match command {
        PolicyCommand::Check => check(place, &project, mistakes),
        PolicyCommand::Schema => {
            put(&vocabulary(&project)?.schema_text().map_err(Stopped::misuse)?);
            Ok(Exit::Done)
        }
    }
}

/// Returns what policies can speak of, as the lock has it.
fn vocabulary(project: &Project) -> Result<Vocabulary, Stopped> {
    let listed = assemble::locked(project)?;
    Ok(project.vocabulary(&listed.tools))
}

fn check(place: &Place, project: &Project, mistakes: Vec<Finding>) -> Result<Exit, Stopped> {
    let policies = project.policies();
    let found = if mistakes.is_empty() && !policies.is_empty() {
        policies.check(&vocabulary(project)?)
    } else {
        mistakes
    };
    if place.json {
        for finding in &found {
            put(&format!("{}\n", json!({"finding": of_finding(finding)})));
        }
        let (policies, findings) = (policies.len(), found.len());
        put(&format!("{}\n", json!({"policies": policies, "findings": findings})));
    } else {
        let paint = Paint::for_stdout();
        for finding in &found {
            put(&told(finding, paint));
        }
        put(&summary(project.root(), policies.len(), &found));
    }
    Ok(if found.is_empty() { Exit::Done } else { Exit::Failed })
}

fn of_finding(finding: &Finding) -> serde_json::Value {
    json!({
        "severity": finding.severity.as_str(), "file": finding.file, "line": finding.line,
        "column": finding.column, "policy": finding.policy, "text": finding.text,
        "message": finding.message, "help": finding.help,
    })
}

fn told(finding: &Finding, paint: Paint) -> String {
    let severity = match finding.severity {
        Severity::Error => paint.red("error"),
        Severity::Warning => paint.yellow("warning"),
    };
    let place = format!("{}:{}:{}:", finding.file, finding.line, finding.column);
    let mut text =
        format!("{} {severity} {}\n", within_line(&place), within_line(&finding.message));
    // The first line shows which words are meant; the place leads to the others.
    if let Some(line) = finding.text.lines().next().filter(|line| !line.trim().is_empty()) {
        text.push_str(&format!("  {}\n", paint.dim(&within_line(line))));
    }
    if let Some(help) = &finding.help {
        text.push_str(&format!("  help: {}\n", within_line(help)));
    }
    text
}

fn summary(root: &Path, policies: usize, found: &[Finding]) -> String {
    if found.is_empty() && policies == 0 {
        let folder = root.join(POLICY_FOLDER);
        return format!("there are no policies: no {}/*.cedar\n", folder.display());
    }
    let of = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let errors = counted(of(Severity::Error), "error");
    let warnings = counted(of(Severity::Warning), "warning");
    // Policies that cannot be read are no policies yet.
    if policies == 0 {
        format!("{errors}, {warnings}\n")
    } else {
        format!("{policies} policies: {errors}, {warnings}\n")
    }
}
