//! From an agent's file to the definition that a run keeps: the tools it holds, with contracts.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::agent::{Agent, Containment, Group, Limits, OnFailure, Tool, Unplanned};
use prusik_core::contract::{
    Contract, DenyRule, EffectClass, FailureTerm, KeyPlace, Probe, RetryPolicy, Returns, Undo,
};
use prusik_core::grant::{ArgumentKind, ArgumentTerm};
use prusik_core::run::{PLAN, RECALL, RECORD};
use prusik_core::schema::check_schema;
use serde_json::Value;

use super::config::{
    ArgumentConfig, ArgumentKindConfig, ContainmentOff, ContainmentSetting, ContractConfig, Effect,
    EmptyConfig, KeyConfig, LimitsConfig, OnFailureConfig, RetryConfig, ReturnsConfig,
    UnplannedConfig,
};
use super::context::record_term;
use super::error::{ProjectError, ProjectErrors, nearest, suggestion};
use super::{AgentEntry, Project, Server};
use crate::library::mistaken_calls;
use crate::terms::{Mistake, mistaken_names};

/// What a connected tool says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolFacts {
    /// A built-in tool's name, or `server__tool`.
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    pub output_schema: Option<Value>,
    /// The contract that a built-in tool comes with. A server's tool has none that is trusted.
    pub contract: Option<Contract>,
}

/// What a contract of a tool that no server has does to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrayContracts {
    Refused,
    /// Somebody else tells of it.
    Left,
}

impl Project {
    /// Returns the servers that an agent needs: those whose tools it may hold, and those that the
    /// contracts of its tools ask. Only they are to be started.
    pub fn servers_for(&self, agent: &AgentEntry) -> Vec<&Server> {
        let mut patterns: BTreeSet<&str> = agent.tools.iter().map(String::as_str).collect();
        loop {
            let held = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
            let own = self.own.iter().filter(|tool| held(&tool.name)).filter_map(|tool| {
                let contract = tool.contract.as_ref()?;
                let probe = contract.probe.as_ref().map(|probe| probe.tool.as_str());
                let undo = contract.undo.as_ref().map(|undo| undo.tool.as_str());
                Some(probe.into_iter().chain(undo))
            });
            let asked: Vec<&str> = self
                .config
                .tools
                .iter()
                .filter(|(name, _)| held(name))
                .flat_map(|(_, contract)| others_of(contract))
                .chain(own.flatten())
                .filter(|tool| !patterns.contains(tool))
                .collect();
            if asked.is_empty() {
                break;
            }
            patterns.extend(asked);
        }
        self.servers
            .values()
            .filter(|server| {
                let prefix = format!("{}__", server.name);
                patterns.iter().any(|pattern| may_begin(pattern, &prefix))
            })
            .collect()
    }

    /// Returns the definition of an agent as a run keeps it. `tools` are those of the servers that
    /// [`Project::servers_for`] names, and the built-in ones.
    pub fn agent_definition(
        &self,
        name: Option<&str>,
        tools: &[ToolFacts],
    ) -> Result<Agent, ProjectErrors> {
        self.definition(name, tools, StrayContracts::Refused)
    }

    pub(super) fn definition(
        &self,
        name: Option<&str>,
        tools: &[ToolFacts],
        strays: StrayContracts,
    ) -> Result<Agent, ProjectErrors> {
        let agent = self.agent(name)?;
        let mut errors = Vec::new();
        let alias = self.model_alias(agent);
        let model = self.model_spec(alias).ok_or_else(|| {
            ProjectErrors::from(
                agent.source.error(&["model"], format!("there is no model `{alias}`")),
            )
        })?;
        if strays == StrayContracts::Refused {
            self.check_contract_names(agent, tools, &mut errors);
        }
        let tools = self.tools_of(agent, tools, &mut errors);
        let definition = Agent {
            name: agent.name.clone(),
            system: self.system_prompt(agent),
            model,
            groups: self.groups_of(&tools, &mut errors),
            context: self.context_policy(agent),
            ledger: Self::ledger(agent),
            containment: containment(agent.config.containment),
            tools,
            budget: self.budget(agent),
            output: agent.output.clone(),
            limits: limits(agent.config.limits),
            on_failure: match agent.config.on_failure {
                OnFailureConfig::Leave => OnFailure::Leave,
                OnFailureConfig::Park => OnFailure::Park,
                OnFailureConfig::Compensate => OnFailure::Compensate,
            },
        };
        ProjectErrors::check(errors)?;
        Ok(definition)
    }

