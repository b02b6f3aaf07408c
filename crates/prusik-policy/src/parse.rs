//! Reads policies: what can be said of them without knowing any tool.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId};
use miette::Diagnostic;
use prusik_core::ids::Digest;
use serde_json::Value;

use crate::POLICIES_MAX;
use crate::finding::{Finding, shown};
use crate::split::{Text, policies};

/// Longest name of a policy, in bytes: it stands in journals, and models are told it.
const NAME_BYTES_MAX: usize = 100;
/// Longest text of an annotation that is told to a person or a model, in bytes.
const TOLD_BYTES_MAX: usize = 2_000;

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// As people are told of it: relative to the project's folder.
    pub name: String,
    pub text: String,
}

/// The policies of an organisation, in the order of their files. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub(crate) files: Arc<[Text]>,
    pub(crate) rules: Arc<[Rule]>,
}

/// What a policy does where it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// It denies, and the model is told this.
    Deny(Option<String>),
    /// A person is asked this.
    Ask(String),
}

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// What it is called: by itself with `@id`, otherwise by its place.
    pub name: String,
    pub then: Then,
    pub policy: Policy,
    /// Which file it stands in, and where.
    pub file: usize,
    pub range: Range<usize>,
}

impl Rule {
    /// Returns whether the policy may look at what a path of names leads to: only if it names one of
    /// them. Asked for the few calls that cannot be put into its terms.
    pub fn looks_at(&self, path: &[String]) -> bool {
        let Ok(json) = self.policy.to_json() else { return true };
        let mut words = BTreeSet::new();
        gather(&json, &mut words);
        path.iter().any(|name| words.contains(name))
    }

    /// Returns whether the policy's scope lets it apply to a tool.
    pub fn may_apply_to(&self, tool: &str) -> bool {
        match self.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => action.id().unescaped() == tool,
            ActionConstraint::In(actions) => actions.iter().any(|of| of.id().unescaped() == tool),
        }
    }
}

impl Policies {
    /// Reads policy files; what cannot be read is told by place, all of it at once.
    pub fn parse(files: impl IntoIterator<Item = PolicyFile>) -> Result<Self, Vec<Finding>> {
        let mut files: Vec<Text> =
            files.into_iter().map(|file| Text::new(file.name, file.text)).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        let (mut rules, mut findings) = (Vec::new(), Vec::new());
        for (number, file) in files.iter().enumerate() {
            for range in policies(&file.text) {
                match rule(number, file, range) {
                    Ok(rule) => rules.push(rule),
                    Err(mut found) => findings.append(&mut found),
                }
            }
        }
        findings.extend(doubles(&files, &rules));
        if rules.len() > POLICIES_MAX {
            let message = format!("there are {} policies, more than {POLICIES_MAX}", rules.len());
            findings.extend(files.first().map(|file| file.finding(0, 0, message)));
        }
        if findings.is_empty() {
            Ok(Self { files: files.into(), rules: rules.into() })
        } else {
            Err(findings)
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns the files, to be read together with others.
    pub fn files(&self) -> impl Iterator<Item = PolicyFile> {
        let files = self.files.iter();
        files.map(|file| PolicyFile { name: file.file.clone(), text: file.text.clone() })
    }

    /// Returns what tells these policies from others.
    pub fn digest(&self) -> Digest {
        let parts = self.files.iter().flat_map(|file| [file.file.as_str(), file.text.as_str()]);
        let parts: Vec<&[u8]> = std::iter::once("cedar").chain(parts).map(str::as_bytes).collect();
        Digest::of_parts(&parts)
    }

    pub(crate) fn file_of(&self, rule: &Rule) -> &Text {
        &self.files[rule.file]
    }

    /// Returns the policies by the names that Cedar knows them by.
    pub(crate) fn by_id(&self) -> BTreeMap<String, &Rule> {
        self.rules.iter().map(|rule| (rule.policy.id().to_string(), rule)).collect()
    }
}

fn rule(number: usize, file: &Text, range: Range<usize>) -> Result<Rule, Vec<Finding>> {
    let text = &file.text[range.clone()];
    let (line, _) = file.place(range.start);
    let place = format!("{}:{line}", file.file);
    // Policies on one line have a name of their own all the same.
    let id = PolicyId::new(format!("{number}:{}", range.start));
    let policy = Policy::parse(Some(id), text).map_err(|errors| {
        let found = errors.iter().map(|error| told(file, range.start, text.len(), error));
        let mut found: Vec<Finding> = found.collect();
        for finding in &mut found {
            if finding.message.contains("template") || text.contains("?principal") {
                finding.help =
                    Some("write the policy out: templates are filled by nobody here".to_owned());
            }
        }
        found
    })?;
    let mut findings = Vec::new();
    if policy.effect() == Effect::Permit {
        let at = text.find("permit").unwrap_or(0);
        let mut found = file.finding(
            range.start + at,
            "permit".len(),
            "a policy can only narrow, and `permit` would allow nothing",
        );
        let way = "what no policy forbids is allowed already, as far as the project and containment \
                   allow it; to allow only some, write `forbid (…) unless { … };`";
        found.help = Some(way.to_owned());
        findings.push(found);
    }
    let name = policy.annotation("id").map_or_else(|| place.clone(), str::to_owned);
    let is_name = |c: char| c.is_ascii_graphic() || c == ' ';
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_name) {
        let message = format!("`{}` cannot be the name of a policy", shown(&name));
        let mut found = file.finding(range.start, text.len(), message);
        found.help = Some(format!("use up to {NAME_BYTES_MAX} plain characters"));
        findings.push(found);
    }
    let then = match (policy.annotation("ask"), policy.annotation("tell")) {
        (Some(_), Some(_)) => {
            let message =
                "`@tell` says what the model is told of a denial, and `@ask` denies nothing";
            let mut found = file.finding(range.start, text.len(), message);
            found.help = Some("leave one of them out".to_owned());
            findings.push(found);
            Then::Deny(None)
        }
        (Some(ask), None) => Then::Ask(match ask.trim() {
            "" => "is this call meant?".to_owned(),
            ask => ask.to_owned(),
        }),
        (None, tell) => {
            Then::Deny(tell.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned))
        }
    };
    if let Then::Ask(text) | Then::Deny(Some(text)) = &then
        && text.len() > TOLD_BYTES_MAX
    {
        let message = format!("what it says has more than {TOLD_BYTES_MAX} bytes");
        findings.push(file.finding(range.start, 0, message));
    }
    for found in &mut findings {
        found.policy = Some(name.clone());
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Rule { name, then, policy, file: number, range })
}

