//! Planted faults of what an injected instruction could cause, each with its mended pair.

use prusik_check::{AgentEntry, Catalogue, Provider, ToolEntry};
use prusik_core::agent::{Containment, Unplanned};
use prusik_core::contract::{Contract, DenyRule, EffectClass, Returns};
use prusik_core::expr::Expr;
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use serde_json::{Value, json};

use crate::common::{catalogue, tool};
use crate::planted::Planted;

/// A tool that sends words to somebody, fast or not.
fn send() -> ToolEntry {
    let text = |about: &str| json!({"type": "string", "description": about});
    let properties = json!({
        "to": text("Who gets it."),
        "words": text("What it says."),
        "amount": {"type": "number", "minimum": 1, "description": "In euros."},
        "speed": {"type": "string", "enum": ["slow", "fast"], "description": "How fast."},
    });
    let mut tool = tool("send", "Sends words and an amount to somebody.", &properties);
    let failures = std::mem::take(&mut tool.contract.failures);
    tool.contract = Contract { failures, ..Contract::of(EffectClass::Write) };
    for (name, kind) in [("words", ArgumentKind::Content), ("speed", ArgumentKind::Closed)] {
        tool.contract.arguments.insert(name.to_owned(), ArgumentTerm::of(kind));
    }
    tool
}

fn one(rule: &'static str, at: &'static str, bad: ToolEntry, good: ToolEntry) -> Planted {
    Planted { rule, about: "s__send", at, bad: catalogue(vec![bad]), good: catalogue(vec![good]) }
}

/// The tool with another contract.
fn with(change: impl FnOnce(&mut Contract)) -> ToolEntry {
    let mut tool = send();
    change(&mut tool.contract);
    tool
}

fn term(name: &str, term: ArgumentTerm) -> ToolEntry {
    with(|contract| drop(contract.arguments.insert(name.to_owned(), term)))
}

fn denies(when: &str) -> ToolEntry {
    let when = Expr::parse(when).unwrap();
    with(|contract| {
        contract.deny.insert("rule".to_owned(), DenyRule { when, tell: None });
    })
}

fn terms() -> Vec<Planted> {
    let money = |max| ArgumentTerm { max, ..ArgumentTerm::of(ArgumentKind::Money) };
    let members = |members: Value| ArgumentTerm {
        members: members.as_array().unwrap().clone(),
        ..ArgumentTerm::of(ArgumentKind::Closed)
    };
    let amount = "/contract/arguments/amount";
    let of_max = ArgumentTerm { max: Some(9.0), ..ArgumentTerm::of(ArgumentKind::Closed) };
    let reading = |leaves: bool| {
        let mut tool = send();
        tool.contract.leaves = leaves;
        tool
    };
    let trusted_but = |place: &str| {
        let mut tool = send();
        tool.contract.returns = Returns::TrustedBut(vec![place.to_owned()]);
        tool.output_schema = Some(json!({"type": "object", "properties": {
            "mails": {"type": "array", "items": {"type": "object", "properties": {"body": {}}}}}}));
        tool
    };
    let returns = "/contract/returns";
    vec![
        one(
            "money-unbounded",
            amount,
            term("amount", money(None)),
            term("amount", money(Some(9.0))),
        ),
        one(
            "term-dead",
            amount,
            term("amount", money(Some(0.5))),
            term("amount", money(Some(9.0))),
        ),
        one("term-dead", amount, term("amount", of_max), term("amount", money(Some(9.0)))),
        one(
            "term-dead",
            "/contract/arguments/recipient",
            term("recipient", money(Some(9.0))),
            term("to", ArgumentTerm::of(ArgumentKind::Identity)),
        ),
        one(
            "term-dead",
            "/contract/arguments/speed",
            term("speed", members(json!(["fast", "faster"]))),
            term("speed", members(json!(["fast"]))),
        ),
        one("term-dead", "/contract/leaves", reading(true), reading(false)),
        one("term-dead", returns, trusted_but("mails.*.text"), trusted_but("mails.*.body")),
        one("term-dead", returns, trusted_but("mail"), trusted_but("mails")),
        one("term-dead", returns, trusted_but("mails.body"), trusted_but("mails.0.body")),
    ]
}