    /// Returns an error for each contract of a tool that one of `servers` does not have.
    pub fn stray_contracts(&self, servers: &[String], known: &[&str]) -> Vec<ProjectError> {
        let stray = |name: &&String| {
            let server = name.split_once("__").map(|(server, _)| server);
            server.is_some_and(|server| servers.iter().any(|named| named == server))
                && !known.contains(&name.as_str())
        };
        let error = |name: &String| {
            let message = format!("there is no tool `{name}`");
            let help = suggestion(name, "tools", known.to_vec());
            self.source.error(&["tools", name], message).with_help(help)
        };
        self.config.tools.keys().filter(stray).map(error).collect()
    }

    /// Returns the contract of a tool, whoever holds it.
    pub fn contract_of(&self, facts: &ToolFacts) -> Contract {
        contract(self.config.tools.get(&facts.name), facts.contract.as_ref())
    }

    /// The folder's AGENTS.md stands below the agent's own prompt: what is general comes last.
    fn system_prompt(&self, agent: &AgentEntry) -> String {
        match &self.guidance {
            Some(guidance) => format!("{}\n\n{guidance}", agent.prompt),
            None => agent.prompt.clone(),
        }
    }

    fn tools_of(
        &self,
        agent: &AgentEntry,
        tools: &[ToolFacts],
        errors: &mut Vec<ProjectError>,
    ) -> Vec<Tool> {
        let known: BTreeMap<&str, &ToolFacts> =
            tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        for (index, pattern) in agent.tools.iter().enumerate() {
            if !known.keys().any(|name| matches(pattern, name)) {
                errors.push(self.no_such_tool(agent, index, pattern, &known));
            }
        }
        self.check_group_names(agent, &known, errors);
        let shown = known
            .keys()
            .copied()
            .filter(|name| agent.tools.iter().any(|pattern| matches(pattern, name)));
        let contract =
            |name: &str| contract(self.config.tools.get(name), known[name].contract.as_ref());
        let missing = |of: &str, key: &str, tool: &str| {
            let message = format!("there is no tool `{tool}`");
            let help = suggestion(tool, "tools", known.keys().copied());
            errors.push(self.source.error(&["tools", of, key, "tool"], message).with_help(help));
        };
        let held = hold(known.keys().copied(), shown, contract, missing);
        let tools: Vec<Tool> =
            held.into_iter().map(|(name, shown)| self.tool(known[name], shown, errors)).collect();
        let own = |name: &str| self.own.iter().any(|own| own.name == name);
        for problem in mistaken_calls(&tools, own) {
            errors.push(agent.source.error(&["tools"], problem));
        }
        tools
    }

    /// Returns the groups of which the agent may call a tool, with those tools.
    fn groups_of(&self, held: &[Tool], errors: &mut Vec<ProjectError>) -> Vec<Group> {
        let mut groups = Vec::new();
        for (name, config) in &self.config.groups {
            let mut tools = Vec::new();
            for (index, tool) in config.tools.iter().enumerate() {
                let Some(held) = held.iter().find(|held| held.name == *tool && held.shown) else {
                    continue;
                };
                if held.contract.effect == EffectClass::Read {
                    let message = format!("`{tool}` is a read, so there is nothing to take back");
                    let index = index.to_string();
                    let error = self.source.error(&["groups", name, "tools", &index], message);
                    errors.push(error.with_help("leave it out of the group"));
                }
                tools.push(tool.clone());
            }
            if !tools.is_empty() {
                groups.push(Group { name: name.clone(), tools });
            }
        }
        groups
    }

