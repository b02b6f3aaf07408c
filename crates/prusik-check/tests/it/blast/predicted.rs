//! Equality, agent by agent: for each tool, each argument and each shape of what may stand in it, the
//! worst that is predicted is the worst that a run lets through, and nothing else is let through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use prusik_check::{Blast, Cell, OTHERS, Shape, Verdict, Way};
use prusik_core::agent::{Agent, Tool};
use prusik_core::contract::EffectClass;
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use prusik_core::run::Definition;
use prusik_core::schema::mismatches;
use serde_json::{Map, Value, json};

use super::drive::{Became, drive};
use super::generate::{SOURCE, agent, product, slots};

/// A task that says what is known, and one that says nothing.
const TASKS: [&str; 2] = ["Known are kestrel, 4242, amber, 2, 7 and zzz.", "Do it."];
/// An argument that no tool has.
const EXTRA: &str = "zzz";

type Cells = BTreeMap<(String, Shape, Way), Became>;

/// Returns everything that is put into arguments, whatever their schemas: what it is, where the
/// contract says nothing more of it.
fn universe() -> Vec<(Shape, Value)> {
    let of = |shape, values: Value| {
        let Value::Array(values) = values else { unreachable!() };
        values.into_iter().map(move |value| (shape, value))
    };
    let link = "https://eve.example";
    [
        of(Shape::Words, json!(["do as I say", "all of it at once", ["pay all of it"]])),
        of(Shape::Link, json!([link, [link], "go to https://eve.example"])),
        of(
            Shape::Word,
            json!([
                "eve_1",
                "2031-01-02",
                "ann",
                "jade",
                "5",
                "99999",
                ["eve_1"],
                ["5"],
                ["99999"]
            ]),
        ),
        of(Shape::Number, json!([5, 3, 2.5, 99_999, -3])),
        of(Shape::YesNo, json!([true, false])),
        of(Shape::Null, json!([null])),
        of(Shape::Empty, json!([[], {}])),
        of(Shape::Keys, json!([{"send it to eve": 5}, {"send it to eve": 2}])),
        of(
            Shape::Known,
            json!(["kestrel", 4242, "amber", 2, "2", 7, ["kestrel"], ["2"], {"kestrel": 2}]),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns what a value is in an argument of which this is declared, when that is the task.
fn shape(base: Shape, value: &Value, term: &ArgumentTerm, task: &str) -> Shape {
    let amount = |amount: f64| {
        if (0.0..=10.0).contains(&amount) { Shape::WithinMax } else { Shape::BeyondMax }
    };
    // Nothing is known if the task says nothing.
    let base = match (base, value) {
        (Shape::Known, _) if task == TASKS[0] => return Shape::Known,
        (Shape::Known, Value::Number(_)) => Shape::Number,
        (Shape::Known, Value::Object(_)) => Shape::Keys,
        (Shape::Known, _) => Shape::Word,
        (base, _) => base,
    };
    let has_max = term.kind == ArgumentKind::Money && term.max.is_some();
    match value {
        _ if term.members.contains(value) => Shape::Member,
        Value::Number(number) if has_max => amount(number.as_f64().unwrap()),
        Value::Array(items) if items.len() == 1 && items[0].is_string() => {
            let of_items = ArgumentTerm { members: Vec::new(), ..term.clone() };
            shape(base, &items[0], &of_items, TASKS[1])
        }
        Value::String(text) if has_max && text.parse::<f64>().is_ok() => {
            amount(text.parse().unwrap())
        }
        _ => base,
    }
}

/// A tool, and what is tried with it.
struct Tried<'a> {
    tool: &'a Tool,
    /// Its arguments and the extra one: what fits the schema, and what does not.
    arguments: BTreeMap<String, Vec<(Shape, Value)>>,
    unfit: BTreeMap<String, Vec<(Shape, Value)>>,
    required: BTreeSet<String>,
}

impl<'a> Tried<'a> {
    fn of(tool: &'a Tool) -> Self {
        let schema = &tool.input_schema;
        let required = schema["required"].as_array().into_iter().flatten();
        let names = schema["properties"].as_object().unwrap().keys().cloned();
        let (mut arguments, mut unfit) = (BTreeMap::new(), BTreeMap::new());
        for name in names.chain([EXTRA.to_owned()]) {
            let mut alone = schema.clone();
            alone.as_object_mut().unwrap().remove("required");
            let fits = |(_, value): &(Shape, Value)| {
                mismatches(&alone, &json!({name.as_str(): value})).is_empty()
            };
            let (fit, other) = universe().into_iter().partition(fits);
            arguments.insert(name.clone(), fit);
            unfit.insert(name, other);
        }
        let required = required.map(|name| name.as_str().unwrap().to_owned()).collect();
        Self { tool, arguments, unfit, required }
    }

    fn is_plain_read(&self) -> bool {
        self.tool.contract.effect == EffectClass::Read && !self.tool.contract.leaves
    }

    /// Returns a few values of an argument that a clean model or a task would have.
    fn usual(&self, name: &str) -> Vec<Value> {
        let usual = [json!("kestrel"), json!(4242), json!("amber"), json!("jade"), json!(2)];
        let more = [json!(["kestrel"]), json!(true), json!(false), json!({"kestrel": 2})];
        usual.into_iter().chain(more).filter(|value| self.fits(name, value)).take(4).collect()
    }

    /// Returns calls: each value of each argument, beside some usual ones of the others.
    fn calls(&self, rng: &mut Rng) -> Vec<Value> {
        let mut calls = vec![json!({})];
        for name in self.arguments.keys() {
            let mut others: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
            for other in self.arguments.keys().filter(|other| *other != name) {
                let mut usual: Vec<Option<Value>> =
                    self.usual(other).into_iter().map(Some).collect();
                if other == EXTRA {
                    usual.truncate(1);
                }
                let first = usual.iter().take(1).cloned();
                let rest = usual.iter().skip(1).cloned().chain(first);
                let absent = (!self.required.contains(other)).then_some(None);
                others.insert(other.clone(), absent.into_iter().chain(rest).collect());
            }
            let others = product(&others);
            for given in self.given(name) {
                for (index, other) in others.iter().enumerate() {
                    // Of many some are enough: all values come with each of them sooner or later.
                    let is_unfit = given.as_ref().is_some_and(|given| !self.fits(name, given));
                    if [0, others.len() - 1].contains(&index)
                        || !is_unfit && rng.usize(0..others.len()) < 2
                    {
                        let mut call: BTreeMap<String, Option<Value>> = other.clone();
                        call.insert(name.clone(), given.clone());
                        calls.push(present(call));
                    }
                }
            }
        }
        calls.dedup();
        calls
    }

    /// Returns calls that a plan foresees, with each value of what it leaves open, and some others.
    fn calls_of(&self, plan: &Value, calls: &[Value], rng: &mut Rng) -> Vec<Value> {
        let mut chosen: Vec<Value> =
            (0..12).filter_map(|_| rng.choice(calls.iter())).cloned().collect();
        let Some(slots) = plan["writes"][0]["arguments"].as_object() else {
            return if self.is_plain_read() || slots_of(plan) == 0 {
                calls.to_vec()
            } else {
                chosen
            };
        };
        let pinned = |(name, slot): (&String, &Value)| {
            let usual =
                || self.usual(name).first().filter(|_| self.required.contains(name)).cloned();
            (name.clone(), slot.get("pinned").cloned().or_else(usual))
        };
        let base: BTreeMap<String, Option<Value>> = slots.iter().map(pinned).collect();
        chosen.push(present(base.clone()));
        for (name, _) in slots.iter().filter(|(_, slot)| slot.get("hole").is_some()) {
            for given in self.given(name) {
                if given.as_ref().is_some_and(|given| !self.fits(name, given)) {
                    continue;
                }
                let mut call = base.clone();
                call.insert(name.clone(), given);
                chosen.push(present(call));
            }
        }
        chosen
    }

    fn fits(&self, name: &str, value: &Value) -> bool {
        self.arguments[name].iter().any(|(_, fit)| fit == value)
    }

    /// Returns everything that is tried as a value of an argument.
    fn given(&self, name: &str) -> Vec<Option<Value>> {
        let values = self.arguments[name].iter().chain(&self.unfit[name]);
        std::iter::once(None).chain(values.map(|(_, value)| Some(value.clone()))).collect()
    }

    /// Returns the plans of a clean model: all of the tool's own arguments, each left out, pinned or open.
    fn plans(&self, rng: &mut Rng) -> Vec<Value> {
        if self.is_plain_read() {
            return vec![json!({"reads": [SOURCE, self.tool.name]})];
        }
        let mut choices = BTreeMap::new();
        for name in self.arguments.keys() {
            let mut slots = slots(&self.usual(name));
            if name == EXTRA {
                slots.truncate(2);
            }
            choices.insert(name.clone(), slots);
        }
        let mut plans = product(&choices);
        // With an argument open all the rest is pinned or left out: these are the ones that matter.
        let is_open = |slot: &&Option<Value>| slot.as_ref().is_some_and(|s| !s["hole"].is_null());
        let pinned = |plan: &&BTreeMap<String, Option<Value>>| {
            let content = |slot: &Option<Value>| slot.as_ref() == Some(&json!({"hole": "content"}));
            let mut open = plan.values().filter(is_open);
            open.all(content) && plan.values().filter(is_open).count() <= 1
        };
        let mut few: Vec<_> = plans.iter().filter(pinned).cloned().collect();
        // Where a rule looks at the values, each of them may matter.
        if self.tool.contract.deny.is_empty() {
            rng.shuffle(&mut few);
            few.truncate(12);
        }
        rng.shuffle(&mut plans);
        plans.truncate(6);
        let write = |plan: BTreeMap<String, Option<Value>>| {
            let arguments: Map<String, Value> =
                plan.into_iter().filter_map(|(name, slot)| Some((name, slot?))).collect();
            let write = json!({"tool": self.tool.name, "arguments": arguments, "times": 1000});
            json!({"reads": [SOURCE], "writes": [write]})
        };
        self.pinned_but_one().into_iter().chain(few).chain(plans).map(write).collect()
    }

    /// Returns for each argument the plan that leaves it open and has the others pinned.
    fn pinned_but_one(&self) -> Vec<BTreeMap<String, Option<Value>>> {
        let own = || self.arguments.keys().filter(|name| *name != EXTRA);
        let pin = |name: &String| self.usual(name).first().map(|value| json!({"pinned": value}));
        let open = Some(json!({"hole": "content"}));
        let plan = |of: &String| {
            let mut plan: BTreeMap<String, Option<Value>> =
                own().map(|name| (name.clone(), pin(name))).collect();
            plan.insert(of.clone(), open.clone());
            plan
        };
        self.arguments.keys().map(plan).collect()
    }
}

fn present(call: BTreeMap<String, Option<Value>>) -> Value {
    Value::Object(call.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn slots_of(plan: &Value) -> usize {
    plan["writes"].as_array().map_or(0, Vec::len)
}

/// Returns whether a call is what a plan's only write foresees.
fn is_foreseen(plan: &Value, call: &Value) -> bool {
    let Some(slots) = plan["writes"][0]["arguments"].as_object() else { return false };
    let pins = slots.iter().all(|(name, slot)| match slot.get("pinned") {
        Some(pinned) => call.get(name) == Some(pinned),
        None => true,
    });
    pins && call.as_object().unwrap().keys().all(|name| slots.contains_key(name))
}

/// Notes what became of a call, for each of its arguments.
fn note(
    tried: &Tried<'_>,
    task: &str,
    plan: Option<&Value>,
    call: &Value,
    became: Became,
    cells: &mut Cells,
) {
    let reads = |plan: &Value| plan["reads"].as_array().unwrap().contains(&json!(tried.tool.name));
    let foreseen =
        plan.is_some_and(
            |plan| {
                if tried.is_plain_read() { reads(plan) } else { is_foreseen(plan, call) }
            },
        );
    let way = |name: &str| match plan {
        None => Some(Way::Unplanned),
        Some(_) if !foreseen => Some(Way::Beside),
        Some(_) if tried.is_plain_read() || name.is_empty() => Some(Way::Foreseen),
        Some(plan) => {
            let open = !plan["writes"][0]["arguments"][name]["hole"].is_null();
            open.then_some(Way::Foreseen)
        }
    };
    let mut found = Vec::new();
    if call == &json!({}) {
        found.push((String::new(), Shape::LeftOut, way("")));
    }
    for (name, fit) in &tried.arguments {
        let term = tried.tool.contract.term(name);
        let shape = match call.get(name) {
            None if name == EXTRA => continue,
            None => Shape::LeftOut,
            Some(value) => {
                let all = fit.iter().chain(&tried.unfit[name]);
                let known = all.clone().find(|(_, one)| one == value);
                let (base, _) = known.expect("it is of the universe");
                shape(*base, value, &term, task)
            }
        };
        let shown = if name == EXTRA { OTHERS } else { name.as_str() };
        found.push((shown.to_owned(), shape, way(name)));
    }
    for (name, shape, way) in found {
        let Some(way) = way else { continue };
        let cell = cells.entry((name, shape, way)).or_insert(Became::Nothing);
        *cell = became.max(*cell);
    }
}

/// Returns what a run lets through of a tool's calls.
fn observed(definition: &Arc<Definition>, tool: &Tool, rng: &mut Rng) -> Cells {
    let tried = Tried::of(tool);
    let calls = tried.calls(rng);
    let mut cells = Cells::new();
    let beside = json!({"reads": [SOURCE], "writes": []});
    let of_plan = definition.agent().containment.is_some_and(|policy| policy.plan);
    let plans = if of_plan { [vec![beside], tried.plans(rng)].concat() } else { Vec::new() };
    let mut tries: Vec<(&str, Option<&Value>)> = TASKS.map(|task| (task, None)).into();
    tries.extend(plans.iter().map(|plan| (TASKS[0], Some(plan))));
    tries.extend(plans.iter().take(tried.arguments.len() + 2).map(|plan| (TASKS[1], Some(plan))));
    for (task, plan) in tries {
        let calls = match plan {
            None => calls.clone(),
            Some(plan) => tried.calls_of(plan, &calls, rng),
        };
        // A state with many calls costs much to work on.
        for calls in calls.chunks(12) {
            let named: Vec<(String, Value)> =
                calls.iter().map(|call| (tool.name.clone(), call.clone())).collect();
            let Some(became) = drive(definition, task, plan, SOURCE, &named) else { break };
            for (call, became) in calls.iter().zip(became) {
                note(&tried, task, plan, call, became, &mut cells);
            }
        }
    }
    cells
}

fn same(verdict: Verdict) -> Became {
    match verdict {
        Verdict::Never => Became::Nothing,
        Verdict::Asked => Became::MadeAfterYes,
        Verdict::Made => Became::Made,
    }
}

/// Returns where prediction and run differ.
fn differences(
    agent: &Agent,
    blast: &Blast,
    seed: u64,
    totals: &mut BTreeMap<Became, usize>,
) -> Vec<String> {
    let definition = Arc::new(Definition::new(agent.clone()));
    let mut rng = Rng::with_seed(seed ^ 0xb1a5);
    let mut wrong = Vec::new();
    for tool in agent.tools.iter().filter(|tool| tool.name != SOURCE) {
        let observed = observed(&definition, tool, &mut rng);
        let mut predicted = Cells::new();
        for cell in blast.cells_of(&tool.name).unwrap_or_default() {
            let way = if cell.way == Way::Loose { Way::Unplanned } else { cell.way };
            predicted.insert((cell.argument.clone(), cell.shape, way), same(cell.verdict));
        }
        let keys: BTreeSet<_> = predicted.keys().chain(observed.keys()).collect();
        for key in keys {
            let of = |cells: &Cells| cells.get(key).copied().unwrap_or(Became::Nothing);
            let (said, is) = (of(&predicted), of(&observed));
            *totals.entry(is).or_default() += 1;
            if said != is {
                let (schema, contract) = (&tool.input_schema, &tool.contract);
                wrong.push(format!(
                    "seed {seed} {}: {key:?} is {is:?}, and {said:?} was predicted\n  {schema}\n  {:?} {:?} {:?}",
                    tool.name, contract.arguments, contract.deny, contract.effect
                ));
            }
        }
    }
    wrong
}

fn compare(seeds: std::ops::Range<u64>) {
    let mut totals = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in seeds {
        let agent = agent(seed);
        wrong.extend(differences(&agent, &Blast::of(&agent), seed, &mut totals));
    }
    let shown: Vec<&str> = wrong.iter().take(12).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), shown.join("\n"));
    // All three things do happen, often.
    for became in [Became::Nothing, Became::MadeAfterYes, Became::Made] {
        assert!(totals.get(&became).is_some_and(|times| *times > 100), "{totals:?}");
    }
}

#[test]
fn predicted_calls_are_the_calls_that_a_run_lets_through() {
    compare(0..14);
}

#[test]
fn predicted_calls_are_those_of_a_second_dozen() {
    compare(14..28);
}

#[test]
fn predicted_calls_are_those_of_a_third_dozen() {
    compare(28..42);
}

#[test]
fn predicted_calls_are_those_of_a_fourth_dozen() {
    compare(42..56);
}

/// Returns whether a prediction with this change is found to be wrong.
fn is_found(change: impl Fn(&mut Cell) -> bool) -> bool {
    // Held to its plan, with what asks and what does not.
    let (seed, agent) = (13, agent(13));
    let mut blast = Blast::of(&agent);
    let sinks = blast.sinks.iter_mut().map(|sink| &mut sink.cells);
    let all = sinks.chain(blast.reads.iter_mut().map(|read| &mut read.cells)).flatten();
    let changed = all.filter_map(|cell| change(cell).then_some(())).take(1).count();
    assert_eq!(changed, 1, "there is nothing to change");
    !differences(&agent, &blast, seed, &mut BTreeMap::new()).is_empty()
}

/// A single cell that is off is found, to whichever side.
#[test]
fn a_prediction_that_is_off_by_one_cell_is_found() {
    let from_to = |way: Way, from: Verdict, to: Verdict| {
        is_found(move |cell| {
            let is_it = cell.way == way && cell.verdict == from && cell.argument != OTHERS;
            if is_it {
                cell.verdict = to;
            }
            is_it
        })
    };
    assert!(from_to(Way::Unplanned, Verdict::Asked, Verdict::Made));
    assert!(from_to(Way::Unplanned, Verdict::Made, Verdict::Asked));
    assert!(from_to(Way::Foreseen, Verdict::Asked, Verdict::Never));
    assert!(from_to(Way::Foreseen, Verdict::Made, Verdict::Asked));
    assert!(from_to(Way::Beside, Verdict::Never, Verdict::Asked));
}
