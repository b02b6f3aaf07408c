//! `lint` and `check`: what can be said of the tools before an agent runs.

use std::path::Path;

use prusik_check::{
    AgentEntry, Catalogue, Checked, Counts, Finding, LeftOut, LintReport, Provider, Report,
    Severity, Suppressed, failures, html, sarif,
};
use prusik_core::agent::Agent;
use serde_json::json;

use super::Place;
use crate::assemble::{self, Listed};
use crate::cli::args::{CheckArgs, Level, LintArgs};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::text::{Paint, printable};
use crate::project::{PROJECT_FILE, Project, ToolFacts, config};

/// What both commands look at.
struct Reviewed {
    project: Project,
    agents: Vec<Agent>,
    lint: LintReport,
    problem: Option<String>,
}

pub async fn lint(place: &Place, args: &LintArgs) -> Result<Exit, Stopped> {
    let reviewed = review(place).await?;
    let lint = &reviewed.lint;
    if args.sarif {
        put_sarif(&lint.findings, &lint.suppressed, reviewed.problem.as_ref());
    } else if place.json {
        put_json(&lint.findings, &lint.suppressed);
    } else {
        put(&told(&lint.findings, Paint::for_stdout()));
        put(&summary(lint.tools, lint.counts(), lint.suppressed.len()));
    }
    Ok(exit(&reviewed, lint.counts(), args.deny))
}

pub async fn check(place: &Place, args: &CheckArgs) -> Result<Exit, Stopped> {
    let mut reviewed = review(place).await?;
    if let Some(name) = &args.agent {
        reviewed.project.agent(Some(name))?;
        reviewed.agents.retain(|agent| agent.name == *name);
    }
    let report = Report { sections: vec![failures(&reviewed.agents, &reviewed.lint)] };
    if let Some(file) = &args.html {
        write_page(&reviewed.project, file, &report)?;
    }
    let findings: Vec<Finding> = report.findings().cloned().collect();
    let suppressed: Vec<Suppressed> =
        report.sections.iter().flat_map(|section| section.suppressed.clone()).collect();
    if args.sarif {
        put_sarif(&findings, &suppressed, reviewed.problem.as_ref());
    } else if place.json {
        for section in &report.sections {
            for agent in &section.agents {
                for tool in &agent.tools {
                    let question = section.question;
                    let object = json!({"question": question, "agent": agent.agent, "tool": tool});
                    put(&format!("{object}\n"));
                }
            }
        }
        put_json(&findings, &suppressed);
    } else {
        let paint = Paint::for_stdout();
        put(&answers(&report, paint));
        put(&told(&findings, paint));
        let tools = reviewed.agents.iter().map(|agent| agent.tools.len()).sum();
        put(&summary(tools, report.counts(), suppressed.len()));
    }
    Ok(exit(&reviewed, report.counts(), args.deny))
}

async fn review(place: &Place) -> Result<Reviewed, Stopped> {
    let project = place.project()?;
    let Listed { tools, left_out, problem } = assemble::listed(&project).await?;
    let mut facts: Vec<ToolFacts> = Vec::new();
    let mut catalogue = Catalogue { settings: project.review_settings(), ..Catalogue::default() };
    for info in tools {
        let hints = info.hints.clone();
        let fact = assemble::facts(info);
        catalogue.tools.push(project.review_entry(&fact, hints));
        facts.push(fact);
    }
    catalogue.left_out = left_out
        .into_iter()
        .map(|tool| LeftOut {
            name: format!("{}__{}", tool.server, tool.tool),
            place: project.server_place(&tool.server),
            server: tool.server,
            reason: tool.reason,
        })
        .collect();
    let mut agents = Vec::new();
    // A server that is not there has no tools: what names them is no mistake of the project.
    if problem.is_none() {
        let absent = catalogue.left_out.iter().map(|tool| tool.name.as_str());
        let known: Vec<&str> = facts.iter().map(|tool| tool.name.as_str()).chain(absent).collect();
        catalogue.strays = project.review_strays(&known);
        if catalogue.strays.is_empty() {
            for entry in project.agents() {
                agents.push(project.agent_definition(Some(&entry.name), &facts)?);
            }
        }
    }
    catalogue.agents = agents.iter().map(|agent| agent_entry(&project, agent)).collect();
    let lint = prusik_check::lint(&catalogue);
    if let Some(problem) = &problem {
        complain(&format!("error: {}", printable(problem)));
    }
    Ok(Reviewed { project, agents, lint, problem })
}

