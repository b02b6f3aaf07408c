//! Who may depend on whom. A new edge is an architecture decision: write it into ARCHITECTURE.md,
//! then here.

use serde_json::Value;

use crate::metadata;

/// Each crate, and the crates of the workspace that it may depend on.
const EDGES: [(&str, &[&str]); 11] = [
    ("prusik-core", &[]),
    ("prusik-check", &["prusik-core"]),
    ("prusik-store", &["prusik-core"]),
    ("prusik-model", &["prusik-core"]),
    ("prusik-policy", &["prusik-core"]),
    ("prusik-tool", &["prusik-core"]),
    ("prusik-macros", &[]),
    ("prusik-engine", &["prusik-core", "prusik-model", "prusik-store", "prusik-tool"]),
    (
        "prusik",
        &[
            "prusik-check",
            "prusik-core",
            "prusik-engine",
            "prusik-macros",
            "prusik-model",
            "prusik-policy",
            "prusik-store",
            "prusik-tool",
        ],
    ),
    (
        "prusik-testkit",
        &["prusik-core", "prusik-engine", "prusik-model", "prusik-store", "prusik-tool"],
    ),
    (
        "xtask",
        &[
            "prusik",
            "prusik-check",
            "prusik-core",
            "prusik-engine",
            "prusik-model",
            "prusik-store",
            "prusik-testkit",
            "prusik-tool",
        ],
    ),
];

/// What the tests of every crate but the core may depend on besides.
const TESTS_MAY_USE: &str = "prusik-testkit";

/// All that the core may depend on from outside: pure code, each of it.
const CORE_MAY_USE: [&str; 6] = ["cel", "jsonschema", "serde", "serde_json", "sha2", "thiserror"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// Returns every dependency as (crate, dependency, kind).
fn dependencies(metadata: &Value) -> Vec<(String, String, Kind)> {
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let kind = match dependency["kind"].as_str() {
                None => Kind::Normal,
                Some("build") => Kind::Build,
                Some("dev") => Kind::Dev,
                Some(other) => panic!("cargo has a new kind of dependency: {other}"),
            };
            let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
            edges.push((name(package), name(dependency), kind));
        }
    }
    edges
}

/// Returns the edges that the house does not have.
fn forbidden(edges: &[(String, String, Kind)]) -> Vec<String> {
    let allowed = |from: &str, to: &str, kind: Kind| {
        let Some((_, may)) = EDGES.iter().find(|(name, _)| *name == from) else { return false };
        let is_ours = EDGES.iter().any(|(name, _)| *name == to) || to.starts_with("prusik");
        match kind {
            _ if may.contains(&to) => true,
            Kind::Dev if to == TESTS_MAY_USE => from != "prusik-core",
            Kind::Normal | Kind::Build if from == "prusik-core" => CORE_MAY_USE.contains(&to),
            Kind::Normal | Kind::Build | Kind::Dev => !is_ours,
        }
    };
    edges
        .iter()
        .filter(|(from, to, kind)| !allowed(from, to, *kind))
        .map(|(from, to, kind)| format!("{from} -> {to} ({kind:?})"))
        .collect()
}

#[test]
fn crates_depend_on_each_other_only_as_the_architecture_says() {
    let edges = dependencies(&metadata(&["--no-deps"]));
    assert!(edges.len() > 50, "cargo told too little: {edges:?}");
    let wrong = forbidden(&edges);
    assert!(
        wrong.is_empty(),
        "edges that the architecture does not have; an edge is a decision: write it into \
         ARCHITECTURE.md and into xtask/tests/house/edges.rs, or remove it:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_crate_of_the_workspace_has_its_place() {
    let metadata = metadata(&["--no-deps"]);
    let mut found: Vec<&str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let mut known: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn edges_that_break_the_rules_are_found() {
    let edge = |from: &str, to: &str, kind| (from.to_owned(), to.to_owned(), kind);
    for wrong in [
        edge("prusik-core", "tokio", Kind::Normal),
        edge("prusik-core", "prusik-testkit", Kind::Dev),
        edge("prusik-store", "prusik-model", Kind::Normal),
        edge("prusik-model", "prusik-tool", Kind::Dev),
        edge("prusik-tool", "prusik-engine", Kind::Build),
        edge("prusik-engine", "prusik-testkit", Kind::Normal),
        edge("prusik-new", "serde", Kind::Normal),
    ] {
        assert_eq!(forbidden(std::slice::from_ref(&wrong)).len(), 1, "{wrong:?}");
    }
    let good = [
        edge("prusik-core", "serde", Kind::Normal),
        edge("prusik-core", "proptest", Kind::Dev),
        edge("prusik-engine", "prusik-testkit", Kind::Dev),
        edge("prusik-engine", "tokio", Kind::Normal),
    ];
    assert!(forbidden(&good).is_empty());
}