fn rules() -> Vec<Planted> {
    let at = "/contract/deny/rule";
    let choices = |when: &str| {
        let mut tool = denies(when);
        let properties = tool.input_schema["properties"].as_object_mut().unwrap();
        properties.retain(|name, _| name == "speed");
        tool.input_schema["required"] = json!(["speed"]);
        tool
    };
    vec![
        one("rule-dead", at, denies("1 > 2"), denies("args.amount > 2")),
        one("rule-dead", at, denies("has(args.urgency)"), denies("has(args.speed)")),
        one("rule-dead", at, choices("args.speed == 'faster'"), choices("args.speed == 'fast'")),
        one("tool-dead", "/contract/deny", denies("true"), denies("args.amount > 2")),
        one("tool-dead", "/contract/deny", denies("args.urgency"), denies("has(args.urgency)")),
        one(
            "tool-dead",
            "/contract/deny",
            choices("args.speed in ['slow', 'fast']"),
            choices("args.speed in ['fast']"),
        ),
    ]
}

fn outside() -> Vec<Planted> {
    let read = |name: &str, hints: Option<Value>, change: fn(&mut Contract)| {
        let about = json!({"query": {"type": "string", "description": "What to look for."}});
        let mut tool = tool(name, "Returns what somebody wrote about a topic.", &about);
        "s__send".clone_into(&mut tool.name);
        if name != "look" {
            tool.name = format!("s__{name}");
        }
        tool.hints = hints;
        change(&mut tool.contract);
        tool
    };
    let open = || Some(json!({"openWorldHint": true}));
    let closed = || Some(json!({"openWorldHint": false}));
    let trusted = |contract: &mut Contract| {
        (contract.returns, contract.leaves) = (Returns::Trusted, true);
    };
    let leaves = |contract: &mut Contract| contract.leaves = true;
    let plain = |_: &mut Contract| ();
    let (returns, at) = ("/contract/returns", "/contract/leaves");
    let named = |rule, at, name: &str, bad: fn(&mut Contract), good: fn(&mut Contract)| Planted {
        rule,
        about: "s__read_mail",
        at,
        bad: catalogue(vec![read(name, None, bad)]),
        good: catalogue(vec![read(name, None, good)]),
    };
    vec![
        one(
            "trust-doubtful",
            returns,
            read("look", open(), trusted),
            read("look", closed(), trusted),
        ),
        named("trust-doubtful", returns, "read_mail", trusted, leaves),
        one("leaves-undeclared", at, read("look", open(), plain), read("look", closed(), plain)),
        named("leaves-undeclared", at, "read_mail", plain, leaves),
    ]
}

fn agents() -> Vec<Planted> {
    let held = |containment: Option<Containment>, tools: Vec<ToolEntry>| {
        let agent = AgentEntry {
            name: "clerk".to_owned(),
            provider: Provider::Anthropic,
            tools: tools.iter().map(|tool| tool.name.clone()).collect(),
            tokens: None,
            turns: None,
            context: None,
            containment,
            place: None,
        };
        Catalogue { agents: vec![agent], ..catalogue(tools) }
    };
    let look = || tool("look", "Returns what somebody wrote about a topic.", &json!({}));
    let both = || vec![look(), send()];
    let contained = || Some(Containment::default());
    let bare = || {
        let bare = with(|contract| contract.arguments.clear());
        vec![look(), bare]
    };
    let asking = |plan: bool, unplanned: Unplanned| {
        held(Some(Containment { plan, unplanned, ..Containment::default() }), both())
    };
    let of =
        |rule, about, at, bad: Catalogue, good: Catalogue| Planted { rule, about, at, bad, good };
    let trusted = || {
        let mut look = look();
        look.contract.returns = Returns::Trusted;
        vec![look, send()]
    };
    vec![
        of("nothing-between", "clerk", "", held(None, both()), held(contained(), both())),
        of("nothing-between", "clerk", "", held(None, both()), held(None, vec![look()])),
        of("nothing-between", "clerk", "", held(None, both()), held(None, trusted())),
        of(
            "arguments-undeclared",
            "s__send",
            "/contract/arguments",
            held(contained(), bare()),
            held(contained(), both()),
        ),
        of(
            "arguments-undeclared",
            "s__send",
            "/contract/arguments",
            held(contained(), bare()),
            held(None, bare()),
        ),
        of(
            "asks-at-will",
            "clerk",
            "",
            asking(true, Unplanned::Ask),
            asking(true, Unplanned::Refuse),
        ),
        of(
            "asks-at-will",
            "clerk",
            "",
            asking(false, Unplanned::Refuse),
            asking(true, Unplanned::Refuse),
        ),
    ]
}

pub fn planted() -> Vec<Planted> {
    [terms(), rules(), outside(), agents()].into_iter().flatten().collect()
}
