//! JSON Schema 2020-12: arguments, results and final answers are checked against it.

mod reach;

use serde_json::Value;

/// Where and why a value does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer into the value; empty for the whole of it.
    pub at: String,
    /// JSON pointer into the schema.
    pub schema_at: String,
    pub problem: String,
}

/// Most mismatches that are reported at once.
const MISMATCHES_MAX: usize = 8;
/// Longest description of one mismatch, in bytes.
const PROBLEM_BYTES_MAX: usize = 300;

/// A schema that was read once and can check many values.
#[derive(Debug)]
pub struct Schema(Result<jsonschema::Validator, String>);

impl Schema {
    /// Reads `schema`; nothing outside of it is fetched. A schema that is not valid lets no value
    /// pass, so that a mistake fails closed.
    pub fn new(schema: &Value) -> Self {
        if let Err(problem) = reach::check(schema) {
            return Self(Err(problem));
        }
        Self(jsonschema::draft202012::new(schema).map_err(|error| error.to_string()))
    }

    /// Returns everything about `value` that does not fit, up to a limit.
    pub fn mismatches(&self, value: &Value) -> Vec<Mismatch> {
        match &self.0 {
            Ok(validator) => {
                validator.iter_errors(value).take(MISMATCHES_MAX).map(Mismatch::from).collect()
            }
            Err(problem) => {
                let problem = format!("the schema itself is not valid: {problem}");
                vec![Mismatch { at: String::new(), schema_at: String::new(), problem }]
            }
        }
    }
}

/// Checks that `schema` is a JSON Schema.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    // Reading a schema checks it; it is checked again only to name the place.
    Schema::new(schema).0.map(|_| ()).map_err(|problem| {
        match jsonschema::draft202012::meta::validate(schema) {
            Err(error) => format!("at {}: {error}", pointer(&error.instance_path().to_string())),
            Ok(()) => problem,
        }
    })
}

/// Returns everything about `value` that does not fit `schema`, up to a limit.
pub fn mismatches(schema: &Value, value: &Value) -> Vec<Mismatch> {
    Schema::new(schema).mismatches(value)
}

impl From<jsonschema::ValidationError<'_>> for Mismatch {
    fn from(error: jsonschema::ValidationError<'_>) -> Self {
        let mut problem = error.to_string();
        if problem.len() > PROBLEM_BYTES_MAX {
            problem.truncate(problem.floor_char_boundary(PROBLEM_BYTES_MAX));
            problem.push('…');
        }
        Self {
            at: error.instance_path().to_string(),
            schema_at: error.schema_path().to_string(),
            problem,
        }
    }
}

fn pointer(path: &str) -> &str {
    if path.is_empty() { "the top" } else { path }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mismatch_names_both_places() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let found = mismatches(&schema, &json!({"n": "x"}));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].at, "/n");
        assert_eq!(found[0].schema_at, "/properties/n/type");
    }

    #[test]
    fn a_bad_schema_is_named() {
        let error = check_schema(&json!({"properties": {"n": {"type": "int"}}})).unwrap_err();
        assert!(error.contains("/properties/n/type"), "{error}");
        assert!(check_schema(&json!({"type": "object"})).is_ok());
        let remote = json!({"$ref": "https://example.com/x.json"});
        assert!(check_schema(&remote).is_err(), "nothing is fetched");
    }
}
