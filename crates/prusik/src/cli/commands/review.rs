//! `lint` and `check`: what can be said of the tools before an agent runs.

use std::collections::BTreeSet;

use prusik_check::{
    Checked, Counts, Fact, Finding, LintReport, Report, Rule, Severity, Suppressed, contexts,
    failures, html, injections, sarif,
};
use prusik_core::agent::Agent;
use prusik_tool::sandbox::Protection;
use serde_json::json;

use super::{Place, write_atomically};
use crate::assemble::{self, Listed, protections};
use crate::cli::args::{CheckArgs, Level, LintArgs};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::page::Page;
use crate::cli::text::{Paint, below, counted, printable, within_line};
use crate::project::fix::{self, Undeclared};
use crate::project::lock::{Lock, LockDifference};
use crate::project::{Heard, ListedTool, PROJECT_FILE, Project, ProjectErrors, policy, suggestion};

/// What both commands look at.
struct Reviewed {
    project: Project,
    agents: Vec<Agent>,
    lint: LintReport,
    listed: Listed,
}

/// Where the tools are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Servers,
    Lock,
}

impl From {
    fn of(locked: bool) -> Self {
        if locked { Self::Lock } else { Self::Servers }
    }
}

pub async fn lint(place: &Place, args: &LintArgs) -> Result<Exit, Stopped> {
    if let Some(id) = &args.explain {
        return explain(place, id);
    }
    let mut reviewed = review(place, From::of(args.locked)).await?;
    let is_mended = !args.fix || mend(&mut reviewed, args.dry_run)?;
    let lint = &reviewed.lint;
    if args.sarif {
        put_sarif(&lint.findings, &lint.suppressed, reviewed.listed.problem.as_ref());
    } else if place.json {
        put_json(&lint.findings, &lint.suppressed);
    } else {
        put(&told(&lint.findings, Paint::for_stdout()));
        put(&summary(lint.tools, lint.counts(), lint.suppressed.len()));
    }
    Ok(if is_mended { exit(&reviewed, lint.counts(), args.deny) } else { Exit::Misuse })
}

fn explain(place: &Place, id: &str) -> Result<Exit, Stopped> {
    let rule = Rule::from_id(id).ok_or_else(|| {
        let ids: Vec<&str> = Rule::all().map(Rule::id).collect();
        let help = suggestion(id, "rules", ids);
        Stopped::misuse(format!("there is no rule `{id}`\n  help: {help}"))
    })?;
    if place.json {
        let object = json!({
            "rule": rule.id(), "severity": rule.severity(), "title": rule.title(),
            "page": rule.page(), "text": rule.explained(),
        });
        put(&format!("{object}\n"));
    } else {
        put(rule.explained());
    }
    Ok(Exit::Done)
}

