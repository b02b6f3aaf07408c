//! The page of each rule is a proof: its flagged example is flagged, its mended one is not, and
//! what it says of accepting it does that.

use std::collections::BTreeSet;

use prusik::project::lock::{Lock, LockDifference, Said};
use prusik::project::{Heard, ListedTool, Project, ToolFacts};
use prusik_check::{LintReport, Rule, lint};
use prusik_core::schema::check_schema;
use serde_json::Value;

use crate::docs::{Block, blocks};
use crate::prusik::write_files;

/// Returns the blocks below a heading of a page.
fn section(page: &str, heading: &str) -> Vec<Block> {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    blocks(rest.split("\n## ").next().unwrap())
}

fn of<'a>(blocks: &'a [Block], language: &str) -> Vec<&'a str> {
    let wanted = blocks.iter().filter(|block| block.language == language);
    wanted.map(|block| block.text.as_str()).collect()
}

/// Returns the tools of an example: `{"server": [tool, …]}`.
fn tools(json: &str) -> Vec<ListedTool> {
    let servers: Value = serde_json::from_str(json).unwrap();
    let mut tools = Vec::new();
    for (server, listed) in servers.as_object().unwrap() {
        for tool in listed.as_array().unwrap() {
            let own = tool["name"].as_str().unwrap();
            let facts = ToolFacts {
                name: format!("{server}__{own}"),
                description: tool["description"].as_str().unwrap_or_default().to_owned(),
                input_schema: tool["inputSchema"].clone(),
                output_schema: tool.get("outputSchema").cloned(),
                contract: None,
            };
            // As the client of MCP does.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            let problem = check_schema(&facts.input_schema).err();
            let left_out = problem.or((!own.bytes().all(is_plain)).then(|| "its name".to_owned()));
            tools.push(ListedTool { facts, hints: tool.get("annotations").cloned(), left_out });
        }
    }
    tools
}

fn lock(tools: &[ListedTool]) -> Lock {
    let servers: BTreeSet<&str> =
        tools.iter().filter_map(|tool| Some(tool.facts.name.split_once("__")?.0)).collect();
    Lock::of(servers, tools.iter().map(Said::from))
}

/// Reviews an example. Two lists of tools are what was locked and what there is now.
fn reviewed(rule: Rule, lists: &[&str], yaml: &str, agent: &[&str]) -> LintReport {
    let now = lists.last().map(|list| tools(list)).unwrap_or_default();
    let drift = match lists {
        [before, _] => lock(&tools(before)).difference(&lock(&now)),
        _ => LockDifference::default(),
    };
    let folder = tempfile::tempdir().unwrap();
    let servers: BTreeSet<&str> =
        now.iter().map(|tool| tool.facts.name.split_once("__").unwrap().0).collect();
    let servers: Vec<String> =
        servers.iter().map(|name| format!("  {name}: {{ command: server }}\n")).collect();
    let servers = servers.concat();
    let models = "models:\n  default: { provider: scripted, script: s.yaml }\n";
    let project = format!("{models}servers:\n{servers}{yaml}");
    // Only where a rule is about an agent does the example have one.
    let patterns = if rule.id().starts_with("too-many") { "['bank__*']" } else { "[]" };
    let given = agent.first().map(|text| (*text).to_owned());
    let agent = given.unwrap_or_else(|| {
        format!("---\nname: clerk\ndescription: Pays.\ntools: {patterns}\n---\nPay.\n")
    });
    write_files(
        folder.path(),
        &[("prusik.yaml", &project), ("agents/clerk.md", &agent), ("s.yaml", "turns: [{say: x}]")],
    );
    let project = Project::load(folder.path()).unwrap_or_else(|e| panic!("{}: {e}", rule.id()));
    let (catalogue, _) = project.reviewed(&now, Heard::All, &drift).unwrap();
    lint(&catalogue)
}

fn example(rule: Rule, blocks: &[Block], yaml: &str) -> LintReport {
    reviewed(rule, &of(blocks, "json"), yaml, &of(blocks, "markdown"))
}

fn finds(report: &LintReport, rule: Rule) -> bool {
    report.findings.iter().any(|finding| finding.rule == rule)
}

#[test]
fn every_page_proves_its_rule() {
    let mut wrong = Vec::new();
    for rule in Rule::all() {
        let page = rule.explained();
        let flagged = section(page, "Flagged");
        let mended = section(page, "Mended");
        let accepting = section(page, "Accepting it");
        let bad = example(rule, &flagged, &of(&flagged, "yaml").concat());
        if !finds(&bad, rule) {
            wrong.push(format!("{}: the flagged example is not: {:?}", rule.id(), bad.findings));
        }
        let good = example(rule, &mended, &of(&mended, "yaml").concat());
        if finds(&good, rule) {
            wrong.push(format!("{}: the mended example is flagged", rule.id()));
        }
        // An exception that nothing needs is removed, and not excepted.
        if rule != Rule::AllowUnused {
            let yaml = of(&accepting, "yaml").concat();
            let accepted = example(rule, &flagged, &yaml);
            let suppressed = accepted.suppressed.iter().any(|s| s.finding.rule == rule);
            if finds(&accepted, rule) || !suppressed {
                wrong.push(format!("{}: {:?}", rule.id(), accepted.findings));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_index_and_the_summary_have_every_page() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src");
    let index = std::fs::read_to_string(root.join("lints/rules.md")).unwrap();
    let summary = std::fs::read_to_string(root.join("SUMMARY.md")).unwrap();
    for rule in Rule::all() {
        let (id, level, title) = (rule.id(), rule.severity(), rule.title());
        let row = format!("| [`{id}`]({id}.md) | {level} | {title} |");
        assert!(index.contains(&row), "rules.md lacks: {row}");
        let line = format!("  - [{id}](lints/{id}.md)\n");
        assert!(summary.contains(&line), "SUMMARY.md lacks: {line}");
        assert!(root.join(rule.page()).is_file(), "{}", rule.page());
    }
    assert_eq!(index.matches("\n| [`").count(), Rule::all().count(), "rules.md has more");
}