    fn tool(&self, facts: &ToolFacts, shown: bool, errors: &mut Vec<ProjectError>) -> Tool {
        let name = facts.name.as_str();
        let config = self.config.tools.get(name);
        let contract = contract(config, facts.contract.as_ref());
        let server = name.split_once("__").map_or("built-in", |(server, _)| server);
        let file = if server == "built-in" { "prusik" } else { server };
        if let Err(problem) = check_schema(&facts.input_schema) {
            let message = format!("the input schema of `{name}` is not valid: {problem}");
            errors.push(
                ProjectError::of_file(format!("server {file}"), message).with_help(
                    "the server has to mend it; leave the tool out of `tools` until then",
                ),
            );
        }
        if let Some(problem) =
            facts.output_schema.as_ref().and_then(|schema| check_schema(schema).err())
        {
            let message = format!("the output schema of `{name}` is not valid: {problem}");
            errors.push(
                ProjectError::of_file(format!("server {file}"), message).with_help(
                    "the server has to mend it; leave the tool out of `tools` until then",
                ),
            );
        }
        let declared = |key: &str| match key {
            "key" => config.is_some_and(|config| config.key.is_some()),
            "probe" => config.is_some_and(|config| config.probe.is_some()),
            "undo" => config.is_some_and(|config| config.undo.is_some()),
            _ => false,
        };
        for Mistake { path, message, help } in mistaken_names(name, &facts.input_schema, &contract)
        {
            // What a tool of the program says of itself stands in no file of the project.
            let path: Vec<&str> = if declared(&path[0]) {
                ["tools", name].into_iter().chain(path.iter().map(String::as_str)).collect()
            } else {
                vec!["tools"]
            };
            errors.push(self.source.error(&path, message).with_help(help));
        }
        Tool {
            name: facts.name.clone(),
            description: facts.description.clone(),
            input_schema: facts.input_schema.clone(),
            output_schema: facts.output_schema.clone(),
            contract,
            shown,
        }
    }

    fn no_such_tool(
        &self,
        agent: &AgentEntry,
        index: usize,
        pattern: &str,
        known: &BTreeMap<&str, &ToolFacts>,
    ) -> ProjectError {
        let index = index.to_string();
        let error =
            agent.source.error(&["tools", &index], format!("no tool is called `{pattern}`"));
        if pattern == PLAN {
            return error.with_help("every contained agent holds `plan`: leave it out");
        }
        if [RECORD, RECALL].contains(&pattern) {
            return error.with_help(format!("every agent holds `{pattern}`: leave it out"));
        }
        if let Some(near) = nearest(pattern, known.keys().copied()) {
            return error.with_help(format!("did you mean `{near}`?"));
        }
        let asked: Vec<&str> =
            self.servers_for(agent).into_iter().map(|server| server.name.as_str()).collect();
        let help = match pattern.split_once("__") {
            Some((server, _)) if asked.contains(&server) => {
                let prefix = format!("{server}__");
                let own: Vec<&str> =
                    known.keys().filter(|name| name.starts_with(&prefix)).copied().collect();
                suggestion(pattern, &format!("tools of the server `{server}`"), own)
            }
            Some((server, _)) => {
                let servers = self.servers.keys().map(String::as_str);
                suggestion(server, "servers of this project", servers)
            }
            None => {
                let asked =
                    if asked.is_empty() { "no server".to_owned() } else { asked.join(", ") };
                let tools = suggestion(pattern, "tools", known.keys().copied());
                format!("{tools}; asked: the built-in tools and {asked}")
            }
        };
        error.with_help(help)
    }

