//! Compares policies with what they speak of, before a call depends on them.

use std::collections::BTreeMap;

use cedar_policy::{
    ActionConstraint, Policy, PolicySet, ResourceConstraint, ValidationMode, Validator,
};

use crate::finding::{Finding, Severity, nearest, shown};
use crate::parse::{Policies, Rule, told};
use crate::vocabulary::{SERVERLESS, Vocabulary, server_of};

/// Most findings that are told at once.
const FINDINGS_MAX: usize = 100;

impl Policies {
    /// Returns what is wrong with policies where these tools and agents are, by place. Policies of tools
    /// that are elsewhere are not held against a schema that nobody knows here.
    pub fn check(&self, vocabulary: &Vocabulary) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut known = Vec::new();
        for rule in self.rules.iter() {
            let mut names = self.names(rule, vocabulary);
            if names.findings.is_empty() && !names.is_elsewhere {
                known.push(&rule.policy);
            }
            findings.append(&mut names.findings);
        }
        findings.extend(self.types(&known, vocabulary));
        findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        findings.dedup();
        findings.truncate(FINDINGS_MAX);
        findings
    }

    /// Looks at what a policy names.
    fn names(&self, rule: &Rule, vocabulary: &Vocabulary) -> Names {
        let mut names = Names { findings: Vec::new(), is_elsewhere: false };
        for literal in rule.policy.entity_literals() {
            let (of, name) = (literal.type_name().to_string(), literal.id().unescaped());
            let problem = match of.as_str() {
                "Action" if vocabulary.tools.contains_key(name) => None,
                "Action" if vocabulary.is_elsewhere(name) => {
                    names.is_elsewhere = true;
                    None
                }
                "Action" => Some(unknown("tool", name, vocabulary.tool_names())),
                "Agent" if vocabulary.has_agent(name) => None,
                "Agent" => Some(unknown("agent", name, vocabulary.agents())),
                "Server" if vocabulary.has_server(name) => None,
                "Server" => Some(unknown("server", name, vocabulary.servers())),
                _ => {
                    let message = format!("there is nothing of the type `{of}`");
                    let help = "a policy speaks of Agent::\"…\", Action::\"…\" (a tool) and \
                                Server::\"…\"";
                    Some((message, help.to_owned()))
                }
            };
            if let Some((message, help)) = problem {
                let mut found = self.at_literal(rule, &of, name, message);
                found.help = Some(help);
                names.findings.push(found);
            }
        }
        if names.findings.is_empty()
            && let Some(message) = elsewhere_called(&rule.policy)
        {
            let mut found = self.whole(rule, message);
            found.severity = Severity::Warning;
            let help = "leave `resource` as it is: the tool says where it is called";
            found.help = Some(help.to_owned());
            names.findings.push(found);
        }
        names
    }

    /// Returns a finding about a name in a policy, at its place.
    fn at_literal(&self, rule: &Rule, of: &str, name: &str, message: String) -> Finding {
        let file = self.file_of(rule);
        let text = &file.text[rule.range.clone()];
        let literal = format!("{of}::\"{name}\"");
        // Written with escapes or spaces it is not found, and the policy as a whole is shown.
        let at = text.find(&literal);
        let (offset, length) = at.map_or((0, text.len()), |at| (at, literal.len()));
        let mut found = file.finding(rule.range.start + offset, length, message);
        found.policy = Some(rule.name.clone());
        found
    }

    fn whole(&self, rule: &Rule, message: String) -> Finding {
        let mut found = self.file_of(rule).finding(rule.range.start, rule.range.len(), message);
        found.policy = Some(rule.name.clone());
        found
    }

    /// Has Cedar's validator look at policies whose tools are all known.
    fn types(&self, policies: &[&Policy], vocabulary: &Vocabulary) -> Vec<Finding> {
        let Some(first) = self.files.first().filter(|_| !policies.is_empty()) else {
            return Vec::new();
        };
        let schema = match vocabulary.schema() {
            Ok(schema) => schema,
            Err(problem) => {
                let message =
                    format!("the tools' schemas cannot be put into Cedar's terms: {problem}");
                return vec![first.finding(0, 0, message)];
            }
        };
        let set = match PolicySet::from_policies(policies.iter().copied().cloned()) {
            Ok(set) => set,
            Err(problem) => return vec![first.finding(0, 0, problem.to_string())],
        };
        let by_id = self.by_id();
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| {
            self.of_validator(&by_id, error.policy_id().as_ref(), Severity::Error, error)
        });
        let warnings = result.validation_warnings().map(|warning| {
            self.of_validator(&by_id, warning.policy_id().as_ref(), Severity::Warning, warning)
        });
        errors.chain(warnings).flatten().collect()
    }

    fn of_validator(
        &self,
        by_id: &BTreeMap<String, &Rule>,
        id: &str,
        severity: Severity,
        problem: &impl miette::Diagnostic,
    ) -> Option<Finding> {
        let rule = by_id.get(id)?;
        let mut found = told(self.file_of(rule), rule.range.start, rule.range.len(), problem);
        found.severity = severity;
        found.policy = Some(rule.name.clone());
        if found.message.starts_with("policy is impossible") {
            found.message = String::from("it can never apply: no call of these tools fits it");
            found.help.get_or_insert_with(|| {
                "`prusik policy schema` prints what calls look like".to_owned()
            });
        }
        if found.message.starts_with("unexpected type") && found.message.ends_with("decimal") {
            let way = "a number with places is compared by `.lessThan`, `.greaterThan` and the like, \
                       with decimal(\"500.0\")";
            found.help = Some(way.to_owned());
        }
        if found.message.starts_with("unable to guarantee safety of access to optional attribute") {
            found.help = Some(
                "the argument may be left out: say `context.args has …  &&` before it".to_owned(),
            );
        }
        Some(found)
    }
}

struct Names {
    findings: Vec<Finding>,
    /// Whether it names a tool that is not offered here.
    is_elsewhere: bool,
}

fn unknown<'a>(
    what: &str,
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> (String, String) {
    /// As many as are told when none is near.
    const TOLD_MAX: usize = 12;
    let message = format!("there is no {what} `{}`", shown(name));
    let candidates: Vec<&str> = candidates.collect();
    let help = if let Some(near) = nearest(name, candidates.iter().copied()) {
        let hidden = if name.is_ascii() { "" } else { ", in plain letters" };
        format!("did you mean `{near}`{hidden}?")
    } else {
        let all: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
        match all.len() {
            0 => format!("there are no {what}s"),
            n if n <= TOLD_MAX => format!("the {what}s are {}", all.join(", ")),
            n => {
                format!("the {what}s are {} and {} more", all[..TOLD_MAX].join(", "), n - TOLD_MAX)
            }
        }
    };
    (message, help)
}

/// Returns why a policy can apply to no call, if it names tools and another server than theirs.
fn elsewhere_called(policy: &Policy) -> Option<String> {
    let tools = match policy.action_constraint() {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    let (ResourceConstraint::Eq(server) | ResourceConstraint::In(server)) =
        policy.resource_constraint()
    else {
        return None;
    };
    let server = server.id().unescaped();
    let fits = tools.iter().any(|tool| server_of(tool.id().unescaped()) == server);
    let of = if server == SERVERLESS { "no server's" } else { server };
    (!fits).then(|| format!("it can never apply: none of its tools is {of}"))
}
