//! What an injected instruction could cause, and what of the contracts does nothing about it.

use std::collections::BTreeSet;

use prusik_core::agent::{Tool, Unplanned};
use prusik_core::contract::{EffectClass, Returns};
use prusik_core::grant::ArgumentKind;
use prusik_core::run::can_foresee;
use prusik_core::schema::Schema;
use serde_json::{Map, Value};

use crate::blast::{Domain, is_sink};
use crate::catalogue::{AgentEntry, Catalogue, ToolEntry};
use crate::finding::Finding;
use crate::params::{escaped, follow};
use crate::rule::Rule;
use crate::words;

/// Words of a tool that reads where anybody may write.
const OUTSIDE: [&str; 20] = [
    "browse", "browser", "chat", "comment", "comments", "crawl", "email", "emails", "feed", "http",
    "inbox", "internet", "mail", "mails", "messages", "review", "reviews", "scrape", "web",
    "website",
];

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let mut own = Vec::new();
    money(tool, &mut own);
    terms(tool, &mut own);
    rules(tool, &mut own);
    trust(tool, &mut own);
    for (key, mut finding) in own {
        finding.place = tool.place_of(key);
        found.push(finding);
    }
}

pub(crate) fn check_agents(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    let mut contained = BTreeSet::new();
    for agent in &catalogue.agents {
        let mut own = Vec::new();
        between(catalogue, agent, &mut own);
        asks(agent, &mut own);
        if agent.containment.is_some() {
            contained.extend(agent.tools.iter().map(String::as_str));
        }
        for mut finding in own {
            finding.agent = Some(agent.name.clone());
            finding.place.clone_from(&agent.place);
            found.push(finding);
        }
    }
    for tool in catalogue.tools.iter().filter(|tool| contained.contains(tool.name.as_str())) {
        undeclared(tool, found);
    }
}

type Found = Vec<(&'static str, Finding)>;

fn money(tool: &ToolEntry, found: &mut Found) {
    for (name, term) in &tool.contract.arguments {
        if term.kind == ArgumentKind::Money && term.max.is_none() && term.members.is_empty() {
            let message = format!(
                "`{name}` is money without a `max`: a person is asked about every amount that a plan \
                 leaves open"
            );
            let help = "say up to which amount nobody need be asked: `{ kind: money, max: 500 }`";
            let finding = Finding::new(Rule::MoneyUnbounded, message, help);
            found.push(("arguments", finding.at(format!("/contract/arguments/{}", escaped(name)))));
        }
    }
}

/// Finds terms of a contract that nothing can ever fall under.
fn terms(tool: &ToolEntry, found: &mut Found) {
    let contract = &tool.contract;
    let mut dead = |key: &'static str, at: String, message: String, help: &str| {
        found.push((key, Finding::new(Rule::TermDead, message, help).at(at)));
    };
    if contract.leaves && contract.effect != EffectClass::Read {
        let message =
            "`leaves` is said of a tool that is no read: it is held to the plan in any case";
        let help = "remove `leaves`, or declare `effect: read` if it changes nothing";
        dead("leaves", "/contract/leaves".to_owned(), message.to_owned(), help);
    }
    let held = held(tool);
    for (name, term) in &contract.arguments {
        let at = format!("/contract/arguments/{}", escaped(name));
        if !can_foresee(&held, name) {
            let message = format!("`arguments` names `{name}`, which its schema does not have");
            let help =
                "name the argument as the schema does: what is not named says who is affected";
            dead("arguments", at, message, help);
            continue;
        }
        let out = term.members.iter().filter(|member| !is_let_in(tool, name, member));
        let out: Vec<String> = out.map(|member| format!("`{member}`")).collect();
        if !out.is_empty() {
            let message =
                format!("`members` of `{name}` has {}, which its schema refuses", out.join(", "));
            dead("arguments", at.clone(), message, "write the members as the schema takes them");
        }
        let property = follow(&tool.input_schema, &tool.input_schema["properties"][name]);
        match (term.max, property["minimum"].as_f64()) {
            (Some(_), _) if term.kind != ArgumentKind::Money => {
                let message = format!(
                    "`max` of `{name}` holds for money alone, and it is `{}`",
                    term.kind.as_str()
                );
                dead("arguments", at, message, "say `kind: money`, or remove `max`");
            }
            (Some(max), Some(min)) if max < min => {
                let message = format!("`max` of `{name}` is {max}, and its schema begins at {min}");
                dead("arguments", at, message, "raise `max`: as it is, it leaves no amount open");
            }
            (Some(_), Some(_) | None) | (None, _) => {}
        }
    }
    if let (Returns::TrustedBut(places), Some(output)) = (&contract.returns, &tool.output_schema) {
        for place in places.iter().filter(|place| !has_place(output, output, place, 0)) {
            let message = format!(
                "`trusted_but` names `{place}`, which its output schema does not have: what stands in the \
                 place that is meant counts as trusted"
            );
            let help = "write the place as the output schema names it: keys with points between, `*` for \
                        the items of a list";
            dead("returns", "/contract/returns".to_owned(), message, help);
        }
    }
}

