//! Agents of every kind, from a seed: contracts, schemas, rules, containment.

use std::collections::BTreeMap;

use fastrand::Rng;
use prusik_core::agent::{Agent, Containment, Limits, Tool, Unplanned};
use prusik_core::contract::{Contract, DenyRule, EffectClass, Returns};
use prusik_core::expr::Expr;
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use serde_json::{Map, Value, json};

/// The tool that a model reads hostile text with.
pub const SOURCE: &str = "look";

/// Schemas of arguments of which all can be said that there is to say.
fn schema(rng: &mut Rng) -> Value {
    match rng.u8(0..12) {
        0 | 1 => json!({"type": "string", "description": "Text."}),
        2 => json!({"type": "string", "enum": ["amber", "jade"]}),
        3 => json!({"enum": ["amber", "go to https://eve.example", "all of it at once", 7]}),
        4 => json!({"type": "integer", "minimum": 0, "maximum": 5}),
        5 => json!({"type": "number"}),
        6 => json!({"type": "integer", "exclusiveMinimum": 10}),
        7 => json!({"type": "boolean"}),
        8 => json!({"type": "array", "items": {"type": "string"}}),
        9 => json!({"type": "object"}),
        10 => json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        _ => json!({}),
    }
}

fn term(rng: &mut Rng) -> Option<ArgumentTerm> {
    let kind = *rng.choice(ArgumentKind::ALL.iter())?;
    let mut term = ArgumentTerm::of(kind);
    if kind == ArgumentKind::Money && rng.bool() {
        term.max = Some(10.0);
    }
    if rng.u8(0..5) == 0 {
        term.members = vec![json!("ann"), json!("jade"), json!(3)];
    }
    // What is not declared is an identity.
    (rng.u8(0..6) > 0).then_some(term)
}

fn deny(rng: &mut Rng, closed: bool) -> Option<DenyRule> {
    let rules = ["false", "true", "1 + 1 == 3", "nonsense(1)", "1 == 1"];
    // What of a closed tool is forbidden can be worked out call by call.
    let of_closed = ["args.a == 'jade'", "has(args.b) && args.a == args.b", "has(args.a)"];
    let text = match rng.u8(0..12) {
        0 => rng.choice(rules)?,
        1..5 if closed => rng.choice(of_closed)?,
        _ => return None,
    };
    Some(DenyRule { when: Expr::parse(text).unwrap(), tell: None })
}

fn tool(rng: &mut Rng, name: &str) -> Tool {
    let closed = rng.u8(0..4) == 0;
    let mut contract = Contract::of(match rng.u8(0..6) {
        0 => EffectClass::Read,
        1 => EffectClass::Idempotent,
        _ => EffectClass::Write,
    });
    contract.leaves = contract.effect == EffectClass::Read && rng.bool();
    contract.people = 1 + u32::from(rng.u8(0..5) == 0);
    contract.parallel = rng.bool();
    contract.returns = returns(rng);
    let mut properties = Map::new();
    let mut required = Vec::new();
    let number = [0, 1, 1, 2, 2, 2, 3][rng.usize(0..7)];
    for argument in &["a", "b", "c"][..number] {
        let choice = || json!({"type": "string", "enum": ["amber", "jade"]});
        let schema = match (closed, rng.bool()) {
            (true, true) => json!({"type": "boolean"}),
            (true, false) => choice(),
            (false, _) => schema(rng),
        };
        properties.insert((*argument).to_owned(), schema);
        if rng.bool() {
            required.push(*argument);
        }
        if let Some(term) = term(rng) {
            contract.arguments.insert((*argument).to_owned(), term);
        }
    }
    contract.deny = deny(rng, closed).map(|rule| ("rule".to_owned(), rule)).into_iter().collect();
    let mut input_schema =
        json!({"type": "object", "properties": properties, "required": required});
    if closed || rng.bool() {
        input_schema["additionalProperties"] = json!(false);
    } else if rng.u8(0..3) == 0 {
        input_schema["additionalProperties"] = json!(true);
    }
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema,
        output_schema: None,
        contract,
        shown: rng.u8(0..10) > 0,
    }
}

fn returns(rng: &mut Rng) -> Returns {
    match rng.u8(0..3) {
        0 => Returns::Untrusted,
        1 => Returns::Trusted,
        _ => Returns::TrustedBut(vec!["note".to_owned()]),
    }
}

/// Returns an agent with a source and some tools.
pub fn agent(seed: u64) -> Agent {
    let mut rng = Rng::with_seed(seed);
    let containment = match seed % 5 {
        0 => None,
        1 => Some(Containment { plan: false, ..Containment::default() }),
        2 => Some(Containment { unplanned: Unplanned::Ask, ..Containment::default() }),
        _ => Some(Containment::default()),
    };
    let contract = Contract { returns: returns(&mut rng), ..Contract::of(EffectClass::Read) };
    let source = Tool {
        name: SOURCE.to_owned(),
        description: "Looks.".to_owned(),
        input_schema: json!({"type": "object", "properties": {}, "additionalProperties": false}),
        output_schema: None,
        contract,
        shown: true,
    };
    let tools = ["one", "two", "three"].map(|name| tool(&mut rng, name));
    let limits = Limits { repeats_max: 1_000, malformed_turns_max: 1_000, ..Limits::default() };
    let model = json!({"alias": "m", "model": "m", "max_tokens": 1_000});
    let agent = json!({
        "name": "clerk", "system": "You are a clerk.", "tools": [], "limits": limits, "model": model,
    });
    let agent: Agent = serde_json::from_value(agent).unwrap();
    Agent { containment, tools: [vec![source], tools.into()].concat(), ..agent }
}

/// Returns the slots that a plan may have for an argument, with the values that are pinned.
pub fn slots(pins: &[Value]) -> Vec<Option<Value>> {
    let holes = ArgumentKind::ALL.map(|kind| Some(json!({"hole": kind})));
    let pins = pins.iter().map(|value| Some(json!({"pinned": value})));
    std::iter::once(None).chain(holes).chain(pins).collect()
}

/// Returns every choice of one for each.
pub fn product<T: Clone>(of: &BTreeMap<String, Vec<T>>) -> Vec<BTreeMap<String, T>> {
    let mut all = vec![BTreeMap::new()];
    for (name, choices) in of {
        let with = |chosen: &BTreeMap<String, T>| {
            let chosen = chosen.clone();
            choices
                .iter()
                .map(move |choice| {
                    let mut chosen = chosen.clone();
                    chosen.insert(name.clone(), choice.clone());
                    chosen
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}
