//! Which calls a tool's schema and the rules of its contract allow, as far as that can be decided.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::agent::Tool;
use prusik_core::contract::{Contract, DenyRule};
use prusik_core::grant::{ArgumentTerm, leaves};
use prusik_core::schema::{Mismatch, Schema};
use serde_json::{Map, Value, json};

use super::reach::OTHERS;
use super::shape::{self, Shape};
use crate::params::escaped;

/// Most calls that are looked at one by one.
const CALLS_MAX: usize = 256;

/// An argument of a tool: values that stand for all that its schema allows, by their shape.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    pub required: bool,
    pub term: ArgumentTerm,
    pub values: Vec<(Shape, Value)>,
    /// Whether the values are all that there are.
    pub whole: bool,
}

impl Parameter {
    /// Stands for the arguments of a call that has none.
    pub(super) fn none() -> Self {
        let term = Contract::of(prusik_core::contract::EffectClass::Write).term("");
        Self { name: String::new(), required: false, term, values: Vec::new(), whole: true }
    }

    pub(super) fn by_shape(&self) -> BTreeMap<Shape, Vec<Value>> {
        let mut by_shape: BTreeMap<Shape, Vec<Value>> = BTreeMap::new();
        for (shape, value) in &self.values {
            by_shape.entry(*shape).or_default().push(value.clone());
        }
        by_shape
    }

    /// Returns the values that a text can say, and of which the contract says nothing by themselves.
    pub(super) fn sayable(&self) -> impl Iterator<Item = &Value> {
        let says =
            |shape: Shape| shape.is_chosen() && shape != Shape::YesNo && shape != Shape::Member;
        self.values.iter().filter(move |(shape, _)| says(*shape)).map(|(_, value)| value)
    }

    /// Returns a value that can stand in a trusted text and has none of these in it; if there is none,
    /// any, where the argument may not be left out.
    pub(super) fn filler(&self, taken: &[&Value]) -> Option<&Value> {
        let values = || self.values.iter().map(|(_, value)| value);
        let can_be_known = |value: &&Value| {
            let said = |leaf: &Value| leaf.is_string() || leaf.is_number();
            let mut leaves = leaves(value).into_iter().peekable();
            leaves.peek().is_some() && leaves.all(|leaf| said(leaf) && !taken.contains(&leaf))
        };
        let known = values().find(can_be_known);
        known.or_else(|| values().next().filter(|_| self.required))
    }
}

/// What may be in a call of a tool.
#[derive(Debug)]
pub struct Domain<'a> {
    tool: &'a Tool,
    pub parameters: Vec<Parameter>,
    /// Every call that the schema and the rules allow, where these are few and known.
    pub allowed: Option<Vec<Map<String, Value>>>,
    /// The rule that forbids all calls.
    pub denied_always: Option<String>,
    /// Rules that never forbid anything.
    pub dead_rules: Vec<String>,
    /// Rules of which that cannot be said: they forbid some calls.
    pub open_rules: Vec<String>,
}

impl<'a> Domain<'a> {
    pub fn of(tool: &'a Tool) -> Self {
        let schema = tool.declaration().input_schema;
        let parameters = parameters(&schema, &tool.contract);
        let mut domain = Self {
            tool,
            parameters,
            allowed: None,
            denied_always: None,
            dead_rules: Vec::new(),
            open_rules: Vec::new(),
        };
        if !tool.contract.deny.is_empty() {
            domain.judge_rules(&schema);
        }
        domain
    }

    /// Returns whether a call without arguments fits the schema.
    pub(super) fn may_be_bare(&self) -> bool {
        self.parameters.iter().all(|parameter| !parameter.required)
    }

    /// Returns whether no call of the tool can ever be made, and why.
    pub fn never(&self) -> Option<String> {
        if let Some(rule) = &self.denied_always {
            return Some(format!("the rule `{rule}` forbids every call"));
        }
        if self.allowed.as_ref().is_some_and(Vec::is_empty) {
            return Some("its rules forbid every call that its schema allows".to_owned());
        }
        let empty = |parameter: &&Parameter| parameter.required && parameter.values.is_empty();
        let parameter = self.parameters.iter().find(empty)?;
        Some(format!("no value fits the schema of `{}`, which is required", parameter.name))
    }

