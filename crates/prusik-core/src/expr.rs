//! CEL expressions in contracts and scripts: parsed when a project loads, evaluated on values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A CEL expression that is known to parse.
///
/// Source: the Common Expression Language, <https://cel.dev>.
#[derive(Clone, PartialEq, Eq)]
pub struct Expr(String);

/// Says why an expression could not be parsed or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression `{source_text}` {problem}")]
pub struct ExprError {
    pub source_text: String,
    pub problem: String,
}

impl Expr {
    /// Longest expression, in bytes. The interpreter recurses along chains such as `a + b + c`:
    /// twice as many links fit into a thread's stack of 2 MiB.
    pub const BYTES_MAX: usize = 1_000;

    /// Parses `text`. Every expression comes through here before a run starts.
    pub fn parse(text: impl Into<String>) -> Result<Self, ExprError> {
        let text = text.into();
        compile(&text)?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of the expression where each name of `variables` stands for its value.
    pub fn eval(&self, variables: &[(&str, &Value)]) -> Result<Value, ExprError> {
        let program = compile(&self.0)?;
        let mut context = cel::Context::default();
        for (name, value) in variables {
            context.add_variable_from_value(*name, cel_value(value));
        }
        let value = contained(|| program.execute(&context))
            .ok_or_else(|| self.error("cannot be evaluated".to_owned()))?
            .map_err(|error| self.error(format!("failed: {error}")))?;
        value.json().map_err(|error| self.error(format!("gives no JSON value: {error}")))
    }

    /// Returns the value of an expression that must be true or false.
    pub fn eval_bool(&self, variables: &[(&str, &Value)]) -> Result<bool, ExprError> {
        match self.eval(variables)? {
            Value::Bool(value) => Ok(value),
            other => Err(self.error(format!("gives {other} where true or false is due"))),
        }
    }

    /// Returns whether the expression looks at a variable.
    pub fn looks_at(&self, variable: &str) -> bool {
        compile(&self.0).is_ok_and(|program| program.references().has_variable(variable))
    }

    fn error(&self, problem: String) -> ExprError {
        ExprError { source_text: self.0.clone(), problem }
    }
}

fn compile(text: &str) -> Result<cel::Program, ExprError> {
    let error = |problem: String| {
        let mut source_text = text.to_owned();
        if source_text.len() > Expr::BYTES_MAX {
            source_text.truncate(source_text.floor_char_boundary(100));
            source_text.push('…');
        }
        ExprError { source_text, problem }
    };
    if text.len() > Expr::BYTES_MAX {
        return Err(error(format!("is longer than {} bytes", Expr::BYTES_MAX)));
    }
    contained(|| cel::Program::compile(text))
        .ok_or_else(|| error("is not CEL".to_owned()))?
        .map_err(|problem| error(format!("is not CEL: {}", first_problem(&problem.to_string()))))
}

/// Runs the interpreter so that a panic in it is an error of the expression: its text comes from
/// a file, its values from a tool.
fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
}

/// Returns the first of the parser's complaints, in one line; it shows the source below each.
fn first_problem(report: &str) -> String {
    let line = report.lines().next().unwrap_or(report);
    let Some((_, located)) = line.split_once("<input>:1:") else { return line.to_owned() };
    match located.split_once(": ") {
        Some((column, _))
            if located.contains("recursion limit") || located.contains("OtherError") =>
        {
            format!("it goes wrong at character {column}, or is nested too deeply there")
        }
        Some((column, problem)) => {
            // What could stand there instead is nearly the whole language.
            let problem = problem.split(" expecting ").next().unwrap_or(problem);
            let problem = problem.replace("mismatched input '<EOF>'", "it ends too soon");
            format!("{problem}, at character {column}")
        }
        None => line.to_owned(),
    }
}

/// Returns `value` for use in an expression. Whole numbers become `int` where they fit, so that
/// they can be calculated with: CEL does not add an `int`, such as a literal, to a `uint`.
fn cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(uint)) => cel::Value::UInt(uint),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            // CEL's own map has no order; nothing here depends on one.
            let entries = map.iter().map(|(key, value)| (key.as_str().into(), cel_value(value)));
            cel::Value::Map(cel::objects::Map { map: Arc::new(entries.collect()) })
        }
    }
}

