//! What the report says of agents, word for word, and the picture of it.

use std::collections::BTreeMap;

use prusik_check::{LintReport, Report, Section, html, injections};
use prusik_core::agent::{Agent, Containment, Limits, Tool};
use prusik_core::contract::{Contract, EffectClass, Returns};
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use serde_json::{Value, json};

fn tool(name: &str, effect: EffectClass, properties: &Value) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({"type": "object", "properties": properties, "required": ["to"],
                             "additionalProperties": false}),
        output_schema: None,
        contract: Contract::of(effect),
        shown: true,
    }
}

/// Reads mail and a calendar that only colleagues write, sends words, and looks things up elsewhere.
fn agent(containment: Option<Containment>) -> Agent {
    let model = json!({"alias": "m", "model": "m", "max_tokens": 100});
    let agent = json!({
        "name": "clerk", "system": "", "tools": [], "limits": Limits::default(), "model": model,
        "budget": {"turns": 20, "tool_calls": 60},
    });
    let to = json!({"to": {"type": "string"}});
    let mut calendar = tool("calendar", EffectClass::Read, &json!({}));
    calendar.contract.returns = Returns::Trusted;
    let mut events = tool("s__events", EffectClass::Read, &to);
    events.contract.returns = Returns::TrustedBut(vec!["events.*.title".to_owned()]);
    let mut send = tool(
        "send",
        EffectClass::Write,
        &json!({"to": {"type": "string"}, "words": {"type": "string"}, "cc": {"enum": ["ann", "bob"]},
                "amount": {"type": "number"}, "fast": {"type": "boolean"}}),
    );
    let money = ArgumentTerm { max: Some(9.0), ..ArgumentTerm::of(ArgumentKind::Money) };
    let members =
        ArgumentTerm { members: vec![json!("ann")], ..ArgumentTerm::of(ArgumentKind::Identity) };
    let terms = [
        ("words", ArgumentTerm::of(ArgumentKind::Content)),
        ("amount", money),
        ("fast", ArgumentTerm::of(ArgumentKind::Closed)),
        ("cc", members),
    ];
    send.contract.arguments = terms.map(|(name, term)| (name.to_owned(), term)).into();
    send.contract.people = 2;
    let mut search = tool("s__search", EffectClass::Read, &to);
    search.contract.leaves = true;
    let mut undo = tool("unsend", EffectClass::Write, &to);
    undo.shown = false;
    let mail = tool("mail", EffectClass::Read, &json!({}));
    let tools = vec![calendar, events, mail, search, send, undo];
    Agent { containment, tools, ..serde_json::from_value(agent).unwrap() }
}

fn told(section: &Section) -> String {
    let agents = section.agents.iter().flat_map(|agent| &agent.facts);
    let facts =
        agents.map(|fact| format!("{}:\n  {}\n", fact.about, fact.text.replace('\n', "\n  ")));
    format!("{}\n{}", section.question.text(), facts.collect::<Vec<_>>().concat())
}

fn report(containment: Option<Containment>) -> String {
    let kept = BTreeMap::from([("clerk".to_owned(), vec!["shell: confined".to_owned()])]);
    let sections = injections(&[agent(containment)], &LintReport::default(), &kept);
    sections.iter().map(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_agent_that_nothing_holds() {
    insta::assert_snapshot!(report(None));
}

#[test]
fn an_agent_that_is_held_to_its_plan() {
    insta::assert_snapshot!(report(Some(Containment::default())));
}

#[test]
fn an_agent_that_is_held_to_words() {
    insta::assert_snapshot!(report(Some(Containment { plan: false, ..Containment::default() })));
}

/// The picture says in words what it shows in colours, and nothing of it is a tool's markup.
#[test]
fn the_picture_is_whole_and_says_what_it_shows() {
    let mut hostile = agent(Some(Containment::default()));
    hostile.tools[4].name = "<b>\"send\"&".to_owned();
    let sections = injections(&[hostile], &LintReport::default(), &BTreeMap::new());
    let page = html(&Report { sections: sections.into() }, "p", &[]);
    let svg = page.split("<svg").nth(1).unwrap().split("</svg>").next().unwrap();
    for part in [
        "role=\"img\"",
        "Within an open plan: &lt;b&gt;&quot;send&quot;&amp;.",
        "If a person says yes: s__search.",
        "the final answer",
        "as far as its plan is open",
        "b-line b-bounded",
        "only what its failures say",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert!(!svg.contains("<b>") && !svg.contains("url(") && !svg.contains("NaN"), "{svg}");
    // It opens as many groups as it closes, and every line has its tip.
    assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    assert_eq!(svg.matches("<polygon").count(), 5 + 3);
}

/// A thousand tools are told, and of the picture the worst is not left out.
#[test]
fn many_tools_do_not_hide_the_worst() {
    let mut agent = agent(Some(Containment::default()));
    let many = (0..300)
        .map(|n| tool(&format!("t{n:03}"), EffectClass::Write, &json!({"to": {"type": "string"}})));
    agent.tools.splice(0..0, many);
    let sections = injections(&[agent], &LintReport::default(), &BTreeMap::new());
    let page = html(&Report { sections: sections.into() }, "p", &[]);
    let svg = page.split("<svg").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!(svg.contains(">send</text>") && svg.contains("279 more"), "{svg}");
}