    /// A contract of a tool that does not exist is a mistake: the tool that was meant has none.
    fn check_contract_names(
        &self,
        agent: &AgentEntry,
        tools: &[ToolFacts],
        errors: &mut Vec<ProjectError>,
    ) {
        let known: BTreeSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        for server in self.servers_for(agent) {
            let prefix = format!("{}__", server.name);
            let own: Vec<&str> =
                known.iter().filter(|name| name.starts_with(&prefix)).copied().collect();
            for name in self.config.tools.keys().filter(|name| name.starts_with(&prefix)) {
                if !known.contains(name.as_str()) {
                    let message = format!(
                        "the server `{}` has no tool `{}`",
                        server.name,
                        &name[prefix.len()..]
                    );
                    let help =
                        suggestion(name, &format!("tools of `{}`", server.name), own.clone());
                    errors.push(self.source.error(&["tools", name], message).with_help(help));
                }
            }
        }
    }

    fn check_group_names(
        &self,
        agent: &AgentEntry,
        known: &BTreeMap<&str, &ToolFacts>,
        errors: &mut Vec<ProjectError>,
    ) {
        for server in self.servers_for(agent) {
            let prefix = format!("{}__", server.name);
            for (group, config) in &self.config.groups {
                for (index, tool) in config.tools.iter().enumerate() {
                    if tool.starts_with(&prefix) && !known.contains_key(tool.as_str()) {
                        let own = known.keys().filter(|name| name.starts_with(&prefix)).copied();
                        let tools = format!("tools of `{}`", server.name);
                        let help = suggestion(tool, &tools, own.collect::<Vec<_>>());
                        let message = format!("there is no tool `{tool}`");
                        let path = ["groups", group, "tools", &index.to_string()];
                        errors.push(self.source.error(&path, message).with_help(help));
                    }
                }
            }
        }
    }
}

/// Returns the tools that an agent holds, each with whether its model is shown it: those that are
/// `shown`, and those that the contracts of held ones call. A call of what is not `known` goes to
/// `missing`, as the tool whose contract it is, its key, and the one that is not there.
pub(crate) fn hold<'a>(
    known: impl Iterator<Item = &'a str>,
    shown: impl Iterator<Item = &'a str>,
    contract: impl Fn(&str) -> Contract,
    mut missing: impl FnMut(&str, &str, &str),
) -> BTreeMap<&'a str, bool> {
    // The order of what the servers list may change; that of a definition must not.
    let known: BTreeSet<&str> = known.collect();
    let mut held: BTreeMap<&str, bool> = shown.map(|name| (name, true)).collect();
    let mut queue: Vec<&str> = held.keys().copied().collect();
    while let Some(name) = queue.pop() {
        let contract = contract(name);
        let probe = contract.probe.as_ref().map(|probe| ("probe", &probe.tool));
        let undo = contract.undo.as_ref().map(|undo| ("undo", &undo.tool));
        for (key, tool) in probe.into_iter().chain(undo) {
            match known.get(tool.as_str()) {
                Some(tool) if !held.contains_key(tool) => {
                    held.insert(tool, false);
                    queue.push(tool);
                }
                Some(_) => {}
                None => missing(name, key, tool),
            }
        }
    }
    held
}

fn others_of(contract: &ContractConfig) -> impl Iterator<Item = &str> {
    let probe = contract.probe.as_ref().map(|probe| probe.tool.as_str());
    let undo = contract.undo.as_ref().map(|undo| undo.tool.as_str());
    probe.into_iter().chain(undo)
}

