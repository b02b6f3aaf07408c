//! An agent with one tool of each kind, for stories.

use std::collections::BTreeMap;

use prusik_core::agent::{Agent, Limits, OnFailure, Tool};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass, FailureTerm, KeyPlace, Probe};
use prusik_core::expr::Expr;
use prusik_core::model::{ModelSpec, Price};
use serde_json::{Value, json};

pub fn tool(name: &str, contract: Contract) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({
            "type": "object",
            "properties": {"ref": {"type": "string"}, "n": {"type": "integer"}},
        }),
        output_schema: None,
        contract,
        shown: true,
    }
}

/// The probe that asks `find` for the call's reference.
pub fn probe(wait_ms: u64) -> Probe {
    Probe {
        tool: "find".to_owned(),
        arguments: BTreeMap::from([("ref".to_owned(), json!("=args.ref"))]),
        landed: Expr::parse("result.found").expect("is CEL"),
        result: Some(Expr::parse("{'paid': args.ref}").expect("is CEL")),
        wait_ms,
    }
}

/// `look` reads, `put` is idempotent with its key in an argument, `pay` is a write that can be
/// probed, `send` a write that cannot, `tag` a write that may run beside others.
pub fn agent() -> Agent {
    let mut put = Contract::of(EffectClass::Idempotent);
    put.key = Some(KeyPlace::Argument("key".to_owned()));
    let mut pay = Contract::of(EffectClass::Write);
    pay.probe = Some(probe(0));
    let busy = FailureTerm {
        retry: true,
        tell: Some("Wait a little.".to_owned()),
        ..FailureTerm::default()
    };
    pay.failures.insert("busy".to_owned(), busy);
    let mut tag = Contract::of(EffectClass::Write);
    tag.parallel = true;
    let mut find = tool("find", Contract::of(EffectClass::Read));
    find.shown = false;
    Agent {
        name: "clerk".to_owned(),
        system: "You are a clerk.".to_owned(),
        model: ModelSpec {
            alias: "main".to_owned(),
            model: "model-1".to_owned(),
            max_tokens: 1_000,
            temperature: None,
            thinking_tokens: None,
            price: Some(Price {
                input: 1_000_000_000,
                output: 5_000_000_000,
                cache_read: 100_000_000,
                cache_write: 1_250_000_000,
            }),
        },
        tools: vec![
            tool("look", Contract::of(EffectClass::Read)),
            tool("put", put),
            tool("pay", pay),
            tool("send", Contract::of(EffectClass::Write)),
            tool("tag", tag),
            find,
        ],
        budget: Budget::default(),
        output: None,
        on_failure: OnFailure::Leave,
        limits: Limits::default(),
        groups: Vec::new(),
        context: None,
        ledger: Vec::new(),
        containment: None,
    }
}

pub fn with_output(schema: Value) -> Agent {
    Agent { output: Some(schema), ..agent() }
}

/// Changes the contract of one tool.
pub fn with_contract(name: &str, change: impl FnOnce(&mut Contract)) -> Agent {
    let mut agent = agent();
    let tool = agent.tools.iter_mut().find(|tool| tool.name == name).expect("the agent holds it");
    change(&mut tool.contract);
    agent
}
