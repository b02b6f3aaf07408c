//! How well overlaps are found, on catalogues that people labelled.

use std::collections::BTreeSet;

use prusik_check::{Catalogue, Rule, lint};
use serde_json::{Map, Value, json};

use crate::common::{catalogue, tool};

type Pair = (String, String);

/// A catalogue, with the pairs that overlap.
struct Labelled {
    name: String,
    tools: Catalogue,
    overlaps: BTreeSet<Pair>,
}

fn pair(a: &str, b: &str) -> Pair {
    if a < b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) }
}

fn labelled() -> Vec<Labelled> {
    let data: Value = serde_json::from_str(include_str!("../data/overlap.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let of = |value: Value| {
        let tools = list(&value["tools"]).into_iter().map(|entry| {
            let parameter = |name: &Value| (text(name), json!({"type": "string"}));
            let properties: Map<String, Value> =
                list(&entry["params"]).iter().map(parameter).collect();
            let mut tool = tool("", &text(&entry["description"]), &Value::Object(properties));
            tool.name = text(&entry["name"]);
            tool.server = tool.name.split_once("__").map(|(server, _)| server.to_owned());
            tool
        });
        let overlaps = list(&value["overlaps"]);
        let overlaps = overlaps.iter().map(|two| pair(&text(&two[0]), &text(&two[1]))).collect();
        Labelled { name: text(&value["name"]), tools: catalogue(tools.collect()), overlaps }
    };
    list(&data["catalogues"]).into_iter().map(of).collect()
}

fn told(tools: &Catalogue) -> BTreeSet<Pair> {
    lint(tools)
        .findings
        .iter()
        .filter(|finding| finding.rule == Rule::ToolsOverlap)
        .map(|finding| pair(finding.tool.as_ref().unwrap(), &finding.others[0]))
        .collect()
}

/// Told and right, told and wrong, not told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Score {
    right: usize,
    wrong: usize,
    missed: usize,
}

fn measured(is_wanted: impl Fn(&str) -> bool) -> Score {
    let mut score = Score::default();
    for labelled in labelled().iter().filter(|labelled| is_wanted(&labelled.name)) {
        let told = told(&labelled.tools);
        for (a, b) in told.symmetric_difference(&labelled.overlaps) {
            let what = if told.contains(&pair(a, b)) { "told" } else { "missed" };
            eprintln!("{}: {what}: {a}, {b}", labelled.name);
        }
        score.right += told.intersection(&labelled.overlaps).count();
        score.wrong += told.difference(&labelled.overlaps).count();
        score.missed += labelled.overlaps.difference(&told).count();
    }
    eprintln!("{score:?}");
    score
}

#[test]
fn every_label_names_a_tool() {
    for labelled in labelled() {
        let names: BTreeSet<&str> = labelled.tools.tools.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names.len(), labelled.tools.tools.len(), "{}", labelled.name);
        for (a, b) in &labelled.overlaps {
            assert!(names.contains(a.as_str()) && names.contains(b.as_str()), "{a} {b}");
        }
    }
}

/// The page of the rule tells these numbers.
#[test]
fn overlaps_are_found_as_well_as_the_page_says() {
    let chosen_on = measured(|name| !name.starts_with("held-out"));
    let held_out = measured(|name| name.starts_with("held-out"));
    let page = Rule::ToolsOverlap.explained();
    let cells = |Score { right, wrong, missed }: Score| {
        format!("| {} | {right} | {wrong} | {missed} |", right + missed)
    };
    for score in [chosen_on, held_out] {
        assert!(page.contains(&cells(score)), "the page does not tell {}", cells(score));
    }
}