/// Returns what the project declares on top of what the tool comes with.
pub(super) fn contract(config: Option<&ContractConfig>, built_in: Option<&Contract>) -> Contract {
    let base = built_in.cloned();
    let Some(config) = config else {
        return base.unwrap_or_else(|| Contract::of(EffectClass::Write));
    };
    let mut contract = match (config.effect, base) {
        (Some(effect), base) => {
            let effect = match effect {
                Effect::Read => EffectClass::Read,
                Effect::Idempotent => EffectClass::Idempotent,
                Effect::Write => EffectClass::Write,
            };
            match base {
                Some(base) if base.effect == effect => base,
                Some(_) | None => Contract::of(effect),
            }
        }
        (None, Some(base)) => base,
        (None, None) => Contract::of(EffectClass::Write),
    };
    if let Some(key) = &config.key {
        contract.key = Some(match key {
            KeyConfig::Argument(name) => KeyPlace::Argument(name.clone()),
            KeyConfig::Meta(name) => KeyPlace::Meta(name.clone()),
            KeyConfig::Call => KeyPlace::Call,
        });
    }
    if let Some(probe) = &config.probe {
        contract.probe = Some(Probe {
            tool: probe.tool.clone(),
            arguments: probe.arguments.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect(),
            landed: probe.landed.0.clone(),
            result: probe.result.as_ref().map(|result| result.0.clone()),
            wait_ms: probe.wait_ms.or(config.timeout_ms).unwrap_or(contract.timeout_ms),
        });
    }
    if let Some(undo) = &config.undo {
        contract.undo = Some(Undo {
            tool: undo.tool.clone(),
            arguments: undo.arguments.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect(),
        });
    }
    for (kind, failure) in &config.failures {
        contract.failures.insert(
            kind.clone(),
            FailureTerm {
                retry: failure.retry,
                tell: failure.tell.clone(),
                matches: failure.matches.clone(),
                when: failure.when.as_ref().map(|when| when.0.clone()),
            },
        );
    }
    for (name, rule) in &config.deny {
        let rule = DenyRule { when: rule.when.0.clone(), tell: rule.tell.clone() };
        contract.deny.insert(name.clone(), rule);
    }
    contract.records.extend(config.records.iter().map(record_term));
    contract.arguments.extend(
        config.arguments.iter().map(|(name, argument)| (name.clone(), argument_term(argument))),
    );
    if let Some(returns) = &config.returns {
        contract.returns = match returns {
            ReturnsConfig::Untrusted => Returns::Untrusted,
            ReturnsConfig::Trusted => Returns::Trusted,
            ReturnsConfig::TrustedBut(places) => Returns::TrustedBut(places_of(places)),
        };
    }
    if let Some(readers) = &config.readers {
        contract.readers = Some(readers.iter().cloned().collect());
    }
    if let Some(audience) = &config.audience {
        contract.audience = Some(audience.iter().map(|name| name.0.clone()).collect());
    }
    contract.creates.extend(places_of(&config.creates));
    contract.leaves |= config.leaves;
    contract.people = config.people.unwrap_or(contract.people).max(1);
    contract.empty_fails |= config.empty == EmptyConfig::Error;
    if let Some(retry) = &config.retry {
        contract.retry = retry.over(contract.retry);
    }
    contract.timeout_ms = config.timeout_ms.unwrap_or(contract.timeout_ms);
    contract.result_bytes_max = config.result_bytes_max.unwrap_or(contract.result_bytes_max);
    contract.parallel = config.parallel.unwrap_or(contract.parallel);
    contract
}

impl RetryConfig {
    /// Returns `base` with all that this declares.
    pub(crate) fn over(&self, base: RetryPolicy) -> RetryPolicy {
        let backoff_ms = self.backoff_ms.unwrap_or(base.backoff_ms);
        RetryPolicy {
            attempts_max: self.attempts_max.unwrap_or(base.attempts_max),
            backoff_ms,
            backoff_ms_max: self.backoff_ms_max.unwrap_or(base.backoff_ms_max).max(backoff_ms),
            deadline_ms: self.deadline_ms.or(base.deadline_ms),
        }
    }
}

/// Returns places without the `$.` that JSONPath begins with.
fn places_of(places: &[String]) -> Vec<String> {
    places.iter().map(|place| place.strip_prefix("$.").unwrap_or(place).to_owned()).collect()
}

