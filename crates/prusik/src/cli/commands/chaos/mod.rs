//! `chaos`: a project run many times under faults, each run compared with an undisturbed one.
//!
//! Every run is a copy of the project's folder in which this very binary runs and resumes as a person
//! would: killed at drawn appends, its answers lost or late, its model failing, its disk slow or full,
//! its clock off. Faults that change nothing of what is said must change nothing of what is done: the
//! run ends as the undisturbed one did, or waits for a person who is told why. Faults that garble what
//! reads return may lead it elsewhere, and never to more than the undisturbed run did.

mod world;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::world::World;
use super::Place;
use super::run::wait_for_stop;
use crate::assemble;
use crate::certify::outside;
use crate::cli::args::ChaosArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::text::printable;
use crate::cli::text::within_line;
use crate::fault::{CRASH, FAULTS, Family, Faults};
use crate::project::{AgentEntry, Project, Provider};
use crate::scratch::{self, Copies};

/// Processes that drive one run at most; faults grow rarer from each to the next.
const PROCESSES_MAX: u64 = 40;
/// Runs of one end that are told with their reason.
const NOTES_MAX: usize = 3;
/// Processes that are killed at most.
const KILLS_MAX: u64 = 3;
/// How long one process may take.
const PROCESS_TIMEOUT: Duration = Duration::from_mins(2);

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
struct End {
    /// As `prusik runs` lists it; none if there is no run.
    status: Option<String>,
    /// Why, and what is to be done, where it did not complete.
    note: String,
    answer: Option<String>,
    world: World,
}

/// What a schedule was found to do.
struct Verdict {
    seed: u64,
    end: &'static str,
    /// Why, and what is to be done, as `prusik runs` lists it.
    note: String,
    kills: u64,
    processes: u64,
    violations: Vec<String>,
    /// Where the run can be looked at, if it was to be kept.
    kept: Option<PathBuf>,
}

struct Chaos {
    copies: Arc<Copies>,
    words: Vec<String>,
    calm: End,
    /// Appends of the undisturbed run: where the others are killed.
    appends: u64,
    /// Whether it left anything in the project's folder that could be there twice.
    left_traces: bool,
    /// Whether the folders of runs that did what they must not are kept.
    keep: bool,
}

pub async fn chaos(place: &Place, args: ChaosArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    needs_no_key(&project, &args.words)?;
    if !args.live_effects {
        outside::check_agent(&project, agent_of(&project, &args.words)?)?;
    }
    let copies = Copies::of(&project).map_err(|error| not_copied(&error))?;
    if !place.json {
        complain(
            "each run works in a copy of the project's folder; what its tools do elsewhere, they do",
        );
        if let Some(told) = copies.without().map_err(|error| not_copied(&error))? {
            complain(&printable(&told));
        }
    }
    let mut running = JoinSet::new();
    let stop = async {
        let is_stop = wait_for_stop().await;
        // Who runs in the copies is written down in them.
        copies.stop();
        is_stop
    };
    let done = tokio::select! {
        done = all(place, args, &copies, &mut running) => Some(done),
        true = stop => None,
    };
    running.shutdown().await;
    if done.is_none() {
        for root in copies.roots() {
            // A copy that is half made has nobody in it yet.
            if let Ok(project) = Project::load(&root) {
                assemble::no_orphans(&project).await?;
            }
        }
    }
    copies.remove().await;
    done.unwrap_or_else(|| {
        Err(Stopped::unavailable("stopped before all runs were over; what ran has been ended"))
    })
}

async fn all(
    place: &Place,
    args: ChaosArgs,
    copies: &Arc<Copies>,
    running: &mut JoinSet<Result<Verdict, Stopped>>,
) -> Result<Exit, Stopped> {
    let (calm, appends, left_traces) = undisturbed(copies, &args.words).await?;
    let copies = Arc::clone(copies);
    let (words, keep) = (args.words, args.keep);
    let chaos = Arc::new(Chaos { copies, words, calm, appends, left_traces, keep });
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    let permits = Arc::new(Semaphore::new(at_once));
    for seed in args.seed..args.seed.saturating_add(args.schedules) {
        let (chaos, permits) = (Arc::clone(&chaos), Arc::clone(&permits));
        running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            chaos.schedule(seed).await
        });
    }
    let mut verdicts = Vec::new();
    while let Some(verdict) = running.join_next().await {
        let verdict = verdict.map_err(|error| Stopped::unavailable(error.to_string()))??;
        for violation in verdict.violations.iter().filter(|_| !place.json) {
            put(&format!("✗ seed {}: {violation}\n", verdict.seed));
        }
        if let Some(kept) = verdict.kept.as_ref().filter(|_| !place.json) {
            put(&format!("  prusik -C {} show last\n", kept.display()));
        }
        verdicts.push(verdict);
    }
    verdicts.sort_by_key(|verdict| verdict.seed);
    Ok(report(place, &chaos, &verdicts))
}

