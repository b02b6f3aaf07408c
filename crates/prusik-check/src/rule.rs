//! The closed list of what a review looks for. Ids are a promise: none is renamed or reused.

use crate::finding::Severity;

/// A rule. Each has a line in the book, in `lints/rules.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    ToolLeftOut,
    ContractWithoutTool,
    NameRefused,
    NamesCollide,
    ToolsOverlap,
    DescriptionMissing,
    DescriptionSaysNothing,
    HiddenCharacters,
    OrdersTheModel,
    NamesSecrets,
    EncodedBlob,
    ParameterUndescribed,
    ParameterShapeless,
    ParameterFreeText,
    ParameterUnbounded,
    RequiredContradicts,
    UnitAmbiguous,
    TimeZoneAmbiguous,
    SchemaInvalid,
    SchemaRoot,
    SchemaTooDeep,
    StrictModeRefused,
    OutputSchemaMissing,
    EffectUndeclared,
    EffectDoubtful,
    KeyUndeclared,
    ProbeMissing,
    UndoMissing,
    FailuresUndeclared,
    TimeoutUndeclared,
    TooManyTools,
    TooManyToolTokens,
    AllowUnused,
}

/// What is said of a rule wherever it is named.
struct Spec {
    rule: Rule,
    id: &'static str,
    severity: Severity,
    title: &'static str,
}

const fn spec(rule: Rule, id: &'static str, severity: Severity, title: &'static str) -> Spec {
    Spec { rule, id, severity, title }
}

/// In the order of the enum, which a test holds it to.
const SPECS: [Spec; 33] = [
    spec(
        Rule::ToolLeftOut,
        "tool-left-out",
        Severity::Error,
        "A tool that cannot be offered to a model",
    ),
    spec(
        Rule::ContractWithoutTool,
        "contract-without-tool",
        Severity::Error,
        "A contract of a tool that does not exist",
    ),
    spec(Rule::NameRefused, "name-refused", Severity::Error, "A name that a provider refuses"),
    spec(
        Rule::NamesCollide,
        "names-collide",
        Severity::Warning,
        "Names that differ only in case, `-` or `_`",
    ),
    spec(Rule::ToolsOverlap, "tools-overlap", Severity::Warning, "Two tools for the same purpose"),
    spec(Rule::DescriptionMissing, "description-missing", Severity::Error, "No description"),
    spec(
        Rule::DescriptionSaysNothing,
        "description-says-nothing",
        Severity::Warning,
        "A description that says nothing beyond the name",
    ),
    spec(
        Rule::HiddenCharacters,
        "hidden-characters",
        Severity::Error,
        "Characters that people do not see and models read",
    ),
    spec(
        Rule::OrdersTheModel,
        "orders-the-model",
        Severity::Error,
        "A description that gives the model orders",
    ),
    spec(Rule::NamesSecrets, "names-secrets", Severity::Error, "A description that names secrets"),
    spec(Rule::EncodedBlob, "encoded-blob", Severity::Warning, "Encoded text in a description"),
    spec(
        Rule::ParameterUndescribed,
        "parameter-undescribed",
        Severity::Warning,
        "A parameter without a description",
    ),
    spec(
        Rule::ParameterShapeless,
        "parameter-shapeless",
        Severity::Warning,
        "A parameter for anything, without a shape",
    ),
    spec(
        Rule::ParameterFreeText,
        "parameter-free-text",
        Severity::Note,
        "Free text where a closed type is due",
    ),
    spec(
        Rule::ParameterUnbounded,
        "parameter-unbounded",
        Severity::Note,
        "A number without bounds",
    ),
    spec(
        Rule::RequiredContradicts,
        "required-contradicts",
        Severity::Error,
        "What is required contradicts the rest",
    ),
    spec(Rule::UnitAmbiguous, "unit-ambiguous", Severity::Warning, "A quantity without a unit"),
    spec(
        Rule::TimeZoneAmbiguous,
        "time-zone-ambiguous",
        Severity::Warning,
        "A time without format or zone",
    ),
    spec(Rule::SchemaInvalid, "schema-invalid", Severity::Error, "Not valid JSON Schema 2020-12"),
    spec(
        Rule::SchemaRoot,
        "schema-root",
        Severity::Error,
        "The root of the input is not an object",
    ),
    spec(Rule::SchemaTooDeep, "schema-too-deep", Severity::Warning, "A schema that nests too deep"),
    spec(
        Rule::StrictModeRefused,
        "strict-mode-refused",
        Severity::Note,
        "A schema that strict mode refuses",
    ),
    spec(
        Rule::OutputSchemaMissing,
        "output-schema-missing",
        Severity::Note,
        "An output without a schema",
    ),
    spec(
        Rule::EffectUndeclared,
        "effect-undeclared",
        Severity::Warning,
        "Nobody says what the tool does to the world",
    ),
    spec(
        Rule::EffectDoubtful,
        "effect-doubtful",
        Severity::Warning,
        "The declared effect contradicts the rest",
    ),
    spec(
        Rule::KeyUndeclared,
        "key-undeclared",
        Severity::Warning,
        "Idempotent, and nobody says by which key",
    ),
    spec(
        Rule::ProbeMissing,
        "probe-missing",
        Severity::Warning,
        "A write that nobody can ask about",
    ),
    spec(Rule::UndoMissing, "undo-missing", Severity::Note, "A write that nothing undoes"),
    spec(Rule::FailuresUndeclared, "failures-undeclared", Severity::Note, "No failures declared"),
    spec(Rule::TimeoutUndeclared, "timeout-undeclared", Severity::Note, "No time limit declared"),
    spec(
        Rule::TooManyTools,
        "too-many-tools",
        Severity::Warning,
        "More tools than a model chooses well among",
    ),
    spec(
        Rule::TooManyToolTokens,
        "too-many-tool-tokens",
        Severity::Warning,
        "Tools that cost too many tokens",
    ),
    spec(Rule::AllowUnused, "allow-unused", Severity::Note, "An exception that nothing needs"),
];

impl Rule {
    /// Returns every rule.
    pub fn all() -> impl Iterator<Item = Self> {
        SPECS.iter().map(|spec| spec.rule)
    }

    /// Returns the rule of that id.
    pub fn from_id(id: &str) -> Option<Self> {
        SPECS.iter().find(|spec| spec.id == id).map(|spec| spec.rule)
    }

    /// Returns the id under which the rule is told, allowed and looked up.
    pub fn id(self) -> &'static str {
        SPECS[self as usize].id
    }

    /// Returns how much a finding of the rule weighs, unless it says otherwise itself.
    pub fn severity(self) -> Severity {
        SPECS[self as usize].severity
    }

    /// Returns what the rule finds, in a few words.
    pub fn title(self) -> &'static str {
        SPECS[self as usize].title
    }

    /// Returns the page of the book that lists the rules, from its root.
    pub fn page(self) -> &'static str {
        "lints/rules.md"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_stands_at_its_place_and_is_found_by_its_id() {
        for (index, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.rule as usize, index, "{}", spec.id);
            assert_eq!(Rule::from_id(spec.id), Some(spec.rule));
        }
        assert_eq!(Rule::from_id("no-such-rule"), None);
    }
}
