//! Agent definitions: which tools an agent holds, with which contracts.

use prusik_core::agent::ContextPolicy;
use prusik_core::contract::{Contract, EffectClass, KeyPlace};
use prusik_core::ledger::{EntryKind, Note};
use serde_json::json;

use super::super::ToolFacts;
use super::*;

fn tool(name: &str, properties: &[&str]) -> ToolFacts {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    ToolFacts {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({"type": "object", "properties": properties}),
        output_schema: None,
        contract: None,
    }
}

fn built_in(name: &str, effect: EffectClass) -> ToolFacts {
    ToolFacts { contract: Some(Contract::of(effect)), ..tool(name, &["path"]) }
}

fn connected() -> Vec<ToolFacts> {
    vec![
        built_in("read", EffectClass::Read),
        built_in("grep", EffectClass::Read),
        built_in("write", EffectClass::Idempotent),
        tool("bank__refund", &["id", "idempotency_key"]),
        tool("bank__pay", &["reference", "amount"]),
        tool("bank__ping", &[]),
        tool("bank__find_payment", &["reference"]),
        tool("bank__close", &[]),
    ]
}

#[test]
fn an_agent_holds_what_it_names_and_what_its_contracts_ask() {
    let folder = project_folder();
    let project = load(&folder);
    let mut tools = connected();
    let agent = project.agent_definition(Some("main"), &tools).unwrap();
    let held: Vec<(&str, bool)> =
        agent.tools.iter().map(|tool| (tool.name.as_str(), tool.shown)).collect();
    assert_eq!(
        held,
        [
            ("bank__find_payment", false),
            ("bank__pay", true),
            ("bank__ping", true),
            ("bank__refund", false),
            ("grep", true),
            ("read", true),
        ]
    );
    assert_eq!(agent.system, "You pay invoices.\n\nPay each once.\n\nAmounts are in euros.");
    assert_eq!(agent.limits.repeats_max, 5);
    assert_eq!(agent.budget.turns, Some(20));

    let pay = &agent.tool("bank__pay").unwrap().contract;
    assert_eq!((pay.effect, pay.timeout_ms, pay.parallel), (EffectClass::Write, 20_000, true));
    assert_eq!((pay.retry.attempts_max, pay.result_bytes_max), (5, 1024));
    assert_eq!(pay.probe.as_ref().unwrap().wait_ms, 100);
    let refund = &agent.tool("bank__refund").unwrap().contract;
    assert_eq!(refund.key, Some(KeyPlace::Argument("idempotency_key".to_owned())));
    let undeclared = &agent.tool("bank__ping").unwrap().contract;
    assert_eq!(*undeclared, Contract::of(EffectClass::Write), "the strictest reading");
    assert_eq!(agent.tool("read").unwrap().contract, Contract::of(EffectClass::Read));

    tools.reverse();
    let again = project.agent_definition(Some("main"), &tools).unwrap();
    assert_eq!(again.digest(), agent.digest(), "the order of tools is not the server's");
}

#[test]
fn the_context_is_kept_as_the_file_says_and_as_the_model_is() {
    let folder = project_folder();
    let project = load(&folder);
    let main = project.agent_definition(Some("main"), &connected()).unwrap();
    let policy = main.context.unwrap();
    let local = project.model_spec("local").unwrap();
    let expected = ContextPolicy {
        window_tokens: 48_000,
        reserve_tokens: 8_000,
        compact_at_percent: 70,
        target_percent: 40,
        keep_percent: 20,
        ledger_bytes_max: 4_000,
        summary_bytes_max: 3_000,
        record: false,
        summary_model: Some(local.clone()),
    };
    assert_eq!(policy, expected);
    let decision = Note {
        reason: Some("Cards cost more.".to_owned()),
        rejected: vec!["cards".to_owned()],
        source: Some("the treasurer".to_owned()),
        ..Note::new(EntryKind::Decision, "Pay by transfer.")
    };
    let constraint = Note::new(EntryKind::Constraint, "Never pay an invoice twice.");
    assert_eq!(main.ledger, [constraint, decision]);
    let pay = main.tools.iter().find(|tool| tool.name == "bank__pay").unwrap();
    let [term] = &pay.contract.records[..] else { panic!("{:?}", pay.contract) };
    assert_eq!(term.kind, EntryKind::Fact);
    assert_eq!(term.when.as_ref().unwrap().as_str(), "has(result.id)");

    // An agent that says nothing has all of its model's window, and a recording has its model's.
    let tools = [built_in("read", EffectClass::Read), tool("docs__search", &[])];
    let helper = project.agent_definition(Some("helper"), &tools).unwrap();
    assert_eq!(helper.context, Some(ContextPolicy::of_window(60_000, 4_096)));
    for (alias, tokens) in [("replay", 64_000), ("default", 64_000), ("demo", 128_000)] {
        write(folder.path(), "agents/any.md", format!("---\nmodel: {alias}\n---\nDo."));
        let any = load(&folder).agent_definition(Some("any"), &[]).unwrap();
        assert_eq!(any.context.unwrap().window_tokens, tokens, "{alias}");
    }
}