fn agent_of<'a>(project: &'a Project, words: &[String]) -> Result<&'a AgentEntry, Stopped> {
    Ok(project.agent(words.first().filter(|_| words.len() == 2).map(String::as_str))?)
}

fn not_copied(error: &std::io::Error) -> Stopped {
    Stopped::unavailable(format!("the project cannot be copied: {error}"))
}

/// A model that costs money is not asked hundreds of times by the way.
fn needs_no_key(project: &Project, words: &[String]) -> Result<(), Stopped> {
    let agent = agent_of(project, words)?;
    let alias = project.model_alias(agent);
    match project.model(alias).map(|model| model.provider) {
        Some(Provider::Anthropic | Provider::Openai) => Err(Stopped::misuse(format!(
            "the model `{alias}` is a live one, and chaos would ask it hundreds of times; name a \
             scripted or a recorded model in {}",
            agent.file.display()
        ))),
        Some(Provider::Scripted | Provider::Recorded) | None => Ok(()),
    }
}

async fn undisturbed(copies: &Arc<Copies>, words: &[String]) -> Result<(End, u64, bool), Stopped> {
    let copy = copies.make().map_err(|error| not_copied(&error))?;
    let root = copy.root();
    let mut arguments = vec!["run"];
    arguments.extend(words.iter().map(String::as_str));
    let before = World::of(&root).map_err(|error| Stopped::unavailable(error.to_string()))?;
    let ran = prusik(&root, &arguments, &[]).await?;
    let end = end_of(&root).await?;
    if end.status.as_deref() != Some("completed") {
        return Err(Stopped::failed(format!(
            "undisturbed, the run does not complete, so there is nothing to compare with:\n{}",
            ran.said
        )));
    }
    let events = prusik(&root, &["events", "last", "--json"], &[]).await?;
    copy.done().map_err(|error| not_copied(&error))?;
    let left = end.world != before;
    Ok((end, events.lines().len() as u64, left))
}

/// What a process said and how it ended.
struct Said {
    code: Option<i32>,
    said: String,
    stdout: Vec<u8>,
}

impl Said {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

async fn prusik(
    folder: &Path,
    arguments: &[&str],
    env: &[(&str, String)],
) -> Result<Said, Stopped> {
    let own = std::env::current_exe().map_err(|error| Stopped::unavailable(error.to_string()))?;
    let mut command = Command::new(own);
    command.arg("-C").arg(folder).args(arguments).envs(env.iter().cloned());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PROCESS_TIMEOUT, command.output()).await;
    let output = output
        .map_err(|_| Stopped::failed(format!("`prusik {}` does not end", arguments.join(" "))))?
        .map_err(|error| Stopped::unavailable(error.to_string()))?;
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(Said { code: output.status.code(), said, stdout: output.stdout })
}

async fn end_of(folder: &Path) -> Result<End, Stopped> {
    let rows = prusik(folder, &["runs", "--json"], &[]).await?;
    if rows.code != Some(0) {
        return Err(Stopped::unavailable(format!("the runs cannot be listed: {}", rows.said)));
    }
    let row = rows.lines().into_iter().next();
    let text = |key: &str| row.as_ref().and_then(|row| row[key].as_str().map(str::to_owned));
    let mut answer = None;
    if row.is_some() {
        let shown = prusik(folder, &["show", "last", "--json"], &[]).await?;
        let shown = shown.lines().into_iter().next().unwrap_or_default();
        let said = shown["status"]["ended"]["completed"]["answer"].as_str();
        answer = said.map(scratch::masked);
    }
    let world = World::of(folder).map_err(|error| Stopped::unavailable(error.to_string()))?;
    Ok(End { status: text("status"), note: text("note").unwrap_or_default(), answer, world })
}

impl Chaos {
    async fn schedule(&self, seed: u64) -> Result<Verdict, Stopped> {
        let copy = self.copies.make().map_err(|error| not_copied(&error))?;
        let root = copy.root();
        // Two of three schedules lose and delay, one garbles.
        let family = if seed.is_multiple_of(3) { Family::Content } else { Family::Transport };
        let (mut kills, mut processes) = (0, 0);
        let mut end = None;
        while processes < PROCESSES_MAX {
            let faults = Faults { seed, process: processes, family };
            let mut env = vec![(FAULTS, faults.to_text())];
            if kills < KILLS_MAX && faults.draw(&["is killed"], 3) < 2 {
                let when = ["before", "after"][usize::from(faults.draw(&["when"], 2) == 1)];
                let append = 1 + faults.draw(&["append"], self.appends);
                env.push((CRASH, format!("{when}:{append}")));
            }
            let mut arguments = vec!["run"];
            if end.as_ref().is_some_and(|end: &End| end.status.is_some()) {
                arguments = vec!["resume", "last"];
            } else {
                arguments.extend(self.words.iter().map(String::as_str));
            }
            let said = prusik(&root, &arguments, &env).await?;
            processes += 1;
            kills += u64::from(said.code.is_none());
            let now = end_of(&root).await?;
            let over = match now.status.as_deref() {
                None | Some("running") => false,
                // What only a person can bring on is an end here.
                Some("parked") => !now.note.contains("resume goes on") && said.code == Some(3),
                Some(_) => true,
            };
            end = Some(now);
            if over {
                break;
            }
        }
        let end = end.unwrap_or_else(|| self.calm.clone());
        let (name, violations) = self.judge(&end, family);
        let kept = if self.keep && !violations.is_empty() {
            Some(copy.keep().map_err(|error| not_copied(&error))?)
        } else {
            copy.done().map_err(|error| not_copied(&error))?;
            None
        };
        let note = end.note.clone();
        Ok(Verdict { seed, end: name, note, kills, processes, violations, kept })
    }

