//! How long `lint` and `check` think about a thousand tools. Asking the servers is not counted.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use prusik_check::{
    AgentEntry, Catalogue, Checked, Provider, Report, ToolEntry, failures, html, injections, lint,
    sarif,
};
use prusik_core::agent::{Agent, Limits, OnFailure, Tool};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::model::ModelSpec;
use serde_json::{Value, json};

use super::{median, ms};

/// Tools that are reviewed.
pub const TOOLS: usize = 1_000;

/// What a review of [`TOOLS`] tools costs, in milliseconds.
pub struct Review {
    pub lint_ms: f64,
    /// What `check` does besides: the report, and its page.
    pub report_ms: f64,
    /// The findings of all rules as SARIF.
    pub sarif_ms: f64,
    pub findings: usize,
}

impl Review {
    pub fn all_ms(&self) -> f64 {
        self.lint_ms + self.report_ms
    }
}

/// Measures the middle of `rounds`, after one that warms up.
pub fn measure(rounds: u32) -> Review {
    let catalogue = catalogue();
    let agent = agent(&catalogue);
    let mut lint_ms = Vec::new();
    let mut report_ms = Vec::new();
    let mut sarif_ms = Vec::new();
    let mut findings = 0;
    for round in 0..=rounds {
        let start = Instant::now();
        let report = lint(black_box(&catalogue));
        let lint = ms(start.elapsed());
        findings = report.findings.len();
        let start = Instant::now();
        let agents = std::slice::from_ref(&agent);
        let [injection, confirmation] = injections(agents, &report, &BTreeMap::new());
        let sections = vec![failures(agents, &report), injection, confirmation];
        let written = Report { sections };
        black_box(html(&written, "bench", &[]));
        let page = ms(start.elapsed());
        let start = Instant::now();
        black_box(sarif(&Checked {
            version: "0",
            findings: &report.findings,
            suppressed: &report.suppressed,
            problems: &[],
            default_file: "prusik.yaml",
        }));
        if round > 0 {
            lint_ms.push(lint);
            report_ms.push(page);
            sarif_ms.push(ms(start.elapsed()));
        }
    }
    Review {
        lint_ms: median(&mut lint_ms),
        report_ms: median(&mut report_ms),
        sarif_ms: median(&mut sarif_ms),
        findings,
    }
}

const ACTIONS: [(&str, &str); 10] = [
    ("get", "Returns one {} by its number, with all of its fields and when it was last changed."),
    ("list", "Lists the {}s of a project, newest first, a page at a time."),
    ("search", "Finds {}s by words of their title or their text, in all projects."),
    ("create", "Makes a new {} in a project and returns its number."),
    ("update", "Changes some fields of a {} and leaves the others as they are."),
    ("delete", "Removes a {} for good; it cannot be brought back afterwards."),
    ("archive", "Puts a {} away, so that lists no longer show it until it is restored."),
    ("assign", "Gives a {} to a person, who is told of it by e-mail."),
    ("export", "Writes the {}s of a project into a file of comma-separated values."),
    ("count", "Tells how many {}s a project has, by their state."),
];

const THINGS: [&str; 25] = [
    "invoice",
    "order",
    "customer",
    "ticket",
    "comment",
    "milestone",
    "release",
    "build",
    "branch",
    "document",
    "folder",
    "contract",
    "supplier",
    "article",
    "shipment",
    "payment",
    "account",
    "employee",
    "vacation",
    "meeting",
    "room",
    "vehicle",
    "survey",
    "campaign",
    "device",
];

/// Realistic tools: four servers, each with every action on every thing; a third has its contract,
/// and the texts of each server have words of their own.
fn catalogue() -> Catalogue {
    let mut tools = Vec::new();
    for (server, place) in ["north", "south", "east", "west"].iter().zip(1..) {
        for thing in THINGS {
            for (action, text) in ACTIONS {
                let index = tools.len();
                let about = text.replace("{}", thing);
                tools.push(entry(
                    &format!("{server}__{action}_{thing}"),
                    &format!("{about} Works on the {server}ern installation {place} alone."),
                    thing,
                    index,
                ));
            }
        }
    }
    let agents = vec![AgentEntry {
        name: "clerk".to_owned(),
        provider: Provider::Anthropic,
        tools: tools.iter().map(|tool| tool.name.clone()).collect(),
        tokens: Some(1_000_000),
        turns: Some(20),
        context: None,
        containment: None,
        place: None,
    }];
    Catalogue { tools, agents, ..Catalogue::default() }
}

fn entry(name: &str, description: &str, thing: &str, index: usize) -> ToolEntry {
    let declared: BTreeMap<_, _> = if index.is_multiple_of(3) {
        [("effect".to_owned(), None)].into()
    } else {
        BTreeMap::new()
    };
    let effect = if index.is_multiple_of(2) { EffectClass::Read } else { EffectClass::Write };
    ToolEntry {
        name: name.to_owned(),
        server: name.split_once("__").map(|(server, _)| server.to_owned()),
        description: description.to_owned(),
        input_schema: schema(thing),
        output_schema: index.is_multiple_of(2).then(|| schema(thing)),
        hints: Some(json!({"readOnlyHint": true, "openWorldHint": false})),
        contract: Contract::of(effect),
        declared,
        place: None,
        allow: BTreeMap::new(),
    }
}

fn schema(thing: &str) -> Value {
    json!({
        "type": "object",
        "properties": {
            "project": {"type": "string", "description": "The project's short name."},
            format!("{thing}_number"): {"type": "integer", "minimum": 1,
                "description": format!("The number of the {thing}, as lists show it.")},
            "fields": {"type": "object", "description": "What to change.", "properties": {
                "title": {"type": "string", "description": "A line that says what it is about."},
                "state": {"type": "string", "enum": ["open", "done"], "description": "How it stands."},
            }},
            "limit": {"type": "integer", "description": "How many at most."},
            "since": {"type": "string", "description": "Only what changed after that time."},
        },
        "required": ["project"],
    })
}

fn agent(catalogue: &Catalogue) -> Agent {
    let tool = |tool: &ToolEntry| Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
        contract: tool.contract.clone(),
        shown: true,
    };
    Agent {
        groups: Vec::new(),
        context: None,
        ledger: Vec::new(),
        containment: None,
        name: "clerk".to_owned(),
        system: String::new(),
        model: ModelSpec {
            alias: "default".to_owned(),
            model: "m".to_owned(),
            max_tokens: 1,
            temperature: None,
            thinking_tokens: None,
            price: None,
        },
        tools: catalogue.tools.iter().map(tool).collect(),
        budget: Budget::default(),
        output: None,
        limits: Limits::default(),
        on_failure: OnFailure::Leave,
    }
}
