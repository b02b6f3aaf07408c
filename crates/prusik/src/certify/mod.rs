//! `certify`: is a tool server telling the truth about its effects?
//!
//! Each experiment starts the server in a fresh copy of the project's folder, makes a few calls, loses
//! an answer where the claim is about that, and looks at what can be seen: the files of the copy, and
//! what the reads tell that were named. Tools that were not named are never called.

mod claim;
mod garbage;
mod heard;
pub mod outside;
mod relay;
mod relay_http;
mod report;
mod sample;
mod session;
mod subject;
mod trials;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use prusik_core::contract::EffectClass;
use prusik_tool::LeftOut;

use self::claim::Judged;
pub use self::claim::Verdict;
pub use self::relay::relay;
pub use self::report::Report;
use self::session::{Halt, Lab, Reading, Session};
use self::subject::Subject;
use crate::assemble;
use crate::cli::Stopped;
use crate::cli::text::printable;
use crate::project::{Project, ProjectErrors, suggestion};
use crate::scratch::Copies;

/// Calls of one read that tell of the world.
const READINGS_MAX: usize = 4;
/// Longest list of tools that is told at the start.
const NAMES_SHOWN_MAX: usize = 12;

/// What is to be certified, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// Servers, and tools of servers.
    pub names: Vec<String>,
    /// Paths of the project whose changes do not count.
    pub ignored: Vec<String>,
    pub seed: u64,
    pub effects: Effects,
}

/// Where a server's effects may take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// In a copy of the project's folder, and nowhere else.
    Scratch,
    /// Wherever the server acts.
    Live,
}

/// Tries all that is claimed of the named tools. `say` is told what will be called. When `stop` is over
/// first, all servers are ended and all copies removed.
pub async fn certify(
    project: Project,
    order: Order,
    say: &(dyn Fn(&str) + Send + Sync),
    stop: impl Future<Output = bool>,
) -> Result<Report, Stopped> {
    let mut servers: BTreeSet<String> = BTreeSet::new();
    for name in &order.names {
        let server = name.split_once("__").map_or(name.as_str(), |(server, _)| server);
        if project.server(server).is_none() {
            let known: Vec<&str> = project.servers().map(|server| server.name.as_str()).collect();
            let help = suggestion(server, "servers of this project", known);
            return Err(Stopped::misuse(format!("there is no server `{server}`\n  help: {help}")));
        }
        servers.insert(server.to_owned());
    }
    if order.effects == Effects::Scratch {
        for server in &servers {
            outside::check(&project, server)?;
        }
    }
    // What a killed process has left running could still act on what is looked at here.
    assemble::no_orphans(&project).await?;
    let children = assemble::children(&project)?;
    let failed =
        |error| Stopped::unavailable(format!("copies of the project cannot be made: {error}"));
    let copies = Copies::of(&project).map_err(failed)?;
    if let Some(told) = copies.without().map_err(failed)? {
        say(&printable(&told));
    }
    let mut lab = Lab {
        project,
        children: children.clone(),
        copies: Arc::clone(&copies),
        servers: servers.into_iter().collect(),
        subjects: BTreeMap::new(),
        observers: Vec::new(),
        ignored: order.ignored,
        seed: order.seed,
        effects: order.effects,
    };
    let done = tokio::select! {
        done = all(&mut lab, &order.names, say) => Some(done),
        true = stop => None,
    };
    if done.is_none() {
        // Those that have ended already need not be killed.
        let _ = children.kill();
    }
    drop(lab);
    copies.remove().await;
    done.unwrap_or_else(|| {
        Err(Stopped::unavailable("stopped before all was tried; the servers have been ended"))
    })
}