/// Takes in what a policy names of the values that it looks at: attributes, and the keys of records
/// that it compares with.
fn gather(json: &Value, words: &mut BTreeSet<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| gather(item, words)),
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "attr" | "Record" | "Value" => gather_all(value, words),
                    _ => {}
                }
                gather(value, words);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn gather_all(json: &Value, words: &mut BTreeSet<String>) {
    match json {
        Value::String(text) => {
            words.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| gather_all(item, words)),
        Value::Object(map) => {
            words.extend(map.keys().cloned());
            map.values().for_each(|value| gather_all(value, words));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a finding for an error of Cedar's in a policy that begins at `start`.
pub(crate) fn told(
    file: &Text,
    start: usize,
    length: usize,
    error: &(impl Diagnostic + ?Sized),
) -> Finding {
    let label = error.labels().and_then(|mut labels| labels.next());
    let (offset, length) = label.map_or((0, length), |label| (label.offset(), label.len()));
    let mut found = file.finding(start + offset, length, sentence(&error.to_string()));
    found.help = error.help().map(|help| help.to_string());
    found
}

/// Returns what an error says without the name of its policy, which stands beside it.
fn sentence(message: &str) -> String {
    let rest = message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    rest.map_or(message, |(_, rest)| rest).to_owned()
}

/// Returns what is called like something before it.
fn doubles(files: &[Text], rules: &[Rule]) -> Vec<Finding> {
    let mut known: BTreeMap<&str, &Rule> = BTreeMap::new();
    let mut findings = Vec::new();
    for rule in rules {
        let file = &files[rule.file];
        // Two that have no name may stand on one line.
        let Some(first) = known.insert(&rule.name, rule) else { continue };
        let (line, _) = files[first.file].place(first.range.start);
        let message =
            format!("`{}` is what {}:{line} is called, too", rule.name, files[first.file].file);
        let mut found = file.finding(rule.range.start, rule.range.len(), message);
        found.policy = Some(rule.name.clone());
        found.help = Some("give each its own `@id(\"…\")`".to_owned());
        findings.push(found);
    }
    findings
}