fn argument_term(config: &ArgumentConfig) -> ArgumentTerm {
    let kind = |kind| match kind {
        ArgumentKindConfig::Content => ArgumentKind::Content,
        ArgumentKindConfig::Closed => ArgumentKind::Closed,
        ArgumentKindConfig::Money => ArgumentKind::Money,
        ArgumentKindConfig::DestructiveId => ArgumentKind::DestructiveId,
        ArgumentKindConfig::Identity => ArgumentKind::Identity,
    };
    match config {
        ArgumentConfig::Kind(of) => ArgumentTerm::of(kind(*of)),
        ArgumentConfig::Bounded(bounded) => ArgumentTerm {
            kind: kind(bounded.kind),
            max: bounded.max,
            members: bounded.members.clone(),
        },
    }
}

fn containment(setting: ContainmentSetting) -> Option<Containment> {
    const HOUR_MS: u64 = 60 * 60 * 1000;
    let config = match setting {
        ContainmentSetting::Off(ContainmentOff::Off) => return None,
        ContainmentSetting::On(config) => config,
    };
    let default = Containment::default();
    Some(Containment {
        plan: config.plan.unwrap_or(default.plan),
        unplanned: match config.unplanned {
            UnplannedConfig::Refuse => Unplanned::Refuse,
            UnplannedConfig::Ask => Unplanned::Ask,
        },
        expires_ms: config
            .expires_hours
            .map_or(default.expires_ms, |hours| u64::from(hours) * HOUR_MS),
    })
}

fn limits(config: LimitsConfig) -> Limits {
    let default = Limits::default();
    Limits {
        repeats_max: config.repeats_max.unwrap_or(default.repeats_max),
        continues_max: config.continues_max.unwrap_or(default.continues_max),
        repairs_max: config.repairs_max.unwrap_or(default.repairs_max),
        malformed_turns_max: config.malformed_turns_max.unwrap_or(default.malformed_turns_max),
    }
}

/// Returns whether `name` is what `pattern` says, where `*` is any text and `?` any character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    walk(pattern, name).contains(&pattern.len())
}

/// Returns whether some text that begins with `prefix` and goes on is what `pattern` says.
fn may_begin(pattern: &str, prefix: &str) -> bool {
    walk(pattern, prefix).iter().any(|at| *at < pattern.len())
}

/// Returns the positions in `pattern` that reading `text` can lead to.
fn walk(pattern: &str, text: &str) -> BTreeSet<usize> {
    let pattern = pattern.as_bytes();
    let mut at = BTreeSet::from([0]);
    skip_stars(pattern, &mut at);
    for byte in text.bytes() {
        let mut next: BTreeSet<usize> = at
            .iter()
            .filter_map(|position| match pattern.get(*position)? {
                b'*' => Some(*position),
                b'?' => Some(position + 1),
                literal => (*literal == byte).then_some(position + 1),
            })
            .collect();
        skip_stars(pattern, &mut next);
        at = next;
    }
    at
}

/// A star may stand for nothing.
fn skip_stars(pattern: &[u8], at: &mut BTreeSet<usize>) {
    let mut queue: Vec<usize> = at.iter().copied().collect();
    while let Some(position) = queue.pop() {
        if pattern.get(position) == Some(&b'*') && at.insert(position + 1) {
            queue.push(position + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches("bank__*", "bank__pay"));
        assert!(matches("*", "anything") && matches("**", "") && matches("b?nk__p*y", "bank__pay"));
        assert!(!matches("bank__", "bank__pay") && !matches("pay", "bank__pay"));
        assert!(!matches("", "x") && matches("", ""));
    }

    #[test]
    fn patterns_tell_which_servers_they_may_mean() {
        for pattern in ["bank__*", "bank__pay", "*", "ba*", "*pay", "b?nk__x"] {
            assert!(may_begin(pattern, "bank__"), "{pattern}");
        }
        for pattern in ["read", "bank", "bank__", "docs__*", "ba"] {
            assert!(!may_begin(pattern, "bank__"), "{pattern}");
        }
    }
}
