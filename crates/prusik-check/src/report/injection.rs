//! Questions three and four: what an injected instruction can cause, and where a person must confirm.
//!
//! What is said here is worked out by [`Blast`], which asks the gate of the run's core.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::agent::Agent;
use prusik_core::contract::EffectClass;

use super::{AgentReport, Fact, Question, Section};
use crate::blast::{Blast, Cell, Hold, Level, OTHERS, Says, Shape, Sink, Verdict, Way};
use crate::finding::Finding;
use crate::lint::LintReport;
use crate::rule::Rule;

/// The rules whose findings say what can be caused.
const INJECTION: [Rule; 6] = [
    Rule::NothingBetween,
    Rule::TrustDoubtful,
    Rule::LeavesUndeclared,
    Rule::RuleDead,
    Rule::TermDead,
    Rule::ToolDead,
];
/// The rules whose findings say what is asked, and how often.
const CONFIRMATION: [Rule; 3] = [Rule::MoneyUnbounded, Rule::ArgumentsUndeclared, Rule::AsksAtWill];
/// Most names that are listed.
const NAMED_MAX: usize = 8;

/// What keeps the tools of an agent in, by the agent's name: `shell: namespaces …`.
pub type Kept = BTreeMap<String, Vec<String>>;

/// Answers both questions for these agents. `lint` is the review of the tools that they hold.
pub fn injections(agents: &[Agent], lint: &LintReport, kept: &Kept) -> [Section; 2] {
    let (mut injection, mut confirmation) = (Vec::new(), Vec::new());
    for agent in agents {
        let blast = Blast::of(agent);
        let none = Vec::new();
        let kept = kept.get(&agent.name).unwrap_or(&none);
        confirmation.push(AgentReport {
            agent: agent.name.clone(),
            facts: confirmed(agent, &blast),
            tools: Vec::new(),
            blast: None,
        });
        injection.push(AgentReport {
            agent: agent.name.clone(),
            facts: caused(agent, &blast, kept),
            tools: Vec::new(),
            blast: Some(blast),
        });
    }
    [
        section(Question::Injection, &INJECTION, agents, lint, injection),
        section(Question::Confirmation, &CONFIRMATION, agents, lint, confirmation),
    ]
}

fn section(
    question: Question,
    rules: &[Rule],
    agents: &[Agent],
    lint: &LintReport,
    reports: Vec<AgentReport>,
) -> Section {
    let names: BTreeSet<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    let tools = agents.iter().flat_map(|agent| &agent.tools);
    let held: BTreeSet<&str> = tools.map(|tool| tool.name.as_str()).collect();
    let concerns = |finding: &Finding| {
        let is_here = match (&finding.agent, &finding.tool) {
            (Some(agent), _) => names.contains(agent.as_str()),
            (None, Some(tool)) => held.contains(tool.as_str()),
            (None, None) => false,
        };
        rules.contains(&finding.rule) && is_here
    };
    let mut findings: Vec<Finding> =
        lint.findings.iter().filter(|finding| concerns(finding)).cloned().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let suppressed = lint.suppressed.iter().filter(|s| concerns(&s.finding)).cloned().collect();
    Section { question, agents: reports, findings, suppressed }
}

/// Returns the facts that have something to say.
fn facts(said: Vec<(&'static str, String)>) -> Vec<Fact> {
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(about, text)| Fact { about, text }).collect()
}

fn caused(agent: &Agent, blast: &Blast, kept: &[String]) -> Vec<Fact> {
    let held = match blast.hold {
        Hold::Nothing => "nothing: it is not contained",
        Hold::Words => "what trusted texts say; about all else a person is asked",
        Hold::Plan => {
            "its plan, and what that does not foresee is refused\nwithout a plan: what trusted texts say; \
             about all else a person is asked"
        }
        Hold::PlanOrPerson => {
            "its plan, and what trusted texts say if it makes none; about all else a person is asked"
        }
    };
    let mut said = vec![("held to", held.to_owned()), ("reads from outside", sources(blast))];
    for sink in blast.sinks.iter().filter(|sink| sink.level > Level::Never) {
        let about = if sink.effect == "read" { "read that leaves" } else { sink.effect };
        said.push((about, sink_text(blast, sink)));
    }
    if blast.sinks.is_empty() {
        said.push(("reaches", "nothing that changes anything or leaves the machine".to_owned()));
    }
    said.push(("carried out", carried_out(blast)));
    said.push(("kept in", kept.join("\n")));
    let never = blast.at(Level::Never).map(|sink| match &sink.never {
        Some(why) => format!("`{}`: {why}", sink.tool),
        None => format!("`{}`", sink.tool),
    });
    said.push(("never called", never.collect::<Vec<_>>().join("\n")));
    let hidden = agent.tools.iter().filter(|tool| !tool.shown);
    let hidden = list(hidden.map(|tool| tool.name.as_str()));
    if !hidden.is_empty() {
        said.push((
            "not the model's",
            format!("{hidden}: for probes and undos, by their contracts"),
        ));
    }
    said.push(("stays possible", stays(blast)));
    facts(said)
}