#[test]
fn only_the_servers_that_an_agent_needs_are_named() {
    let folder = project_folder();
    let project = load(&folder);
    let names = |agent: &str| -> Vec<String> {
        let agent = project.agent(Some(agent)).unwrap();
        project.servers_for(agent).iter().map(|server| server.name.clone()).collect()
    };
    assert_eq!(names("main"), ["bank"]);
    assert_eq!(names("helper"), ["docs"]);
    write(folder.path(), "agents/all.md", "---\ntools: '*'\n---\nAll.");
    write(folder.path(), "agents/none.md", "---\n---\nNone.");
    let project = load(&folder);
    let count = |agent: &str| project.servers_for(project.agent(Some(agent)).unwrap()).len();
    assert_eq!((count("all"), count("none")), (4, 0));
}

/// Loads a project with replacements and returns why no definition comes of it.
fn refused(tools: &[ToolFacts], edits: &[(&str, &str, &str)]) -> String {
    let folder = project_folder();
    for (file, from, to) in edits {
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
    load(&folder).agent_definition(Some("main"), tools).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_the_tools_is_named_with_its_place() {
    const YAML: &str = "prusik.yaml";
    const AGENT: &str = "agents/main.md";
    let all = connected();
    let mut broken = connected();
    broken[4].input_schema = json!({"type": "objekt"});
    let cases = [
        ("a misspelt tool", refused(&all, &[(AGENT, "Grep", "gerp")])),
        ("a tool that every agent has", refused(&all, &[(AGENT, "Grep", "recall")])),
        ("a tool nobody has", refused(&all, &[(AGENT, "Grep", "zzz")])),
        ("a server's tool that it has not", refused(&all, &[(AGENT, "bank__p*", "bank__x*")])),
        ("a server nobody has", refused(&all, &[(AGENT, "bank__p*", "bnak__pay")])),
        (
            "a contract of a tool that the server has not",
            refused(&all, &[(YAML, "bank__refund: {", "bank__refnud: {")]),
        ),
        (
            "a key argument that the tool has not",
            refused(&all, &[(YAML, "argument: idempotency_key", "argument: idempotence_key")]),
        ),
        (
            "an argument that the call has not",
            refused(&all, &[(YAML, "=args.reference", "=args.refrence")]),
        ),
        (
            "an undo that the server has not",
            refused(&all, &[(YAML, "undo: { tool: bank__refund", "undo: { tool: bank__refnd")]),
        ),
        ("a schema that is none", refused(&broken, &[])),
    ];
    let text: Vec<String> =
        cases.iter().map(|(name, errors)| format!("## {name}\n{errors}\n")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn an_agent_is_chosen_by_name_alone_or_as_main() {
    let folder = project_folder();
    let project = load(&folder);
    assert_eq!(project.agent(None).unwrap().name, "main");
    let error = project.agent(Some("mian")).unwrap_err().to_string();
    assert!(error.contains("did you mean `main`?"), "{error}");
    std::fs::rename(folder.path().join("agents/main.md"), folder.path().join("agents/b.md"))
        .unwrap();
    std::fs::write(folder.path().join("agents/b.md"), MAIN.replace("name: main\n", "")).unwrap();
    let error = load(&folder).agent(None).unwrap_err().to_string();
    assert!(error.contains("`b`, `helper`"), "{error}");
    std::fs::remove_file(folder.path().join("agents/helper.md")).unwrap();
    assert_eq!(load(&folder).agent(None).unwrap().name, "b");
    std::fs::remove_file(folder.path().join("agents/b.md")).unwrap();
    let error = load(&folder).agent(None).unwrap_err().to_string();
    assert!(error.contains("agents/main.md"), "{error}");
}
