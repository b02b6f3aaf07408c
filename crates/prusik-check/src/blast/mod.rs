//! The blast radius of an agent: what whoever writes a text that it reads can have it do.
//!
//! Everything is worked out from the definition: the contracts, the plans that a model could make before
//! it reads anything, the rules, and the schemas. No run is needed, and none can do more.

mod domain;
mod reach;
mod shape;

use std::collections::BTreeSet;

use prusik_core::agent::{Agent, Tool, Unplanned};
use prusik_core::contract::{EffectClass, Returns};
use prusik_core::grant::ArgumentKind;
use serde::Serialize;

use crate::words;

pub(crate) use domain::Domain;
pub use reach::{Cell, OTHERS, Stop, Verdict, Way};
pub use shape::Shape;

/// Words of arguments that name who or what is affected, which says more of a call than the others do.
const WHOM: [&str; 12] = [
    "to",
    "recipient",
    "iban",
    "account",
    "email",
    "address",
    "url",
    "path",
    "file",
    "command",
    "user",
    "channel",
];

/// What an injected instruction can cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blast {
    pub hold: Hold,
    /// The tools that can return what an outsider has written.
    pub sources: Vec<Source>,
    /// The tools whose calls change something, or carry something out.
    pub sinks: Vec<Sink>,
    /// Reads that stay on the machine.
    pub reads: Vec<Read>,
}

/// What the agent is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    Nothing,
    /// What trusted texts say.
    Words,
    /// A plan that it may make, what trusted texts say if it makes none; other calls are refused.
    Plan,
    /// The same; other calls ask.
    PlanOrPerson,
}

/// A tool that can return what an outsider has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    pub tool: String,
    pub says: Says,
}

/// What of a tool's results an outsider can have written. What its failures say always counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    Anything,
    Places(Vec<String>),
    Failures,
}

/// How bad it is that an attacker can have a tool called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It cannot.
    Never,
    /// With values of its own only if a person says yes.
    Asks,
    /// Without a question where a plan foresees the call, within what the contract leaves open.
    Bounded,
    /// Whatever it wants, and nothing stands between.
    Open,
}

/// A tool whose calls change something, or carry something out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sink {
    pub tool: String,
    pub effect: &'static str,
    /// Whether its arguments leave the machine, as far as is declared.
    pub leaves: bool,
    pub level: Level,
    /// Why it can never be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never: Option<String>,
    /// Rules that forbid some of its calls.
    pub rules: Vec<String>,
    pub people: u32,
    pub cells: Vec<Cell>,
    /// Where what is read becomes what is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
}

/// A path from a source to a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    pub source: String,
    pub tool: String,
    /// The arguments that hold what the attacker chose.
    pub arguments: Vec<String>,
    pub verdict: Verdict,
}

/// A read that stays on the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Read {
    pub tool: String,
    pub cells: Vec<Cell>,
}

