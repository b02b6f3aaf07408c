//! The closed list of what a review looks for. Ids are a promise: none is renamed or reused.

use crate::finding::Severity;

/// A rule. Each has a page in the book, `lints/<id>.md`.
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
    LockDiffers,
    GroupInPart,
    ContextTooSmall,
    DecisionsInProse,
    OutputUnrecorded,
    ResultCut,
    NothingBetween,
    MoneyUnbounded,
    ArgumentsUndeclared,
    AsksAtWill,
    RuleDead,
    TermDead,
    ToolDead,
    TrustDoubtful,
    LeavesUndeclared,
}

/// What is said of a rule wherever it is named.
struct Spec {
    rule: Rule,
    id: &'static str,
    severity: Severity,
    title: &'static str,
    page: &'static str,
}

/// A rule without its page does not compile.
macro_rules! spec {
    ($rule:ident, $id:literal, $severity:ident, $title:literal $(,)?) => {
        Spec {
            rule: Rule::$rule,
            id: $id,
            severity: Severity::$severity,
            title: $title,
            page: include_str!(concat!("../../../docs/src/lints/", $id, ".md")),
        }
    };
}

/// In the order of the enum, which a test holds it to.
const SPECS: [Spec; 48] = [
    spec!(ToolLeftOut, "tool-left-out", Error, "A tool that cannot be offered to a model"),
    spec!(
        ContractWithoutTool,
        "contract-without-tool",
        Error,
        "A contract of a tool that does not exist"
    ),
    spec!(NameRefused, "name-refused", Error, "A name that a provider refuses"),
    spec!(NamesCollide, "names-collide", Warning, "Names that differ only in case, `-` or `_`"),
    spec!(ToolsOverlap, "tools-overlap", Warning, "Two tools for the same purpose"),
    spec!(DescriptionMissing, "description-missing", Error, "No description"),
    spec!(
        DescriptionSaysNothing,
        "description-says-nothing",
        Warning,
        "A description that says nothing beyond the name"
    ),
    spec!(
        HiddenCharacters,
        "hidden-characters",
        Error,
        "Characters that people do not see and models read"
    ),
    spec!(OrdersTheModel, "orders-the-model", Error, "A description that gives the model orders"),
    spec!(NamesSecrets, "names-secrets", Error, "A description that names secrets"),
    spec!(EncodedBlob, "encoded-blob", Warning, "Encoded text in a description"),
    spec!(
        ParameterUndescribed,
        "parameter-undescribed",
        Warning,
        "A parameter without a description"
    ),
    spec!(
        ParameterShapeless,
        "parameter-shapeless",
        Warning,
        "A parameter for anything, without a shape"
    ),
    spec!(ParameterFreeText, "parameter-free-text", Note, "Free text where a closed type is due"),
    spec!(ParameterUnbounded, "parameter-unbounded", Note, "A number without bounds"),
    spec!(
        RequiredContradicts,
        "required-contradicts",
        Error,
        "What is required contradicts the rest"
    ),
    spec!(UnitAmbiguous, "unit-ambiguous", Warning, "A quantity without a unit"),
    spec!(TimeZoneAmbiguous, "time-zone-ambiguous", Warning, "A time without format or zone"),
    spec!(SchemaInvalid, "schema-invalid", Error, "Not valid JSON Schema 2020-12"),
    spec!(SchemaRoot, "schema-root", Error, "The root of the input is not an object"),
    spec!(SchemaTooDeep, "schema-too-deep", Warning, "A schema that nests too deep"),
    spec!(StrictModeRefused, "strict-mode-refused", Note, "A schema that strict mode refuses"),
    spec!(OutputSchemaMissing, "output-schema-missing", Note, "An output without a schema"),
    spec!(
        EffectUndeclared,
        "effect-undeclared",
        Warning,
        "Nobody says what the tool does to the world"
    ),
    spec!(EffectDoubtful, "effect-doubtful", Warning, "The declared effect contradicts the rest"),
    spec!(KeyUndeclared, "key-undeclared", Warning, "Idempotent, and nobody says by which key"),
    spec!(ProbeMissing, "probe-missing", Warning, "A write that nobody can ask about"),
    spec!(UndoMissing, "undo-missing", Note, "A write that nothing undoes"),
    spec!(FailuresUndeclared, "failures-undeclared", Note, "No failures declared"),
    spec!(TimeoutUndeclared, "timeout-undeclared", Note, "No time limit declared"),
    spec!(TooManyTools, "too-many-tools", Warning, "More tools than a model chooses well among"),
    spec!(TooManyToolTokens, "too-many-tool-tokens", Warning, "Tools that cost too many tokens"),
    spec!(AllowUnused, "allow-unused", Note, "An exception that nothing needs"),
    spec!(LockDiffers, "lock-differs", Warning, "A tool that is not as it was locked"),
    spec!(GroupInPart, "group-in-part", Warning, "A group that can take in part"),
    spec!(ContextTooSmall, "context-too-small", Error, "A window without room for the work"),
    spec!(DecisionsInProse, "decisions-in-prose", Warning, "Decisions that stand only in prose"),
    spec!(OutputUnrecorded, "output-unrecorded", Warning, "An answer of which nothing is recorded"),
    spec!(ResultCut, "result-cut", Note, "A result larger than a turn has room for"),
    spec!(
        NothingBetween,
        "nothing-between",
        Warning,
        "Nothing between what is read and what is done"
    ),
    spec!(MoneyUnbounded, "money-unbounded", Warning, "Money without a limit"),
    spec!(
        ArgumentsUndeclared,
        "arguments-undeclared",
        Warning,
        "Nobody says what the arguments decide"
    ),
    spec!(AsksAtWill, "asks-at-will", Note, "An attacker may ask as often as it likes"),
    spec!(RuleDead, "rule-dead", Warning, "A rule that never forbids anything"),
    spec!(TermDead, "term-dead", Warning, "A term that nothing falls under"),
    spec!(ToolDead, "tool-dead", Warning, "A tool that can never be called"),
    spec!(TrustDoubtful, "trust-doubtful", Warning, "Trusted, although anybody may write there"),
    spec!(LeavesUndeclared, "leaves-undeclared", Note, "A read that may leave the machine"),
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

    /// Returns the rule's page of the book, from the book's root.
    pub fn page(self) -> String {
        format!("lints/{}.md", self.id())
    }

    /// Returns what the page says, in Markdown.
    pub fn explained(self) -> &'static str {
        SPECS[self as usize].page
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
            let level = format!("Level: {}.", spec.severity);
            let mut lines = spec.page.lines();
            assert_eq!(lines.next(), Some(&*format!("# {}", spec.title)), "{}", spec.id);
            assert_eq!(lines.nth(1), Some(&*format!("`{}` · {level}", spec.id)), "{}", spec.id);
        }
        assert_eq!(Rule::from_id("no-such-rule"), None);
    }
}