fn rules(tool: &ToolEntry, found: &mut Found) {
    if tool.contract.deny.is_empty() {
        return;
    }
    let held = held(tool);
    let domain = Domain::of(&held);
    for rule in &domain.dead_rules {
        let message = format!("the rule `{rule}` forbids no call that its schema allows");
        let help = "look at what it names and compares: a rule that never fires protects nobody";
        let finding = Finding::new(Rule::RuleDead, message, help);
        found.push(("deny", finding.at(format!("/contract/deny/{}", escaped(rule)))));
    }
    if let Some(why) = domain.never() {
        let message = format!("it can never be called: {why}");
        let help = "take the tool from the agents that hold it, or mend the rule";
        found.push(("deny", Finding::new(Rule::ToolDead, message, help).at("/contract/deny")));
    }
}

fn trust(tool: &ToolEntry, found: &mut Found) {
    let contract = &tool.contract;
    let open = tool.hints.as_ref().is_some_and(|hints| hints["openWorldHint"] == true);
    let said = words::split(tool.own_name());
    let is_outside = |word: &&String| OUTSIDE.contains(&word.as_str()) || said == ["fetch"];
    let named = said.iter().find(is_outside);
    let why = match (open, named) {
        (true, _) => "its server says that it reaches into the open world".to_owned(),
        (false, Some(word)) => {
            format!("its name says that it reads where anybody writes (`{word}`)")
        }
        (false, None) => return,
    };
    if contract.effect != EffectClass::Read {
        return;
    }
    if contract.returns == Returns::Trusted {
        let message = format!("all that it returns is trusted, and {why}");
        let help = "say `returns: untrusted`, or `trusted_but` with the places that others write";
        let finding = Finding::new(Rule::TrustDoubtful, message, help);
        found.push(("returns", finding.at("/contract/returns")));
    }
    let takes = |schema: &Value| match &schema["type"] {
        Value::String(kind) => kind == "string",
        _ => true,
    };
    let speaks =
        tool.input_schema["properties"].as_object().is_some_and(|of| of.values().any(takes));
    if !contract.leaves && speaks && tool.is_declared("effect") && tool.server.is_some() {
        let message = format!("its arguments are taken to stay on the machine, and {why}");
        let help = "say `leaves: true`: then it is held to the plan, and cannot carry anything out";
        let finding = Finding::new(Rule::LeavesUndeclared, message, help);
        found.push(("effect", finding.at("/contract/leaves")));
    }
}

