//! The JSON Schemas of the project's files, for editors and for the reference.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::config::{AgentFile, ProjectFile};

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// `prusik.yaml`.
    Project,
    /// The front matter of `agents/*.md`.
    Agent,
}

/// Returns a JSON Schema, draft 2020-12.
pub fn schema(of: SchemaOf) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    match of {
        SchemaOf::Project => generator.into_root_schema_for::<ProjectFile>().to_value(),
        SchemaOf::Agent => generator.into_root_schema_for::<AgentFile>().to_value(),
    }
}