    /// Returns what the end is called, and what is wrong with it.
    fn judge(&self, end: &End, family: Family) -> (&'static str, Vec<String>) {
        let mut violations: Vec<String> = end.world.more_than(&self.calm.world);
        let name = match end.status.as_deref() {
            Some("completed") if *end == self.calm => "as undisturbed",
            Some("completed") => {
                if family == Family::Transport && violations.is_empty() {
                    violations.push("it completed, and not as the undisturbed run".to_owned());
                    let less = self.calm.world.more_than(&end.world).into_iter();
                    violations.extend(less.map(|line| format!("of the undisturbed run: {line}")));
                    if end.answer != self.calm.answer {
                        let answer = end.answer.as_deref().unwrap_or_default();
                        violations.push(format!("it answers: {answer}"));
                    }
                }
                "otherwise, since what it read was garbled"
            }
            Some("parked") => {
                if end.note.is_empty() {
                    violations.push("it is parked and nobody is told why".to_owned());
                }
                "waiting for a person"
            }
            Some("completed_with_failures" | "failed") => {
                if end.note.is_empty() {
                    violations.push("it failed and does not say why".to_owned());
                }
                "failed, and says so"
            }
            other => {
                let problem = format!("it does not come to an end: {}", other.unwrap_or("no run"));
                violations.push(problem);
                "no end"
            }
        };
        (name, violations)
    }
}

fn report(place: &Place, chaos: &Chaos, verdicts: &[Verdict]) -> Exit {
    let bad: Vec<&Verdict> = verdicts.iter().filter(|v| !v.violations.is_empty()).collect();
    let exit = if bad.is_empty() { Exit::Done } else { Exit::Failed };
    let count = |name: &str| verdicts.iter().filter(|verdict| verdict.end == name).count();
    let names = [
        "as undisturbed",
        "otherwise, since what it read was garbled",
        "waiting for a person",
        "failed, and says so",
        "no end",
    ];
    let kills: u64 = verdicts.iter().map(|verdict| verdict.kills).sum();
    let processes: u64 = verdicts.iter().map(|verdict| verdict.processes).sum();
    if place.json {
        let ends: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), json!(count(name)))).collect();
        let violations =
            bad.iter().map(|v| json!({"seed": v.seed, "violations": v.violations, "kept": v.kept}));
        let violations: Vec<Value> = violations.collect();
        let object = json!({
            "schedules": verdicts.len(), "processes": processes, "kills": kills, "ends": ends,
            "violations": violations, "left_traces": chaos.left_traces,
            "notes": verdicts.iter().filter(|v| !v.note.is_empty()).map(|v| {
                json!({"seed": v.seed, "end": v.end, "note": v.note})
            }).collect::<Vec<_>>(),
        });
        put(&format!("{object}\n"));
        return exit;
    }
    put(&format!("{} runs, {processes} processes, {kills} of them killed\n", verdicts.len()));
    for name in names.into_iter().filter(|name| count(name) > 0) {
        put(&format!("  {:>5} ended {name}\n", count(name)));
        let noted = verdicts.iter().filter(|v| v.end == name && !v.note.is_empty());
        for verdict in noted.take(NOTES_MAX) {
            put(&format!("        seed {}: {}\n", verdict.seed, within_line(&verdict.note)));
        }
    }
    if bad.is_empty() && !chaos.left_traces {
        put(
            "! every run ended as it should or says what to do; but the undisturbed one left nothing in the \
             project's folder that could be there twice. Is what it works on used up by a run before?\n",
        );
    } else if bad.is_empty() {
        put("✓ no write landed twice, and every run ended as it should or says what to do\n");
    } else {
        let words: Vec<String> = chaos.words.iter().map(|word| format!("{word:?}")).collect();
        put(&format!(
            "✗ {} runs did what they must not; the first of them again:\n  prusik{} chaos {} \
             --schedules 1 --seed {}\n",
            bad.len(),
            place.option(),
            words.join(" "),
            bad[0].seed
        ));
    }
    exit
}