async fn all(
    lab: &mut Lab,
    names: &[String],
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Report, Stopped> {
    lab.subjects = subjects(lab, names, say).await?;
    say(&announcement(lab, lab.effects));
    let mut judged = reads(lab).await?;
    let lab = &*lab;
    let jobs = lab
        .subjects
        .values()
        .flat_map(|subject| trials::jobs_of(subject).into_iter().map(move |job| (subject, job)));
    let all = futures_util::stream::iter(jobs)
        .map(|(subject, job)| trials::tried(lab, subject, job))
        .buffer_unordered(at_once(lab.effects))
        .collect::<Vec<_>>()
        .await;
    for found in all {
        judged.extend(found?);
    }
    judged.sort_by(|a, b| (&a.tool, a.claim, &a.kind).cmp(&(&b.tool, b.claim, &b.kind)));
    let tools = lab.subjects.values().map(|s| (s.name.clone(), s.contract.effect)).collect();
    Ok(Report { servers: lab.servers.clone(), tools, seed: lab.seed, judged })
}

/// Returns how many experiments go on at a time.
fn at_once(effects: Effects) -> usize {
    match effects {
        Effects::Scratch => std::thread::available_parallelism().map_or(2, usize::from),
        // They would see each other's effects.
        Effects::Live => 1,
    }
}

/// Asks the servers for their tools and returns those that were named, with what is claimed of them.
async fn subjects(
    lab: &Lab,
    names: &[String],
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<BTreeMap<String, Subject>, Stopped> {
    let session = open(lab).await?;
    let listed = session.listed();
    for LeftOut { server, tool, reason, .. } in session.connect().await? {
        say(&printable(&format!("{server}: `{tool}` is left out: {reason}")));
    }
    session.close().await;
    let known: Vec<&str> = listed.iter().map(|info| info.name.as_str()).collect();
    for name in names.iter().filter(|name| name.contains("__")) {
        if !known.contains(&name.as_str()) {
            let help = suggestion(name, "tools", known);
            return Err(Stopped::misuse(format!("there is no tool `{name}`\n  help: {help}")));
        }
    }
    let mut errors = lab.project.stray_contracts(&lab.servers, &known);
    let mut subjects = BTreeMap::new();
    for info in listed {
        let Some((server, _)) = info.name.split_once("__") else { continue };
        let server = server.to_owned();
        if names.contains(&server) || names.contains(&info.name) {
            let subject = Subject::of(&lab.project, &server, info, &mut errors);
            subjects.insert(subject.name.clone(), subject);
        }
    }
    ProjectErrors::check(errors)?;
    if subjects.is_empty() {
        return Err(Stopped::misuse("the named servers have no tools"));
    }
    Ok(subjects)
}

async fn open(lab: &Lab) -> Result<Session<'_>, Stopped> {
    Session::open(lab).await.map_err(|halt| match halt {
        Halt::Stopped(stopped) => stopped,
        Halt::Untested(reason) => Stopped::unavailable(reason),
    })
}

fn announcement(lab: &Lab, effects: Effects) -> String {
    let mut names: Vec<&str> =
        lab.subjects.keys().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let more = format!("{} more", lab.subjects.len() - names.len());
    if lab.subjects.len() > names.len() {
        names.push(&more);
    }
    let place = match effects {
        Effects::Scratch => {
            "in copies of the project's folder; what a server does elsewhere, it does"
        }
        Effects::Live => "where they act, again and again, with real effects",
    };
    format!("calling {}, and no other tool, {place}", names.join(", "))
}

/// Tries whether the reads change nothing; those that do not are what everything else is judged by.
async fn reads(lab: &mut Lab) -> Result<Vec<Judged>, Stopped> {
    let is_read = |subject: &&Subject| subject.contract.effect == EffectClass::Read;
    let reads: Vec<Subject> = lab.subjects.values().filter(is_read).cloned().collect();
    lab.observers = reads.iter().flat_map(readings_of).collect();
    let tried = futures_util::stream::iter(&reads)
        .map(|subject| trials::read(lab, subject))
        .buffered(at_once(lab.effects))
        .collect::<Vec<_>>()
        .await;
    let judged: Vec<Judged> = tried.into_iter().collect::<Result<_, _>>()?;
    let honest = |tool: &str| {
        judged.iter().any(|judged| judged.tool == tool && judged.verdict == Verdict::Holds)
    };
    lab.observers.retain(|reading| honest(&reading.tool));
    if lab.observers.is_empty() {
        return Ok(judged);
    }
    let steady = steady(lab).await?;
    lab.observers
        .retain(|reading| steady.contains(&Subject::told(&reading.tool, &reading.arguments)));
    Ok(judged)
}

fn readings_of(subject: &Subject) -> Vec<Reading> {
    let fixed = subject.samples.iter().filter_map(subject::Sample::fixed);
    let allowed = fixed.filter(|arguments| subject.denied(arguments).is_none());
    let reading = |arguments| Reading { tool: subject.name.clone(), arguments };
    allowed.take(READINGS_MAX).map(reading).collect()
}

/// Returns the reads that tell the same twice, with nothing in between.
async fn steady(lab: &Lab) -> Result<BTreeSet<String>, Stopped> {
    let looked = async {
        let mut session = Session::open(lab).await?;
        let mut first = session.world(&lab.observers).await?;
        first.drop_unsteady(&session.world(&lab.observers).await?);
        session.close().await;
        Ok(first.reads.into_keys().collect())
    };
    looked.await.map_err(|halt: Halt| match halt {
        Halt::Stopped(stopped) => stopped,
        Halt::Untested(reason) => Stopped::unavailable(reason),
    })
}
