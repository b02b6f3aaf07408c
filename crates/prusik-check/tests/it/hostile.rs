//! Tools that are out to break the review, the page or the log.

use prusik_check::{Checked, Report, failures, hides, html, lint, sarif};
use prusik_core::agent::{Agent, Limits, OnFailure, Tool};
use prusik_core::budget::Budget;
use prusik_core::model::ModelSpec;
use serde_json::{Value, json};

use crate::common::{catalogue, tool};

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "</code></details><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "&lt;b&gt; `<i>` ``",
    "\u{1b}[31mred\u{1b}]8;;http://x\u{7}",
    "\u{202e}gnp.exe\u{2066}",
    "\u{e0041}\u{e0042}\u{fe05}\u{200b}",
    "\u{0}\u{85}\u{2028}\r\nSet-Cookie: x",
    "{{constructor}} ${7*7} %s %n",
    "'; DROP TABLE runs; --",
    "{\"ruleId\": \"x\"}",
    "𝕬\u{301}\u{301}\u{301}\u{301}e\u{10ffff}",
];

fn agent(tools: Vec<Tool>) -> Agent {
    Agent {
        groups: Vec::new(),
        context: None,
        ledger: Vec::new(),
        containment: None,
        name: HOSTILE[0].to_owned(),
        system: String::new(),
        model: ModelSpec {
            alias: "default".to_owned(),
            model: "m".to_owned(),
            max_tokens: 1,
            temperature: None,
            thinking_tokens: None,
            price: None,
        },
        tools,
        budget: Budget::default(),
        output: None,
        limits: Limits::default(),
        on_failure: OnFailure::Leave,
    }
}

#[test]
fn nothing_that_a_tool_says_gets_out_of_its_place() {
    for hostile in HOSTILE {
        let mut bad = tool("forecast", hostile, &json!({hostile: {"description": hostile}}));
        bad.name = format!("s__{hostile}");
        bad.input_schema["required"] = json!([hostile, "x"]);
        bad.declared.clear();
        let report = lint(&catalogue(vec![bad.clone()]));
        assert!(!report.findings.is_empty());
        let held = Tool {
            name: bad.name.clone(),
            description: bad.description.clone(),
            input_schema: bad.input_schema.clone(),
            output_schema: None,
            contract: bad.contract.clone(),
            shown: true,
        };
        let section = failures(&[agent(vec![held])], &report);
        assert!(!section.findings.is_empty());
        let page = html(&Report { sections: vec![section] }, hostile, &[hostile.to_owned()]);
        for forbidden in ["<script", "<img", "<i>", "</code></details>", "onmouseover=\""] {
            assert!(!page.contains(forbidden), "{forbidden}: {hostile:?}");
        }
        let hidden: Vec<char> = page.chars().filter(|c| hides(*c) && *c != '\n').collect();
        assert!(hidden.is_empty(), "{hidden:?}");
        let log = sarif(&Checked {
            version: "0.1.0",
            findings: &report.findings,
            suppressed: &[],
            problems: &[hostile.to_owned()],
            default_file: hostile,
        });
        let read: Value = serde_json::from_str(&log.to_string()).unwrap();
        assert_eq!(read, log);
        let uri = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        let uri = uri["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "{uri}");
    }
}

#[test]
fn a_schema_without_end_or_measure_is_reviewed_all_the_same() {
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let wide: serde_json::Map<String, Value> =
        (0..5_000).map(|n| (format!("p{n}"), json!({"$ref": "#"}))).collect();
    let refs = |count: usize| vec![json!({"$ref": "#"}); count];
    let looped = json!({"type": "object", "allOf": refs(8)});
    let many = json!({"type": "object", "properties": {"a": {"anyOf": refs(50)}}});
    let wide = json!({"type": "object", "properties": wide});
    for schema in [deep, wide, looped, many, json!(true), json!(7)] {
        let mut bad = tool("forecast", &"long ".repeat(20_000), &json!({}));
        bad.input_schema = schema;
        assert!(!lint(&catalogue(vec![bad])).findings.is_empty());
    }
}
