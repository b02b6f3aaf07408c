//! What policies say of a call.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityId, EntityTypeName,
    EntityUid, Policy, PolicyId, PolicySet, Request, Response, RestrictedExpression,
};
use prusik_core::agent::{Agent, Tool};
use prusik_core::ids::Digest;
use prusik_core::policy::{Concern, Question, Verdict};

use crate::express::{self, Unsayable};
use crate::finding::{Finding, Severity};
use crate::parse::{Policies, Rule, Then};
use crate::shape::{self, Record};
use crate::vocabulary::{Vocabulary, server_of};

/// The rule by which a call is denied that could not even be put to the policies.
const UNASKED: &str = "policy";

/// Policies that the calls of one agent are held to.
#[derive(Debug)]
pub struct Enforced {
    policies: Policies,
    digest: Digest,
    set: PolicySet,
    shapes: BTreeMap<String, Record>,
    agent_type: EntityTypeName,
    action_type: EntityTypeName,
    server_type: EntityTypeName,
}

impl Policies {
    /// Returns what holds an agent's calls to these policies, or what is wrong with them where its tools
    /// are. `vocabulary` is that of the agent's tools.
    pub fn enforced(
        &self,
        agent: &Agent,
        vocabulary: &Vocabulary,
    ) -> Result<Enforced, Vec<Finding>> {
        let mut findings = self.check(vocabulary);
        findings.retain(|finding| finding.severity == Severity::Error);
        if !findings.is_empty() {
            return Err(findings);
        }
        let all = self.rules.iter().map(|rule| rule.policy.clone());
        let permit = Policy::parse(
            Some(PolicyId::new("what nobody forbids")),
            "permit (principal, action, resource);",
        )
        .expect("it is Cedar");
        let set = PolicySet::from_policies(all.chain([permit]))
            .expect("each policy has an id of its own");
        let type_name = |name: &str| name.parse().expect("it is the name of a type");
        Ok(Enforced {
            policies: self.clone(),
            digest: self.digest(),
            set,
            shapes: agent.tools.iter().map(|tool| (tool.name.clone(), shape_of(tool))).collect(),
            agent_type: type_name("Agent"),
            action_type: type_name("Action"),
            server_type: type_name("Server"),
        })
    }
}

/// Returns what a tool's arguments are in Cedar's terms.
fn shape_of(tool: &Tool) -> Record {
    shape::arguments(tool).0
}

impl Enforced {
    fn response(
        &self,
        question: &Question<'_>,
        args: RestrictedExpression,
    ) -> Result<Response, String> {
        let contract = &question.tool.contract;
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let flag = RestrictedExpression::new_bool;
        let sources = question.label.sources.iter().map(|source| text(source));
        let context = Context::from_pairs([
            ("args".to_owned(), args),
            ("tainted".to_owned(), flag(!question.label.is_trusted())),
            ("sources".to_owned(), RestrictedExpression::new_set(sources)),
            ("effect".to_owned(), text(contract.effect.as_str())),
            ("can_be_undone".to_owned(), flag(contract.undo.is_some())),
            ("contained".to_owned(), flag(question.agent.containment.is_some())),
            ("planned".to_owned(), flag(question.planned)),
        ])
        .map_err(|error| error.to_string())?;
        let uid = |of: &EntityTypeName, name: &str| {
            EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
        };
        let request = Request::new(
            uid(&self.agent_type, &question.agent.name),
            uid(&self.action_type, &question.tool.name),
            uid(&self.server_type, server_of(&question.tool.name)),
            context,
            None,
        )
        .map_err(|error| error.to_string())?;
        Ok(Authorizer::new().is_authorized(&request, &self.set, &Entities::empty()))
    }

    /// Returns why an argument that no policy can be shown is a reason to deny: one that may apply looks
    /// at it.
    fn blind(&self, tool: &str, unsayable: &[Unsayable]) -> Option<Verdict> {
        let rules = self.policies.rules.iter().filter(|rule| rule.may_apply_to(tool));
        rules.flat_map(|rule| unsayable.iter().map(move |of| (rule, of))).find_map(|(rule, of)| {
            let why = format!("`{}`: {}", of.place(), of.why);
            rule.looks_at(&of.path).then(|| unclear(rule, &why))
        })
    }
}

/// Denies what a policy could not be evaluated for.
fn unclear(rule: &Rule, why: &str) -> Verdict {
    /// As much as a model is told of a reason, which may quote what it has sent.
    const WHY_BYTES: usize = 500;
    let why = &why[..why.floor_char_boundary(WHY_BYTES.min(why.len()))];
    let message = format!(
        "It cannot be said that the organisation's policy `{}` allows this call: {why}",
        rule.name
    );
    Verdict::Deny { rule: rule.name.clone(), message }
}

impl prusik_core::policy::Policy for Enforced {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn judge(&self, question: &Question<'_>) -> Verdict {
        let tool = question.tool.name.as_str();
        let (args, unsayable) = match self.shapes.get(tool) {
            Some(record) => express::arguments(record, question.arguments),
            None => express::arguments(&shape_of(question.tool), question.arguments),
        };
        let response = match self.response(question, args) {
            Ok(response) => response,
            Err(why) => {
                let message = format!("It cannot be put to the organisation's policy: {why}");
                return Verdict::Deny { rule: UNASKED.to_owned(), message };
            }
        };
        let forbids: BTreeSet<&PolicyId> = match response.decision() {
            Decision::Deny => response.diagnostics().reason().collect(),
            Decision::Allow => BTreeSet::new(),
        };
        // A denial that is sure comes before one that is not, and both before a question.
        let mut concerns = Vec::new();
        for rule in self.policies.rules.iter().filter(|rule| forbids.contains(rule.policy.id())) {
            match &rule.then {
                Then::Deny(tell) => {
                    let message = tell.clone().unwrap_or_else(|| {
                        format!("The organisation's policy `{}` forbids this call.", rule.name)
                    });
                    return Verdict::Deny { rule: rule.name.clone(), message };
                }
                Then::Ask(why) => {
                    concerns.push(Concern { rule: rule.name.clone(), why: why.clone() });
                }
            }
        }
        if let Some(verdict) = self.blind(tool, &unsayable) {
            return verdict;
        }
        let mut errors: BTreeMap<&PolicyId, String> = BTreeMap::new();
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            errors.insert(error.policy_id(), error.inner().to_string());
        }
        let failed = self
            .policies
            .rules
            .iter()
            .find_map(|rule| errors.get(rule.policy.id()).map(|why| unclear(rule, why)));
        match (failed, response.decision()) {
            (Some(verdict), _) => verdict,
            (None, _) if !concerns.is_empty() => Verdict::Ask(concerns),
            (None, Decision::Allow) => Verdict::Allow,
            (None, Decision::Deny) => Verdict::Deny {
                rule: UNASKED.to_owned(),
                message: "The organisation's policy does not allow this call.".to_owned(),
            },
        }
    }
}
