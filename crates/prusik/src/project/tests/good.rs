//! A project without mistakes: what its values are.

use std::path::Path;

use prusik_core::schema::{check_schema, mismatches};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::super::values::{SecretRef, Template, Usd, Wall};
use super::super::{BUILT_IN_TOOLS, Project, SchemaOf, Transport, schema};
use super::*;

#[test]
fn every_key_is_read() {
    let folder = project_folder();
    let project = load(&folder);
    assert_eq!(project.workspace(), folder.path().join("workspace"));
    assert_eq!(project.store_path(), folder.path().join(".prusik/prusik.db"));
    assert!(project.has_unconfined_shell());

    let main = project.agent(None).unwrap();
    assert_eq!((main.name.as_str(), main.file.as_path()), ("main", Path::new("agents/main.md")));
    assert_eq!(main.tools, ["read", "grep", "bank__p*"]);
    assert_eq!(main.output.as_ref().unwrap()["required"], json!(["paid"]));
    let budget = project.budget(main);
    assert_eq!((budget.turns, budget.tokens), (Some(20), Some(500_000)));
    assert_eq!((budget.nano_usd, budget.wall_ms), (Some(1_000_000_000), Some(1_800_000)));

    let helper = project.agent(Some("helper")).unwrap();
    assert_eq!(helper.tools, ["read", "docs__search"]);
    assert_eq!(project.model_alias(helper), "local");
}

#[test]
fn models_know_their_price_and_where_their_key_is() {
    let folder = project_folder();
    let project = load(&folder);
    let price = |alias: &str| project.model_spec(alias).unwrap().price.map(|price| price.output);
    assert_eq!(price("default"), Some(15_000_000_000));
    assert_eq!(price("demo"), Some(0));
    assert_eq!(price("replay"), price("default"));
    assert_eq!(project.model_spec("replay").unwrap().model, "claude-sonnet-4-5");
    let key = |alias: &str| project.key_of(project.model(alias).unwrap());
    assert_eq!(key("default"), Some(SecretRef::Env("BANK_KEY".to_owned())));
    assert_eq!(key("local"), None);
    assert_eq!(key("demo"), None);
}

#[test]
fn servers_of_both_files_are_merged() {
    let folder = project_folder();
    let project = load(&folder);
    let names: Vec<&str> = project.servers().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["bank", "docs", "my_files", "old"]);
    let bank = project.server("bank").unwrap();
    assert_eq!(bank.file, Path::new("prusik.yaml"), "it takes the other's place");
    let Transport::Stdio { args, env, .. } = &bank.transport else { panic!("{bank:?}") };
    let unset = |_: &str| None;
    let set = |name: &str| (name == "LEDGER").then(|| "l.db".to_owned());
    let root = folder.path();
    assert_eq!(args[2].resolve(root, &unset).unwrap().expose_secret(), "ledger.jsonl");
    assert_eq!(args[2].resolve(root, &set).unwrap().expose_secret(), "l.db");
    let missing = env["TOKEN"].resolve(root, &unset).unwrap_err();
    assert_eq!(missing, "the environment variable BANK_TOKEN is not set");
    assert!(matches!(project.server("old").unwrap().transport, Transport::Unsupported { .. }));
}

#[test]
fn secrets_come_from_the_environment_or_a_file_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "key.txt", "  s3cret\n");
    write(folder.path(), "empty.txt", "\n");
    let none = |_: &str| None;
    let get = |text: &str| SecretRef::parse(text).unwrap().resolve(folder.path(), &none);
    assert_eq!(get("file:key.txt").unwrap().expose_secret(), "s3cret");
    assert!(get("file:empty.txt").unwrap_err().contains("empty"));
    assert!(get("file:none.txt").unwrap_err().contains("none.txt"));
    assert!(get("file:.").unwrap_err().contains("not a file"));
    assert!(get("env:X").unwrap_err().contains("X is not set"));
    assert_eq!(SecretRef::parse("sk-ant-123"), None);
    assert_eq!(SecretRef::parse("env:"), None);
    assert!(!format!("{:?}", Template::parse("sk-ant-123").unwrap()).contains("sk-ant"));
    for bad in ["${", "${}", "a${B", "${1X}", "env:a b"] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Template::parse("a $b {c}").unwrap().literal(), Some("a $b {c}"));
}

#[test]
fn the_built_in_tools_are_those_that_there_are() {
    for name in BUILT_IN_TOOLS {
        assert!(prusik_tool::builtin_contract(name).is_some(), "{name}");
    }
}

#[test]
fn times_have_units() {
    for (text, ms) in [("30m", 1_800_000), ("1h30m", 5_400_000), ("1h 5s", 3_605_000), ("7ms", 7)] {
        assert_eq!(Wall::parse(text), Some(Wall(ms)), "{text}");
    }
    for text in ["", "30", "m", "1x", "1.5h", "99999999999999999999s", "-1s", "999999999999999d"] {
        assert_eq!(Wall::parse(text), None, "{text}");
    }
    assert_eq!(serde_json::from_value::<Usd>(json!(0.1)).unwrap(), Usd(100_000_000));
}

#[test]
fn a_project_is_found_from_below() {
    let folder = project_folder();
    let below = folder.path().join("workspace/deep");
    std::fs::create_dir_all(&below).unwrap();
    assert_eq!(Project::find(&below).unwrap(), folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let error = Project::find(elsewhere.path()).unwrap_err();
    assert!(error.to_string().contains("prusik init"), "{error}");
}

#[test]
fn the_schemas_describe_what_is_read() {
    let project = schema(SchemaOf::Project);
    check_schema(&project).unwrap();
    let agent = schema(SchemaOf::Agent);
    check_schema(&agent).unwrap();
    let value = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(mismatches(&project, &value(PROJECT)), []);
    let front = MAIN.split("---\n").nth(1).unwrap();
    assert_eq!(mismatches(&agent, &value(front)), []);
    for bad in ["modles: {}", "budget: { wall: 30 }", "shell: yes", "models: { a: {} }"] {
        assert_ne!(mismatches(&project, &value(bad)), [], "{bad}");
    }
    assert_every_key_is_described(&project, "prusik.yaml");
    assert_every_key_is_described(&agent, "agent");
}

fn assert_every_key_is_described(schema: &serde_json::Value, at: &str) {
    if let Some(properties) = schema["properties"].as_object() {
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{at}: {key} is not described");
        }
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        assert_every_key_is_described(definition, name);
    }
}
