//! A tool that is certified: its contract, and the calls that it is tried with.

use std::collections::BTreeMap;

use prusik_core::contract::{Contract, KeyPlace};
use prusik_core::schema::{self, Mismatch};
use prusik_tool::ToolInfo;
use serde_json::Value;

use super::sample;
use crate::assemble;
use crate::cli::text::one_line;
use crate::project::config::ExampleConfig;
use crate::project::{Project, ProjectError};

/// A tool that is certified.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: String,
    pub server: String,
    pub contract: Contract,
    pub input_schema: Value,
    pub output_schema: Option<Value>,
    /// Calls that succeed.
    pub samples: Vec<Sample>,
    /// Calls that are reported as a failure that is declared.
    pub failing: Vec<Sample>,
    /// Why there are no samples.
    pub problem: Option<String>,
}

/// A call that a tool is tried with.
#[derive(Debug, Clone)]
pub struct Sample {
    pub arguments: BTreeMap<String, Value>,
    pub fails: Option<String>,
    pub after: Vec<(String, BTreeMap<String, Value>)>,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Example,
    /// Made up from the schema: it may well not succeed.
    Schema,
}

impl Sample {
    /// Returns the arguments if they depend on no other call.
    pub fn fixed(&self) -> Option<Value> {
        if !self.after.is_empty() || self.arguments.values().any(holds_expression) {
            return None;
        }
        prusik_core::expr::fill_arguments(&self.arguments, &[]).ok()
    }
}

fn holds_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('=') && !text.starts_with("=="),
        Value::Array(items) => items.iter().any(holds_expression),
        Value::Object(map) => map.values().any(holds_expression),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Subject {
    /// Returns the tool with the project's contract and examples; an example that does not fit the
    /// tool's schema is an error of the project.
    pub fn of(
        project: &Project,
        server: &str,
        info: ToolInfo,
        errors: &mut Vec<ProjectError>,
    ) -> Self {
        let facts = assemble::facts(info);
        let contract = project.contract_of(&facts);
        let config = project.config().tools.get(&facts.name);
        let examples = config.map_or(&[][..], |config| &config.examples);
        let (mut samples, mut failing) = (Vec::new(), Vec::new());
        for example in examples {
            let sample = sample_of(example);
            if sample.fails.is_some() {
                failing.push(sample);
            } else {
                samples.push(sample);
            }
        }
        let mut subject = Self {
            name: facts.name,
            server: server.to_owned(),
            contract,
            input_schema: facts.input_schema,
            output_schema: facts.output_schema,
            samples,
            failing,
            problem: None,
        };
        for (index, example) in examples.iter().enumerate() {
            subject.check(project, index, &sample_of(example), errors);
        }
        if subject.samples.is_empty() {
            match subject.made_up() {
                Ok(sample) => subject.samples.push(sample),
                Err(problem) => subject.problem = Some(problem),
            }
        }
        subject
    }

    fn check(
        &self,
        project: &Project,
        index: usize,
        sample: &Sample,
        errors: &mut Vec<ProjectError>,
    ) {
        let Some(arguments) = sample.fixed() else { return };
        if let Some(Mismatch { at, problem, .. }) = self.misfit(&arguments) {
            let index = index.to_string();
            let mut path = vec!["tools", &self.name, "examples", &index, "arguments"];
            path.extend(at.split('/').skip(1));
            let message =
                format!("the example does not fit the schema of `{}`: {problem}", self.name);
            errors.push(project.error_at(&path, message));
        }
    }

    fn made_up(&self) -> Result<Sample, String> {
        let made = sample::arguments(&self.input_schema)?;
        let mut arguments: BTreeMap<String, Value> =
            made.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), literal(v))).collect();
        if let Some(KeyPlace::Argument(name)) = &self.contract.key {
            arguments.remove(name);
        }
        Ok(Sample { arguments, fails: None, after: Vec::new(), origin: Origin::Schema })
    }

    /// Returns the arguments as they are sent: with the key, where it is one of them.
    pub fn with_key(&self, arguments: &Value, key: &str) -> Value {
        let mut arguments = arguments.clone();
        if let (Some(KeyPlace::Argument(name)), Some(map)) =
            (&self.contract.key, arguments.as_object_mut())
        {
            map.insert(name.clone(), Value::String(key.to_owned()));
        }
        arguments
    }

    /// Returns why the arguments do not fit the schema.
    pub fn misfit(&self, arguments: &Value) -> Option<Mismatch> {
        let arguments = self.with_key(arguments, "0123456789abcdef0123456789abcdef");
        schema::mismatches(&self.input_schema, &arguments).into_iter().next()
    }

    /// Returns the rule of the project that forbids a call, if one does.
    pub fn denied(&self, arguments: &Value) -> Option<&str> {
        self.contract.forbids(arguments).map(|(rule, _)| rule)
    }

    /// Returns a call as it is told.
    pub fn told(name: &str, arguments: &Value) -> String {
        format!("{name} {}", one_line(&arguments.to_string(), 160))
    }
}

fn sample_of(example: &ExampleConfig) -> Sample {
    let plain = |arguments: &BTreeMap<String, crate::project::values::TemplateText>| {
        arguments.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
    };
    Sample {
        arguments: plain(&example.arguments),
        fails: example.fails.clone(),
        after: example
            .after
            .iter()
            .map(|setup| (setup.tool.clone(), plain(&setup.arguments)))
            .collect(),
        origin: Origin::Example,
    }
}

/// Returns a value as a template that stands for it.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('=') => Value::String(format!("={text}")),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), literal(v))).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            other.clone()
        }
    }
}