pub async fn check(place: &Place, args: &CheckArgs) -> Result<Exit, Stopped> {
    let page = args.html.as_deref().map(Page::open).transpose()?;
    let mut reviewed = review(place, From::of(args.locked)).await?;
    if let Some(name) = &args.agent {
        reviewed.project.agent(Some(name))?;
        reviewed.agents.retain(|agent| agent.name == *name);
    }
    let report = report(&reviewed);
    if let Some(page) = page {
        write_page(&reviewed, page, &report)?;
    }
    let findings: Vec<Finding> = report.findings().cloned().collect();
    let suppressed: Vec<Suppressed> =
        report.sections.iter().flat_map(|section| section.suppressed.clone()).collect();
    if args.sarif {
        put_sarif(&findings, &suppressed, reviewed.listed.problem.as_ref());
    } else if place.json {
        for agent in &reviewed.agents {
            for guarded in protections(&reviewed.project, agent) {
                let force = guarded.protection.as_ref().map_or("unconfined", Protection::as_str);
                let object = json!({
                    "agent": agent.name, "sandbox": guarded.what, "protection": force,
                    "text": guarded.words(),
                });
                put(&format!("{object}\n"));
            }
        }
        for section in &report.sections {
            for agent in &section.agents {
                if !agent.facts.is_empty() {
                    let (question, facts) = (section.question, &agent.facts);
                    let mut object =
                        json!({"question": question, "agent": agent.agent, "facts": facts});
                    if let Some(blast) = &agent.blast {
                        object["blast"] = json!(blast);
                    }
                    put(&format!("{object}\n"));
                }
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
        put(&in_force(&reviewed, paint));
        put(&told(&findings, paint));
        let tools = reviewed.agents.iter().map(|agent| agent.tools.len()).sum();
        put(&summary(tools, report.counts(), suppressed.len()));
    }
    Ok(exit(&reviewed, report.counts(), args.deny))
}

fn report(reviewed: &Reviewed) -> Report {
    let Reviewed { project, agents, lint, .. } = reviewed;
    let kept = agents.iter().map(|agent| {
        let words = protections(project, agent).into_iter().map(|guarded| guarded.words());
        (agent.name.clone(), words.collect())
    });
    let [injection, confirmation] = injections(agents, lint, &kept.collect());
    let (failure, context) = (failures(agents, lint), contexts(agents, lint));
    Report { sections: vec![failure, context, injection, confirmation] }
}

async fn review(place: &Place, from: From) -> Result<Reviewed, Stopped> {
    let project = place.project()?;
    let listed = match from {
        From::Servers => assemble::listed(&project).await?,
        From::Lock => assemble::locked(&project)?,
    };
    if let Some(problem) = &listed.problem {
        complain(&format!("error: {}", below(problem)));
    }
    let drift = match from {
        From::Servers => drift(&project, &listed)?,
        From::Lock => LockDifference::default(),
    };
    let (agents, lint) = judged(&project, &listed, &drift)?;
    check_policies(&project, &listed)?;
    Ok(Reviewed { project, agents, lint, listed })
}

/// Fails if the organisation's policies cannot hold where these tools are.
fn check_policies(project: &Project, listed: &Listed) -> Result<(), Stopped> {
    if project.policies().is_empty() {
        return Ok(());
    }
    let mut vocabulary = project.vocabulary(&listed.tools);
    if listed.problem.is_some() {
        let servers = project.servers().map(|server| server.name.clone());
        vocabulary = vocabulary.with_unheard(servers);
    }
    let mut found = project.policies().check(&vocabulary);
    found.retain(|finding| finding.severity == prusik_policy::Severity::Error);
    Ok(ProjectErrors::check(found.iter().map(policy::error).collect())?)
}

fn judged(
    project: &Project,
    listed: &Listed,
    drift: &LockDifference,
) -> Result<(Vec<Agent>, LintReport), Stopped> {
    let heard = if listed.problem.is_none() { Heard::All } else { Heard::NotAll };
    let (catalogue, agents) = project.reviewed(&listed.tools, heard, drift)?;
    Ok((agents, prusik_check::lint(&catalogue)))
}

/// Returns how the servers' tools differ from the locked ones, if there is a lock.
fn drift(project: &Project, listed: &Listed) -> Result<LockDifference, Stopped> {
    let Some(lock) = Lock::read(project.root()).map_err(ProjectErrors::from)? else {
        return Ok(LockDifference::default());
    };
    let mut difference = lock.difference(&super::lock::of(project, &listed.tools));
    if listed.problem.is_some() {
        // Tools of a server that does not answer are not gone.
        difference.removed.clear();
    }
    Ok(difference)
}

/// Writes skeletons for what is undeclared, and reviews again. Returns whether that could be done.
fn mend(reviewed: &mut Reviewed, dry_run: bool) -> Result<bool, Stopped> {
    let undeclared = undeclared(&reviewed.lint, &reviewed.listed.tools);
    if undeclared.is_empty() {
        complain("every tool has its contract: nothing is written");
        return Ok(true);
    }
    let path = reviewed.project.root().join(PROJECT_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Stopped::misuse(format!("cannot read {}: {error}", path.display())))?;
    let fixed = match fix::fixed(&text, &undeclared) {
        Ok(fixed) => fixed,
        Err(refused) => {
            complain(&format!(
                "error: {PROJECT_FILE} is left as it is: {}\n  help: put this into it yourself:\n\n{}",
                refused.reason, refused.skeleton
            ));
            return Ok(false);
        }
    };
    let number = counted(undeclared.len(), "contract");
    if dry_run {
        complain(&format!("{PROJECT_FILE}: {number} would be written:"));
        for (line, block) in &fixed.inserted {
            complain(&format!("  after line {line}:"));
            block.trim_end().lines().for_each(|line| complain(&format!("  + {line}")));
        }
        return Ok(true);
    }
    if let Err(problem) = write_atomically(&path, &fixed.text) {
        let blocks: Vec<&str> = fixed.inserted.iter().map(|(_, block)| block.as_str()).collect();
        complain(&format!(
            "error: {problem}\n  help: put this into it yourself:\n\n{}",
            blocks.concat()
        ));
        return Ok(false);
    }
    complain(&format!("{PROJECT_FILE}: {number} written, marked `# review:` for you to look at"));
    let project = Project::load(reviewed.project.root())?;
    let drift = drift(&project, &reviewed.listed)?;
    (reviewed.agents, reviewed.lint) = judged(&project, &reviewed.listed, &drift)?;
    reviewed.project = project;
    Ok(true)
}

/// Returns the tools that models are offered and for which no effect is declared, nor accepted to
/// be missing.
fn undeclared(lint: &LintReport, tools: &[ListedTool]) -> Vec<Undeclared> {
    let found: BTreeSet<&str> = lint
        .findings
        .iter()
        .filter(|finding| finding.rule == Rule::EffectUndeclared)
        .filter_map(|finding| finding.tool.as_deref())
        .collect();
    tools
        .iter()
        .filter(|tool| found.contains(tool.facts.name.as_str()) && tool.left_out.is_none())
        .map(|tool| Undeclared {
            name: tool.facts.name.clone(),
            claims: fix::claims(tool.hints.as_ref()),
        })
        .collect()
}

fn exit(reviewed: &Reviewed, counts: Counts, deny: Level) -> Exit {
    let level = match deny {
        Level::Error => Severity::Error,
        Level::Warning => Severity::Warning,
        Level::Note => Severity::Note,
    };
    match reviewed.listed.problem {
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
            text.push_str(&format!("{}\n", paint.bold(&within_line(&name))));
            about = Some(name);
        }
        let severity = match finding.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Note => paint.cyan("note"),
        };
        let place = finding.place.as_ref().map_or(String::new(), |place| {
            format!("{}:{}:{}: ", within_line(&place.file), place.line, place.column)
        });
        text.push_str(&format!(
            "  {severity} {}{}\n    help: {}\n    {}\n",
            paint.dim(&place),
            within_line(&finding.message),
            within_line(&finding.help),
            paint.dim(&format!("{} {}", finding.rule.id(), within_line(&finding.at))),
        ));
    }
    text
}