    fn judge_rules(&mut self, schema: &Value) {
        let denies = &self.tool.contract.deny;
        let calls = self.calls(schema);
        for (name, rule) in denies {
            let forbids = |arguments: &Value| rule.forbids(arguments).is_some();
            if !rule.when.looks_at("args") {
                if forbids(&json!({})) {
                    self.denied_always.get_or_insert_with(|| name.clone());
                } else {
                    self.dead_rules.push(name.clone());
                }
            } else if let Some(calls) = &calls {
                if !calls.iter().any(|call| forbids(&Value::Object(call.clone()))) {
                    self.dead_rules.push(name.clone());
                }
            } else if self.looks_at_nothing(schema, rule) {
                if forbids(&self.sample()) {
                    self.denied_always.get_or_insert_with(|| name.clone());
                } else {
                    self.dead_rules.push(name.clone());
                }
            } else {
                self.open_rules.push(name.clone());
            }
        }
        self.allowed = calls.map(|calls| {
            let is_allowed = |call: &Map<String, Value>| {
                self.tool.contract.forbids(&Value::Object(call.clone())).is_none()
            };
            calls.into_iter().filter(is_allowed).collect()
        });
    }

    /// Returns whether a rule looks at arguments alone that the schema does not have and forbids.
    fn looks_at_nothing(&self, schema: &Value, rule: &DenyRule) -> bool {
        let text = rule.when.as_str();
        let known = |parameter: &Parameter| text.contains(parameter.name.as_str());
        // `args` by itself, or an index that is worked out, could be any of them.
        let named = text.matches("args").count() == text.matches("args.").count();
        schema["additionalProperties"] == json!(false)
            && named
            && !self.parameters.iter().any(known)
    }

    /// Returns some call that fits the schema.
    fn sample(&self) -> Value {
        let required = self.parameters.iter().filter(|parameter| parameter.required);
        let with = |parameter: &Parameter| {
            Some((parameter.name.clone(), parameter.values.first()?.1.clone()))
        };
        Value::Object(required.filter_map(with).collect())
    }

    /// Returns every call that the schema allows, if these are few and known.
    fn calls(&self, schema: &Value) -> Option<Vec<Map<String, Value>>> {
        let plain =
            ["type", "properties", "required", "additionalProperties", "title", "description"];
        let map = schema.as_object()?;
        let whole = map.keys().all(|key| plain.contains(&key.as_str()))
            && schema["additionalProperties"] == json!(false)
            && self.parameters.iter().all(|parameter| parameter.whole);
        let mut calls = whole.then(|| vec![Map::new()])?;
        for parameter in &self.parameters {
            let mut next = Vec::new();
            for call in calls {
                if !parameter.required {
                    next.push(call.clone());
                }
                for (_, value) in &parameter.values {
                    let mut call = call.clone();
                    call.insert(parameter.name.clone(), value.clone());
                    next.push(call);
                }
            }
            calls = next;
            if calls.len() > CALLS_MAX {
                return None;
            }
        }
        Some(calls)
    }
}

fn parameters(schema: &Value, contract: &Contract) -> Vec<Parameter> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut validator = None;
    let mut parameters: Vec<Parameter> = properties
        .iter()
        .map(|(name, property)| {
            let term = contract.term(name);
            let mut values = shape::values(schema, property, &term);
            if !is_plain(property) && shape::is_exact(schema, property) && !is_tangled(schema) {
                let validator =
                    validator.get_or_insert_with(|| Schema::new(&without_required(schema)));
                values.retain(|value| is_let_in(validator, name, value));
            }
            let values = values.into_iter().map(|value| (Shape::of(&value, &term), value));
            Parameter {
                name: name.clone(),
                required: required.contains(name.as_str()),
                values: values.collect(),
                whole: shape::choices(schema, property).is_some(),
                term,
            }
        })
        .collect();
    let more = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
    if *more != json!(false) && schema.get("unevaluatedProperties") != Some(&json!(false)) {
        let term = contract.term(OTHERS);
        let values = shape::values(schema, more, &term).into_iter();
        parameters.push(Parameter {
            name: OTHERS.to_owned(),
            required: false,
            values: values.map(|value| (Shape::of(&value, &term), value)).collect(),
            whole: false,
            term,
        });
    }
    parameters
}

/// Returns whether the type of a property says all about it.
fn is_plain(property: &Value) -> bool {
    let keywords = ["type", "title", "description", "default", "examples"];
    property.as_object().is_some_and(|map| map.keys().all(|key| keywords.contains(&key.as_str())))
}

/// Returns whether one argument decides what may stand in another.
fn is_tangled(schema: &Value) -> bool {
    ["if", "allOf", "anyOf", "oneOf", "dependentSchemas", "patternProperties"]
        .iter()
        .any(|key| schema.get(*key).is_some())
}

/// Returns a schema that says of each argument what it said, and lets each be left out.
fn without_required(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.remove("required");
    }
    schema
}

fn is_let_in(schema: &Schema, name: &str, value: &Value) -> bool {
    let call = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    let here = format!("/{}", escaped(name));
    let about = |found: &Mismatch| {
        found.at.strip_prefix(&here).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !schema.mismatches(&call).iter().any(about)
}