fn agent_entry(project: &Project, agent: &Agent) -> AgentEntry {
    let provider = project.model(&agent.model.alias).map(|model| model.provider);
    AgentEntry {
        name: agent.name.clone(),
        provider: match provider {
            Some(config::Provider::Anthropic) => Provider::Anthropic,
            Some(config::Provider::Openai) => Provider::OpenAi,
            Some(config::Provider::Scripted | config::Provider::Recorded) | None => {
                Provider::Offline
            }
        },
        tools: agent.tools.iter().filter(|t| t.shown).map(|t| t.name.clone()).collect(),
        tokens: agent.budget.tokens,
        turns: agent.budget.turns,
        place: None,
    }
}

fn exit(reviewed: &Reviewed, counts: Counts, deny: Level) -> Exit {
    let level = match deny {
        Level::Error => Severity::Error,
        Level::Warning => Severity::Warning,
        Level::Note => Severity::Note,
    };
    match reviewed.problem {
        Some(_) => Exit::Unavailable,
        None if counts.reaches(level) => Exit::Failed,
        None => Exit::Done,
    }
}

/// Returns the findings by tool.
fn told(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    let mut about = None;
    for finding in findings {
        let name = match (&finding.agent, &finding.tool) {
            (Some(agent), _) => format!("agent {agent}"),
            (None, Some(tool)) => tool.clone(),
            (None, None) => PROJECT_FILE.to_owned(),
        };
        if about.as_ref() != Some(&name) {
            text.push_str(&format!("{}\n", paint.bold(&printable(&name))));
            about = Some(name);
        }
        let severity = match finding.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Note => paint.cyan("note"),
        };
        let place = finding.place.as_ref().map_or(String::new(), |place| {
            format!("{}:{}:{}: ", place.file, place.line, place.column)
        });
        text.push_str(&format!(
            "  {severity} {}{}\n    help: {}\n    {}\n",
            paint.dim(&place),
            printable(&finding.message),
            printable(&finding.help),
            paint.dim(&format!("{} {}", finding.rule.id(), finding.at)),
        ));
    }
    text
}

fn answers(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for section in &report.sections {
        text.push_str(&format!("{}\n", paint.bold(section.question.text())));
        for agent in &section.agents {
            text.push_str(&format!("\nagent {}\n", printable(&agent.agent)));
            for tool in &agent.tools {
                text.push_str(&format!("  {}\n", paint.bold(&printable(&tool.tool))));
                for fact in &tool.facts {
                    let about = paint.dim(&format!("{:<18}", fact.about));
                    text.push_str(&format!("    {about} {}\n", printable(&fact.text)));
                }
            }
        }
        text.push('\n');
    }
    text
}

fn summary(tools: usize, counts: Counts, accepted: usize) -> String {
    let Counts { error, warning, note } = counts;
    format!(
        "{tools} tools: {error} errors, {warning} warnings, {note} notes, {accepted} accepted\n"
    )
}

fn put_json(findings: &[Finding], suppressed: &[Suppressed]) {
    for finding in findings {
        put(&format!("{}\n", json!({"finding": finding})));
    }
    for Suppressed { finding, reason } in suppressed {
        put(&format!("{}\n", json!({"accepted": finding, "reason": reason})));
    }
}

fn put_sarif(findings: &[Finding], suppressed: &[Suppressed], problem: Option<&String>) {
    let problems: Vec<String> = problem.cloned().into_iter().collect();
    let log = sarif(&Checked {
        version: env!("CARGO_PKG_VERSION"),
        findings,
        suppressed,
        problems: &problems,
        default_file: PROJECT_FILE,
    });
    put(&format!("{log:#}\n"));
}

fn write_page(project: &Project, file: &Path, report: &Report) -> Result<(), Stopped> {
    let root = project.root().canonicalize().unwrap_or_else(|_| project.root().to_owned());
    let title = root.file_name().map_or("Project".into(), |name| name.to_string_lossy());
    std::fs::write(file, html(report, &title))
        .map_err(|error| Stopped::misuse(format!("cannot write {}: {error}", file.display())))
}