fn answers(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for section in &report.sections {
        text.push_str(&format!("{}\n", paint.bold(section.question.text())));
        for agent in &section.agents {
            text.push_str(&format!("\nagent {}\n", within_line(&agent.agent)));
            text.push_str(&facts(&agent.facts, paint));
            for tool in &agent.tools {
                text.push_str(&format!("  {}\n", paint.bold(&within_line(&tool.tool))));
                text.push_str(&facts(&tool.facts, paint));
            }
        }
        text.push('\n');
    }
    text
}

/// Says what keeps commands in on this machine.
fn in_force(reviewed: &Reviewed, paint: Paint) -> String {
    let mut text = String::new();
    for agent in &reviewed.agents {
        for guarded in protections(&reviewed.project, agent) {
            let about = paint.bold(&within_line(&format!("agent {}", agent.name)));
            text.push_str(&format!("{about} {}\n", printable(&guarded.words())));
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("{}\n{text}\n", paint.bold("What keeps commands in here?"))
    }
}

fn facts(facts: &[Fact], paint: Paint) -> String {
    let line = |fact: &Fact| {
        let about = paint.dim(&format!("{:<18}", fact.about));
        let said = printable(&fact.text).replace('\n', &format!("\n{:23}", ""));
        format!("    {about} {said}\n")
    };
    facts.iter().map(line).collect::<Vec<_>>().concat()
}

fn summary(tools: usize, counts: Counts, accepted: usize) -> String {
    let Counts { error, warning, note } = counts;
    let more = if error + warning + note == 0 {
        ""
    } else {
        "`prusik lint --explain RULE` tells why a rule is one, and how to mend or accept what it finds\n"
    };
    format!(
        "{}: {}, {}, {}, {accepted} accepted\n{more}",
        counted(tools, "tool"),
        counted(error, "error"),
        counted(warning, "warning"),
        counted(note, "note"),
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

fn write_page(reviewed: &Reviewed, page: Page, report: &Report) -> Result<(), Stopped> {
    let root = reviewed.project.root();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let title = root.file_name().map_or("Project".into(), |name| name.to_string_lossy());
    let problems: Vec<String> = reviewed.listed.problem.iter().cloned().collect();
    page.write(&html(report, &title, &problems))
}
