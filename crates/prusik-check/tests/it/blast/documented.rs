//! What `docs/src/concepts/containment.md` says of each kind of argument, written down once more: report
//! and run share one gate, so a mistake in it would move both.

use prusik_check::{Blast, Cell, Shape, Stop, Verdict, Way};
use prusik_core::agent::{Agent, Tool, Unplanned};
use prusik_core::contract::EffectClass;
use prusik_core::grant::ArgumentKind;

use super::generate::agent;

/// Returns what the page says of a value of this shape; none where it depends on the value.
fn documented(agent: &Agent, tool: &Tool, cell: &Cell) -> Option<Verdict> {
    let Some(policy) = &agent.containment else { return Some(Verdict::Made) };
    let is_read = tool.contract.effect == EffectClass::Read && !tool.contract.leaves;
    match cell.way {
        Way::Loose => None,
        Way::Beside => Some(match policy.unplanned {
            Unplanned::Refuse => Verdict::Never,
            Unplanned::Ask => Verdict::Asked,
        }),
        Way::Unplanned | Way::Foreseen if is_read => Some(Verdict::Made),
        Way::Unplanned => cell.shape.is_chosen().then_some(Verdict::Asked),
        Way::Foreseen => hole(tool, cell),
    }
}

/// Returns what the page says of what fills a hole.
fn hole(tool: &Tool, cell: &Cell) -> Option<Verdict> {
    let term = tool.contract.term(&cell.argument);
    if cell.shape == Shape::LeftOut {
        return Some(Verdict::Made);
    }
    if !term.members.is_empty() {
        let is_member = cell.shape == Shape::Member;
        return Some(if is_member { Verdict::Made } else { Verdict::Asked });
    }
    let is_free = match (term.kind, cell.shape) {
        (ArgumentKind::Content, shape) => shape != Shape::Link,
        (ArgumentKind::Closed, shape) => !matches!(shape, Shape::Words | Shape::Link),
        (ArgumentKind::Money, Shape::Known) if term.max.is_some() => return None,
        (ArgumentKind::Money, shape) => {
            let within = matches!(shape, Shape::WithinMax | Shape::Empty | Shape::Keys);
            within && term.max.is_some()
        }
        (ArgumentKind::DestructiveId | ArgumentKind::Identity, _) => false,
    };
    Some(if is_free { Verdict::Made } else { Verdict::Asked })
}

#[test]
fn what_is_predicted_is_what_the_page_says() {
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for seed in 0..400 {
        let agent = agent(seed);
        let blast = Blast::of(&agent);
        for tool in agent.tools.iter().filter(|tool| tool.shown) {
            for cell in blast.cells_of(&tool.name).unwrap() {
                let is_impossible = matches!(cell.stop, Stop::Schema | Stop::Rule(_));
                let Some(said) = documented(&agent, tool, cell).filter(|_| !is_impossible) else {
                    continue;
                };
                looked_at += 1;
                if cell.verdict != said {
                    let (schema, terms) = (&tool.input_schema, &tool.contract.arguments);
                    wrong.push(format!("seed {seed} {said:?}: {cell:?}\n  {schema}\n  {terms:?}"));
                }
            }
        }
    }
    let shown: Vec<&str> = wrong.iter().take(8).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of {looked_at} differ:\n{}", wrong.len(), shown.join("\n"));
    assert!(looked_at > 10_000, "{looked_at}");
}