/// Fills a template: a string that starts with `=` is evaluated, `==` at the start stands for one
/// `=`, everything else stands for itself.
pub fn fill(template: &Value, variables: &[(&str, &Value)]) -> Result<Value, ExprError> {
    match template {
        Value::String(text) => match text.strip_prefix('=') {
            Some(rest) if rest.starts_with('=') => Ok(Value::String(rest.to_owned())),
            Some(expression) => Expr::parse(expression.trim())?.eval(variables),
            None => Ok(template.clone()),
        },
        Value::Array(items) => {
            items.iter().map(|item| fill(item, variables)).collect::<Result<_, _>>()
        }
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), fill(value, variables)?)))
            .collect::<Result<_, _>>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(template.clone()),
    }
}

/// Fills every argument of a template into the arguments of a call.
pub fn fill_arguments(
    template: &BTreeMap<String, Value>,
    variables: &[(&str, &Value)],
) -> Result<Value, ExprError> {
    template
        .iter()
        .map(|(name, value)| Ok((name.clone(), fill(value, variables)?)))
        .collect::<Result<serde_json::Map<_, _>, _>>()
        .map(Value::Object)
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({})", self.0)
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_take_values_from_arguments() {
        let template = BTreeMap::from([
            ("reference".to_owned(), json!("=args.reference")),
            ("limit".to_owned(), json!(1)),
            ("literal".to_owned(), json!("==x")),
        ]);
        let args = json!({"reference": "RE-7", "amount": 12.5});
        let filled = fill_arguments(&template, &[("args", &args)]).unwrap();
        assert_eq!(filled, json!({"reference": "RE-7", "limit": 1, "literal": "=x"}));
    }

    #[test]
    fn a_condition_reads_a_result() {
        let landed =
            Expr::parse("result.payments.exists(p, p.reference == args.reference)").unwrap();
        let result = json!({"payments": [{"reference": "RE-7"}]});
        let args = json!({"reference": "RE-7"});
        assert!(landed.eval_bool(&[("result", &result), ("args", &args)]).unwrap());
    }

    #[test]
    fn whole_numbers_can_be_calculated_with() {
        let variables = json!({"n": 3, "big": u64::MAX, "list": [1, 2.5, null, true]});
        for (text, expected) in [
            ("v.n + 1", json!(4)),
            ("v.n % 2 == 1 && v.big > 7u", json!(true)),
            ("v.big", json!(u64::MAX)),
            ("v.list", json!([1, 2.5, null, true])),
        ] {
            let value = Expr::parse(text).unwrap().eval(&[("v", &variables)]).unwrap();
            assert_eq!(value, expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_errors_that_name_the_expression() {
        let error = Expr::parse("result.").unwrap_err();
        assert!(error.to_string().contains("`result.`"), "{error}");
        let token = Expr::parse("result.a ==").unwrap_err();
        assert!(token.to_string().contains("at character"), "{token}");
        assert!(!token.to_string().contains('\n'), "{token}");
        let unknown = Expr::parse("nobody.knows").unwrap().eval(&[]).unwrap_err();
        assert!(unknown.to_string().contains("failed"), "{unknown}");
        let not_bool = Expr::parse("1 + 1").unwrap().eval_bool(&[]).unwrap_err();
        assert!(not_bool.to_string().contains("true or false"), "{not_bool}");
    }

    #[test]
    fn the_longest_chains_fit_into_the_stack_of_a_thread() {
        for link in ["+1", "<1", ".a", "[0]", "&&true", "?1:1", "==1", "-1"] {
            let links = (Expr::BYTES_MAX - 4) / link.len();
            let text = format!("true{}", link.repeat(links));
            let parsed = std::thread::Builder::new()
                .stack_size(1 << 20)
                .spawn(move || Expr::parse(text).map(|expr| expr.eval(&[]).is_ok()).is_ok())
                .unwrap();
            parsed.join().unwrap();
        }
        let long = Expr::parse("1+".repeat(Expr::BYTES_MAX)).unwrap_err();
        assert!(long.to_string().len() < 200 && long.problem.contains("longer"), "{long}");
        let deep = Expr::parse("(".repeat(400) + &")".repeat(400)).unwrap_err();
        assert!(deep.problem.contains("deeply"), "{deep}");
    }
}
