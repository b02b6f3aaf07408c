//! What the attribute makes of a function.

use std::sync::Arc;

use prusik_core::contract::{EffectClass, FailureTerm, KeyPlace};
use prusik_core::outcome::{Outcome, kind};
use serde_json::json;

use super::bank::{Bank, clerk, find, pay, take_back, wait};
use crate::{RustTool, Severity};

#[test]
fn the_signature_and_the_attribute_are_the_contract() {
    let tool = pay(Bank::new());
    assert_eq!(tool.name(), "pay");
    insta::assert_json_snapshot!(json!({
        "description": tool.info().description,
        "input": tool.info().input_schema,
        "output": tool.info().output_schema,
        "contract": tool.contract().unwrap(),
    }));
}

#[test]
fn what_is_not_said_has_its_default() {
    let contract = find(Bank::new()).contract().unwrap();
    assert_eq!(contract, prusik_core::contract::Contract::of(EffectClass::Read));
    let tool = wait();
    assert_eq!(tool.info().input_schema["properties"], json!({}));
    assert_eq!(tool.info().output_schema, Some(json!({"type": "string"})));
    assert_eq!(take_back(Bank::new()).info().output_schema, None);
}

#[test]
fn the_key_is_a_parameter_that_the_model_does_not_see() {
    let bank = Bank::new();
    let agent = clerk(&bank, "turns: [{ say: done }]").build().unwrap();
    let facts: Vec<_> = agent.parts().own().iter().map(crate::library::OwnTool::facts).collect();
    let definition = agent.parts().definition(&facts).unwrap();
    let tool = definition.tool("take_back").unwrap();
    assert_eq!(tool.contract.key, Some(KeyPlace::Argument("request".to_owned())));
    assert!(tool.input_schema["properties"].get("request").is_some());
    let shown = tool.declaration().input_schema;
    assert_eq!(shown["properties"].get("request"), None);
    assert_eq!(shown["required"], json!(["id", "why"]));
    let hidden = definition.tools.iter().filter(|tool| !tool.shown).map(|tool| &tool.name);
    assert_eq!(hidden.collect::<Vec<_>>(), ["find", "take_back"]);
}

async fn outcome(tool: &RustTool, arguments: serde_json::Value) -> Outcome {
    tool.call(arguments).await.unwrap()
}

#[tokio::test]
async fn each_way_to_fail_arrives_as_declared() {
    let bank = Bank::new();
    let tool = pay(Arc::clone(&bank));
    let terms = tool.contract().unwrap().failures;
    let closed = FailureTerm {
        retry: true,
        tell: Some("Nothing was booked.".to_owned()),
        ..FailureTerm::default()
    };
    assert_eq!(terms["closed"], closed);
    assert_eq!(terms.keys().collect::<Vec<_>>(), ["closed", "insufficient_funds"]);

    let Outcome::Failed(failure) = outcome(&tool, json!({"to": "Ann", "cents": 1000})).await else {
        panic!("it is above the limit");
    };
    assert_eq!((failure.kind.as_str(), failure.retryable), ("insufficient_funds", false));
    assert_eq!(failure.message, "the account has 100 cents too few");
    assert_eq!(failure.advice.as_deref(), Some("Nothing was booked. Ask for a smaller amount."));
    let Outcome::Failed(failure) = outcome(&tool, json!({"to": "Ann", "cents": 15})).await else {
        panic!("it is closed");
    };
    assert_eq!((failure.kind.as_str(), failure.retryable), ("closed", true));
    assert!(bank.read().is_empty());

    let broken = outcome(&tool, json!({"to": "Ann", "cents": 13})).await;
    assert!(
        matches!(&broken, Outcome::InDoubt { reason } if reason.contains("hung up")),
        "{broken:?}"
    );
    let panicked = outcome(&tool, json!({"to": "Ann", "cents": 14})).await;
    assert!(
        matches!(&panicked, Outcome::InDoubt { reason } if reason == "`pay` panicked: fourteen"),
        "{panicked:?}"
    );
}

#[tokio::test]
async fn arguments_that_do_not_fit_never_reach_the_function() {
    let bank = Bank::new();
    let tool = pay(Arc::clone(&bank));
    for arguments in [
        json!({"to": "Ann"}),
        json!({"to": "Ann", "cents": -1}),
        json!({"to": "Ann", "cents": 1, "more": true}),
        json!({"to": "Ann", "cents": 1, "purpose": "gift"}),
        json!([]),
    ] {
        let Outcome::Failed(failure) = outcome(&tool, arguments.clone()).await else {
            panic!("{arguments} was taken");
        };
        assert_eq!(failure.kind, kind::INVALID_ARGUMENTS, "{arguments}");
    }
    assert!(bank.read().is_empty());
    let fine = outcome(&tool, json!({"to": "Ann", "cents": 1, "purpose": "salary"})).await;
    assert!(matches!(fine, Outcome::Ok(_)), "{fine:?}");
    assert_eq!(bank.read(), ["pay Ann 1 Salary"]);
}

#[tokio::test]
async fn a_well_declared_agent_has_no_warnings_and_its_report_is_complete() {
    let review = clerk(&Bank::new(), "turns: [{ say: done }]").build().unwrap().review().await;
    let review = review.unwrap();
    let findings = review.findings(Severity::Warning);
    assert!(findings.is_empty(), "{findings:#?}");
    let section = &review.report.sections[0];
    let tools: Vec<_> = section.agents[0].tools.iter().map(|tool| tool.tool.as_str()).collect();
    assert_eq!(tools, ["find", "pay", "take_back", "wait"]);
    let pay = section.agents[0].tools.iter().find(|tool| tool.tool == "pay").unwrap();
    insta::assert_json_snapshot!(pay);
}

/// No name that a program gives is one that the attribute needs.
#[tokio::test]
async fn tools_may_be_called_like_anything() {
    /// Calls.
    #[crate::tool(effect = "read")]
    async fn call(
        #[context] call: &crate::Call<'_>,
        /// Anything.
        arguments: String,
    ) -> Result<String, std::convert::Infallible> {
        let _ = call;
        Ok(arguments)
    }
    /// Argues.
    #[crate::tool(effect = "read")]
    async fn arguments(
        /// Anything.
        call: u32,
    ) -> Result<u32, std::convert::Infallible> {
        Ok(call)
    }
    /// Counts what is in the bank.
    #[crate::tool(effect = "read")]
    async fn bank(#[state] bank: &Bank) -> Result<usize, std::convert::Infallible> {
        Ok(bank.read().len())
    }
    for (tool, arguments, value) in [
        (call(), json!({"arguments": "x"}), "x"),
        (arguments(), json!({"call": 7}), "7"),
        (bank(Bank::new()), json!({}), "0"),
    ] {
        let Outcome::Ok(result) = outcome(&tool, arguments).await else { panic!("{value}") };
        assert!(format!("{result:?}").contains(value), "{result:?}");
    }
}
