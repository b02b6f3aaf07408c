//! Agents that do not hold together, and what their authors are told.

use std::convert::Infallible;

use std::collections::BTreeMap;

use prusik_core::contract::{KeyPlace, RetryPolicy, Undo};

use super::bank::{Bank, find, pay, take_back};
use crate::{Agent, AgentBuilder, Budget, Contract, EffectClass, EntryKind, Model, Note, Prusik};

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

/// Does anything, under a name that is taken where there are groups.
#[crate::tool(effect = "read")]
async fn commit_group() -> Result<(), Infallible> {
    Ok(())
}

/// What a project's file may not say of a tool, a program may not either.
#[test]
fn a_contract_of_a_program_is_checked_as_a_files_is() {
    let bank = Bank::new();
    let all = || {
        let tools = agent().tool(pay(bank.clone())).tool(find(bank.clone()));
        tools.tool(take_back(bank.clone()))
    };
    let of = |contract: Contract| said(agent().contract("bank__pay", contract));
    let call = KeyPlace::Call;
    let undo = Undo { tool: "bank__undo".to_owned(), arguments: BTreeMap::new() };
    let (write, read) = (Contract::of(EffectClass::Write), Contract::of(EffectClass::Read));
    let never = RetryPolicy { attempts_max: 0, ..write.retry };
    let key = Some(KeyPlace::Argument("kee".to_owned()));
    let keyed = Contract { key, ..Contract::of(EffectClass::Idempotent) };
    for (said, expected) in [
        (of(Contract { key: Some(call), ..write.clone() }), "it is for `effect: idempotent`"),
        (of(Contract { undo: Some(undo), ..read }), "a read leaves nothing to undo"),
        (of(Contract { retry: never, ..write.clone() }), "`attempts_max` is between 1 and 100"),
        (of(Contract { timeout_ms: 0, ..write.clone() }), "`timeout_ms` is 1 or more"),
        (of(Contract { result_bytes_max: 0, ..write }), "`result_bytes_max` is 1 or more"),
        (said(all().contract("find", keyed)), "`find` has no argument `kee`"),
        (said(all().tool(commit_group()).group("a", ["pay"])), "is how a model closes one"),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(said(all().tool(commit_group())), "it was built");
}

#[test]
fn a_projects_groups_take_the_names_too() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "models: { default: { provider: scripted, script: s.yaml } }\ngroups: { a: { tools: [write] } }\n";
    std::fs::write(folder.path().join("prusik.yaml"), yaml).unwrap();
    std::fs::write(folder.path().join("s.yaml"), "turns: [{ say: x }]").unwrap();
    let loaded = Prusik::project_with(folder.path(), [commit_group()]);
    let error = loaded.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("a tool is called `commit_group`"), "{error}");
}

/// Does anything, under a name that every agent has already.
#[crate::tool(effect = "read")]
async fn recall() -> Result<(), Infallible> {
    Ok(())
}

#[test]
fn how_a_context_is_kept_is_checked_as_a_files_is() {
    let note = |text: &str| Note::new(EntryKind::Constraint, text);
    let small = || Model::script("turns: [{ say: x }]").unwrap().window_tokens(8_000);
    for (said, expected) in [
        (said(agent().tool(recall())), "give the tool another name"),
        (
            said(agent().context(|context| context.keep_percent = 60)),
            "which is not below the 50 of",
        ),
        (said(agent().context(|context| context.window_tokens = 10)), "2000 tokens at least"),
        (
            said(agent().ledger(note("Pay once.")).ledger(note(" "))),
            "entry 2 of its ledger: the entry",
        ),
        (
            said(agent().ledger(note("Pay once.")).context(|context| context.ledger_bytes_max = 9)),
            "`ledger_bytes_max` says how much there may be",
        ),
        (said(agent().summary_model(small())), "takes 8000 tokens"),
        (
            said(agent().summary_model(small()).context(|context| context.window_tokens = 8_000)),
            "it was built",
        ),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prusik.yaml"), "").unwrap();
    let loaded = Prusik::project_with(folder.path(), [recall()]);
    let error = loaded.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("a tool is called `recall`"), "{error}");
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