impl Blast {
    pub fn of(agent: &Agent) -> Self {
        let shown: Vec<(&Tool, Domain<'_>)> = agent
            .tools
            .iter()
            .filter(|tool| tool.shown)
            .map(|tool| (tool, Domain::of(tool)))
            .collect();
        let mut sources: Vec<Source> = shown
            .iter()
            .filter(|(_, domain)| domain.never().is_none())
            .map(|(tool, _)| Source { tool: tool.name.clone(), says: says(tool) })
            .collect();
        // Whoever may write most comes first: of what anybody writes the reads, and the longest.
        let rank = |name: &str| {
            let contract = agent.tool(name).map(|tool| &tool.contract);
            let is_read = contract.is_some_and(|contract| contract.effect == EffectClass::Read);
            (!is_read, std::cmp::Reverse(contract.map_or(0, |contract| contract.result_bytes_max)))
        };
        sources.sort_by_cached_key(|source| (source.says.clone(), rank(&source.tool)));
        let (mut sinks, mut reads) = (Vec::new(), Vec::new());
        for (tool, domain) in &shown {
            let cells = reach::cells(agent, tool, domain);
            if is_sink(tool) {
                sinks.push(sink(agent, tool, domain, cells, &sources));
            } else {
                reads.push(Read { tool: tool.name.clone(), cells });
            }
        }
        Self { hold: hold(agent), sources, sinks, reads }
    }

    /// Returns the cells of a tool that the model is shown.
    pub fn cells_of(&self, tool: &str) -> Option<&[Cell]> {
        let sink = self.sinks.iter().find(|sink| sink.tool == tool).map(|sink| &sink.cells);
        let read = || self.reads.iter().find(|read| read.tool == tool).map(|read| &read.cells);
        sink.or_else(read).map(Vec::as_slice)
    }

    /// Returns the sinks that an attacker reaches so far, and no farther.
    pub fn at(&self, level: Level) -> impl Iterator<Item = &Sink> {
        self.sinks.iter().filter(move |sink| sink.level == level)
    }
}

/// Returns whether the calls of a tool change something, or carry something out.
pub(crate) fn is_sink(tool: &Tool) -> bool {
    tool.contract.effect != EffectClass::Read || tool.contract.leaves
}

fn says(tool: &Tool) -> Says {
    match &tool.contract.returns {
        Returns::Untrusted => Says::Anything,
        Returns::Trusted => Says::Failures,
        Returns::TrustedBut(places) => Says::Places(places.clone()),
    }
}

fn hold(agent: &Agent) -> Hold {
    match &agent.containment {
        None => Hold::Nothing,
        Some(policy) if !policy.plan => Hold::Words,
        Some(policy) => match policy.unplanned {
            Unplanned::Refuse => Hold::Plan,
            Unplanned::Ask => Hold::PlanOrPerson,
        },
    }
}

fn sink(
    agent: &Agent,
    tool: &Tool,
    domain: &Domain<'_>,
    cells: Vec<Cell>,
    sources: &[Source],
) -> Sink {
    let worst = cells.iter().map(|cell| cell.verdict).max().unwrap_or(Verdict::Never);
    let chosen = |cell: &&Cell| cell.shape.is_chosen() || agent.containment.is_none();
    let by_choice = cells.iter().filter(chosen).map(|cell| cell.verdict).max();
    let level = match (by_choice, agent.containment) {
        _ if worst == Verdict::Never => Level::Never,
        (Some(Verdict::Made), None) => Level::Open,
        (Some(Verdict::Made), Some(_)) => Level::Bounded,
        (Some(Verdict::Asked | Verdict::Never) | None, _) => Level::Asks,
    };
    let mut sink = Sink {
        tool: tool.name.clone(),
        effect: tool.contract.effect.as_str(),
        leaves: tool.contract.leaves,
        level,
        never: domain.never(),
        rules: domain.open_rules.clone(),
        people: tool.contract.people,
        cells,
        witness: None,
    };
    sink.witness = witness(&sink, domain, sources);
    sink
}

/// Returns the worst that can come of the worst source.
fn witness(sink: &Sink, domain: &Domain<'_>, sources: &[Source]) -> Option<Witness> {
    let source = sources.first()?;
    let reached = sink.cells.iter().filter(|cell| cell.verdict > Verdict::Never);
    let chosen: Vec<&Cell> = reached.clone().filter(|cell| cell.shape.is_chosen()).collect();
    // What takes no value of an attacker can still be called when it wants that.
    let cells = if chosen.is_empty() { reached.collect() } else { chosen };
    let verdict = cells.iter().map(|cell| cell.verdict).max()?;
    let worst = cells.iter().filter(|cell| cell.verdict == verdict && cell.shape.is_chosen());
    let names: BTreeSet<&str> = worst.map(|cell| cell.argument.as_str()).collect();
    let declared = domain.parameters.iter().map(|parameter| parameter.name.as_str());
    let mut arguments: Vec<&str> = declared.filter(|name| names.contains(name)).collect();
    // Who is affected says most.
    let is_identity = |name: &&str| {
        let of = domain.parameters.iter().find(|parameter| parameter.name == **name);
        of.is_some_and(|parameter| parameter.term.kind == ArgumentKind::Identity)
    };
    let names_somebody = |name: &str| words::split(name).iter().any(|word| WHOM.contains(&&**word));
    arguments.sort_by_key(|name| (!is_identity(name), !names_somebody(name), **name == *OTHERS));
    let arguments = arguments.into_iter().take(2).map(str::to_owned).collect();
    Some(Witness { source: source.tool.clone(), tool: sink.tool.clone(), arguments, verdict })
}