fn sources(blast: &Blast) -> String {
    let of = |wanted: fn(&Says) -> bool| {
        list(blast.sources.iter().filter(|s| wanted(&s.says)).map(|s| s.tool.as_str()))
    };
    let mut lines = Vec::new();
    let all = of(|says| *says == Says::Anything);
    if !all.is_empty() {
        lines.push(format!("{all}: all that they return"));
    }
    for source in &blast.sources {
        if let Says::Places(places) = &source.says {
            lines.push(format!("`{}`: {}", source.tool, list(places.iter().map(String::as_str))));
        }
    }
    let failures = of(|says| *says == Says::Failures);
    if !failures.is_empty() {
        lines.push(format!("{failures}: what their failures say, and no more"));
    }
    if lines.is_empty() {
        lines.push("nothing: it has no tool that it can call".to_owned());
    }
    lines.join("\n")
}

/// Returns what becomes of the calls of a tool, as lines.
fn sink_text(blast: &Blast, sink: &Sink) -> String {
    let level = match sink.level {
        Level::Open => "whatever it is told, and nothing stands between",
        Level::Bounded => "without a question what the contract leaves open of a planned call",
        Level::Asks => "a person is asked first",
        Level::Never => "never",
    };
    let mut lines = vec![format!("`{}`: {level}", sink.tool)];
    if let Some(witness) = &sink.witness {
        let arguments = witness.arguments.join(", ");
        let end = match witness.verdict {
            Verdict::Made => "made",
            Verdict::Asked => "asks",
            Verdict::Never => "never made",
        };
        lines.push(format!(
            "path: `{}` → the model → `{}({arguments})`: {end}",
            witness.source, witness.tool
        ));
    }
    match blast.hold {
        Hold::Nothing => {}
        Hold::Words => lines.push(unplanned(sink)),
        Hold::Plan | Hold::PlanOrPerson => {
            lines.push(format!("planned: {}", open(sink)));
            lines.push(format!("without a plan: {}", unplanned(sink)));
            let beside = match blast.hold {
                Hold::Plan => "refused",
                Hold::PlanOrPerson | Hold::Words | Hold::Nothing => "asks",
            };
            lines.push(format!("beside the plan: {beside}"));
        }
    }
    if !sink.rules.is_empty() {
        let rules = list(sink.rules.iter().map(String::as_str));
        lines.push(format!("some calls are forbidden by {rules}, which is not counted on here"));
    }
    lines.join("\n")
}

fn unplanned(sink: &Sink) -> String {
    let known = sink.cells.iter().any(|cell| {
        cell.way == Way::Unplanned && cell.shape == Shape::Known && cell.verdict == Verdict::Made
    });
    if known {
        "made if trusted texts say every value, else it asks".to_owned()
    } else {
        "it always asks".to_owned()
    }
}

/// Returns what may fill the open arguments of a planned call, and about what a person is asked.
fn open(sink: &Sink) -> String {
    let (mut free, mut asks, mut rest) = (Vec::new(), Vec::new(), false);
    for (argument, cells) in by_argument(sink) {
        let foreseen = cells.iter().filter(|cell| cell.way == Way::Foreseen);
        let chosen = foreseen.filter(|cell| cell.shape.is_chosen());
        let of = |verdict: Verdict| -> Vec<&'static str> {
            let found = chosen.clone().filter(|cell| cell.verdict == verdict);
            found.map(|cell| cell.shape.text()).collect()
        };
        let (made, asked) = (of(Verdict::Made), of(Verdict::Asked));
        if !made.is_empty() {
            free.push(format!("`{argument}` ({})", made.join(", ")));
            rest |= !asked.is_empty();
        } else if !asked.is_empty() {
            asks.push(format!("`{argument}`"));
        }
    }
    let mut parts = Vec::new();
    if !free.is_empty() {
        parts.push(format!("an attacker fills {}", free.join(", ")));
    }
    if rest {
        asks.push("anything else in them".to_owned());
    }
    if !asks.is_empty() {
        parts.push(format!("asks about {}", asks.join(", ")));
    }
    if parts.is_empty() { "as it was planned".to_owned() } else { parts.join("; ") }
}

/// Returns the cells of each argument, in the schema's order.
fn by_argument(sink: &Sink) -> Vec<(&str, Vec<&Cell>)> {
    let mut found: Vec<(&str, Vec<&Cell>)> = Vec::new();
    for cell in sink.cells.iter().filter(|cell| !cell.argument.is_empty()) {
        match found.iter_mut().find(|(name, _)| *name == cell.argument) {
            Some((_, cells)) => cells.push(cell),
            None => found.push((&cell.argument, vec![cell])),
        }
    }
    found
}

