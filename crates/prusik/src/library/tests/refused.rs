//! Agents that do not hold together, and what their authors are told.

use std::convert::Infallible;

use super::bank::{Bank, find, pay, take_back};
use crate::{Agent, AgentBuilder, Budget, Model};

/// Does anything.
#[crate::tool(effect = "write", undo(tool = "find", arguments(id = "=result.")))]
async fn bad_undo() -> Result<(), Infallible> {
    Ok(())
}

/// Does anything, and asks a write about it.
#[crate::tool(
    effect = "write",
    probe(tool = "pay", arguments(from = "Ann"), landed = "true", wait_ms = 0)
)]
async fn bad_probe() -> Result<(), Infallible> {
    Ok(())
}

/// Does anything, with a key that is no text, and takes an argument by its Rust name.
#[crate::tool(
    effect = "idempotent",
    key(argument = "number"),
    undo(tool = "find", arguments(to = "=args.to"))
)]
async fn bad_key(
    /// To whom.
    #[serde(rename = "recipient")]
    to: String,
    /// The key.
    number: u64,
) -> Result<String, Infallible> {
    Ok(format!("{to} {number}"))
}

/// Does anything, and takes an argument by its Rust name.
#[crate::tool(effect = "write", undo(tool = "find", arguments(to = "=args.to")))]
async fn renamed(
    /// To whom.
    #[serde(rename = "recipient")]
    to: String,
) -> Result<String, Infallible> {
    Ok(to)
}

fn agent() -> AgentBuilder {
    Agent::builder("clerk")
        .prompt("You pay.")
        .model(Model::script("turns: [{ say: done }]").unwrap())
}

fn said(builder: AgentBuilder) -> String {
    match builder.build() {
        Ok(_) => "it was built".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_mistake_is_named_with_the_way_out() {
    let bank = Bank::new();
    let all = || {
        let tools = agent().tool(pay(bank.clone())).tool(find(bank.clone()));
        tools.tool(take_back(bank.clone()))
    };
    assert_eq!(said(all()), "it was built");
    let dear = Budget { nano_usd: Some(1), ..Budget::default() };
    let unpriced = Model::openai("nobody-knows").base_url("http://127.0.0.1:9/v1");
    let refused = [
        said(Agent::builder("no name!").tool(bad_undo())),
        said(agent().tool(pay(bank.clone()))),
        said(all().tool(bad_probe()).tool(pay(bank.clone()))),
        said(all().tool(bad_probe())),
        said(all().tool(bad_key())),
        said(all().tool(renamed())),
        said(all().unconfined_shell()),
        said(all().group("a", ["pay", "find", "nobody"]).group("b", ["pay"])),
        said(all().hold("reed")),
        said(all().model(unpriced).budget(dear)),
    ];
    insta::assert_snapshot!(refused.join("\n\n"));
}