fn between(catalogue: &Catalogue, agent: &AgentEntry, found: &mut Vec<Finding>) {
    if agent.containment.is_some() {
        return;
    }
    let held: Vec<&ToolEntry> =
        catalogue.tools.iter().filter(|tool| agent.tools.contains(&tool.name)).collect();
    let reads = |tool: &&&ToolEntry| {
        tool.contract.effect == EffectClass::Read && tool.contract.returns != Returns::Trusted
    };
    let acts = |tool: &&&ToolEntry| is_sink(&self::held(tool));
    let Some(source) = held.iter().find(reads) else { return };
    let sinks: Vec<String> =
        held.iter().filter(acts).map(|tool| format!("`{}`", tool.name)).collect();
    if sinks.is_empty() {
        return;
    }
    let more = match sinks.len().saturating_sub(3) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "it reads with `{}` what anybody may have written, holds {}{more}, and nothing stands between",
        source.name,
        sinks[..sinks.len().min(3)].join(", ")
    );
    let help =
        "add `containment: {}` to the agent, and say in the contracts what the arguments decide";
    found.push(Finding::new(Rule::NothingBetween, message, help));
}

fn asks(agent: &AgentEntry, found: &mut Vec<Finding>) {
    let Some(policy) = &agent.containment else { return };
    let why = match (policy.plan, policy.unplanned) {
        (false, _) => "it makes no plan, so every call with a value of an attacker asks",
        (true, Unplanned::Ask) => "calls that no plan foresees ask",
        (true, Unplanned::Refuse) => return,
    };
    let message = format!("{why}: whoever writes what it reads can ask until somebody says yes");
    let help =
        "leave `unplanned: refuse` and `plan: true`, so that only calls that were planned can ask";
    found.push(Finding::new(Rule::AsksAtWill, message, help));
}

fn undeclared(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let properties = tool.input_schema["properties"].as_object();
    let takes = properties.is_some_and(|properties| !properties.is_empty());
    if !tool.contract.arguments.is_empty() || !takes || !is_sink(&held(tool)) {
        return;
    }
    let message = "nobody says what its arguments decide: each is taken for who or what is affected, and \
                   a person is asked about each that a plan leaves open";
    let help = "say it under `arguments`: `content` is words, `closed` a number, a date or a choice, \
                `money` an amount; what is left is an `identity`";
    let mut finding = Finding::new(Rule::ArgumentsUndeclared, message, help);
    "/contract/arguments".clone_into(&mut finding.at);
    finding.tool = Some(tool.name.clone());
    finding.place.clone_from(&tool.place);
    found.push(finding);
}

/// Returns the tool as an agent would hold it.
fn held(tool: &ToolEntry) -> Tool {
    Tool {
        name: tool.name.clone(),
        description: String::new(),
        input_schema: tool.input_schema.clone(),
        output_schema: None,
        contract: tool.contract.clone(),
        shown: true,
    }
}

fn is_let_in(tool: &ToolEntry, name: &str, value: &Value) -> bool {
    let mut schema = tool.input_schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.remove("required");
    }
    let call = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    let here = format!("/{}", escaped(name));
    !Schema::new(&schema).mismatches(&call).iter().any(|found| found.at.starts_with(&here))
}

/// Returns whether a schema could have something in a place.
fn has_place(root: &Value, schema: &Value, place: &str, depth: usize) -> bool {
    const DEPTH_MAX: usize = 16;
    let schema = follow(root, schema);
    let (first, rest) = place.split_once('.').map_or((place, ""), |(first, rest)| (first, rest));
    let inside = |inner: &Value| {
        rest.is_empty() || depth >= DEPTH_MAX || has_place(root, inner, rest, depth + 1)
    };
    let branches = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema[*key].as_array());
    let mut branches = branches.flatten().peekable();
    if branches.peek().is_some() {
        return depth >= DEPTH_MAX || branches.any(|of| has_place(root, of, place, depth + 1));
    }
    match (schema["properties"].as_object(), schema.get("items")) {
        (Some(properties), _) if first == "*" => properties.values().any(inside),
        (Some(properties), _) => properties.get(first).is_some_and(inside),
        (None, Some(items)) => (first == "*" || first.parse::<usize>().is_ok()) && inside(items),
        // Of what it has nothing is said.
        (None, None) => true,
    }
}