/// Returns where what the agent knows could go.
fn carried_out(blast: &Blast) -> String {
    let names = |level: Level| list(blast.at(level).map(|sink| sink.tool.as_str()));
    let mut lines = Vec::new();
    for (level, text) in [
        (Level::Open, "to whomever an attacker names, by"),
        (Level::Bounded, "in what a plan left open, to whom the plan names, by"),
        (Level::Asks, "after a yes, by"),
    ] {
        let names = names(level);
        if !names.is_empty() {
            lines.push(format!("{text} {names}"));
        }
    }
    let servers = blast.reads.iter().filter(|read| read.tool.contains("__"));
    let speaks = servers.filter(|read| {
        let says = |cell: &Cell| cell.argument != *OTHERS && cell.shape == Shape::Words;
        read.cells.iter().any(|cell| says(cell) && cell.verdict != Verdict::Never)
    });
    let speaks = list(speaks.map(|read| read.tool.as_str()));
    if !speaks.is_empty() {
        lines.push(format!(
            "not by {speaks}, whose arguments are taken to stay on the machine: `leaves: true` if they do not"
        ));
    }
    lines.join("\n")
}

fn stays(blast: &Blast) -> String {
    let answer = "words in the final answer";
    match blast.hold {
        Hold::Nothing => format!("all of this, and {answer}"),
        Hold::Words => format!("reads, and calls whose every value trusted texts say\n{answer}"),
        Hold::Plan | Hold::PlanOrPerson => format!(
            "what was planned, when an attacker wants it and with what it puts into the open values\nwithout \
             a plan: reads, and calls whose every value trusted texts say\n{answer}"
        ),
    }
}

fn confirmed(agent: &Agent, blast: &Blast) -> Vec<Fact> {
    let asks = |sink: &&Sink| sink.cells.iter().any(|cell| cell.verdict == Verdict::Asked);
    let asking: Vec<&Sink> = blast.sinks.iter().filter(asks).collect();
    let reads = blast.reads.iter();
    let reads = reads.filter(|read| read.cells.iter().any(|cell| cell.verdict == Verdict::Asked));
    let mut said = Vec::new();
    let tools = list(asking.iter().map(|sink| sink.tool.as_str()));
    let before = match (blast.hold, tools.is_empty()) {
        (Hold::Nothing, _) => "no call: it is not contained".to_owned(),
        (_, true) => "no call".to_owned(),
        (Hold::Words, false) => format!("{tools}: when a value is not said by trusted texts"),
        (Hold::Plan | Hold::PlanOrPerson, false) => format!(
            "{tools}: without a plan, when a value is not said by trusted texts; with one, when a hole \
             is filled with what the contract does not leave open"
        ),
    };
    said.push(("before", before));
    let reads = list(reads.map(|read| read.tool.as_str()));
    if !reads.is_empty() {
        said.push(("also before", format!("{reads}: reads that no plan names")));
    }
    let more = asking.iter().filter(|sink| sink.people > 1);
    let more = more.map(|sink| format!("`{}`: {} people", sink.tool, sink.people));
    said.push(("by more than one", more.collect::<Vec<_>>().join("\n")));
    if !asking.is_empty() {
        said.push(("at most", at_most(agent, blast)));
    }
    let doubtful = agent.tools.iter().filter(|tool| {
        tool.shown && tool.contract.effect == EffectClass::Write && !tool.contract.resolves_alone()
    });
    let doubtful = list(doubtful.map(|tool| tool.name.as_str()));
    if !doubtful.is_empty() {
        said.push(("after a crash", format!("{doubtful}: whether it landed (`prusik settle`)")));
    }
    facts(said)
}

/// Returns how often a person can be asked in a run.
fn at_most(agent: &Agent, blast: &Blast) -> String {
    let ceiling = match (agent.budget.turns, agent.budget.tool_calls) {
        (None, None) => "until its budget stops it".to_owned(),
        (Some(turns), None) => format!("in {turns} turns"),
        (Some(turns), Some(calls)) => {
            format!("in {turns} turns; with any number of yes {calls} calls are made in all")
        }
        (None, Some(calls)) => format!("with any number of yes {calls} calls are made in all"),
    };
    let hours = agent.containment.map_or(0, |policy| policy.expires_ms / 3_600_000);
    let void = format!("a question that nobody answers within {hours} hours is void");
    let at_will = format!("as often as the model calls, {ceiling}");
    match blast.hold {
        Hold::Nothing => String::new(),
        Hold::Words | Hold::PlanOrPerson => format!("{at_will}\n{void}"),
        Hold::Plan => format!(
            "with a plan: one yes for each planned call, and after a no it may ask twice more\nwithout a plan: \
             {at_will}\n{void}"
        ),
    }
}

/// Returns names in a row; of many some, and how many there are besides.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED_MAX].join(", ")),
    }
}
