//! What a project declares of its tools, as a review needs it: with places.

use std::collections::BTreeMap;

use prusik_check::{
    AgentContext, AgentEntry, Allowed, Catalogue, Drift, GroupEntry, LeftOut, Rule, Settings,
    Stray, ToolEntry,
};
use prusik_core::agent::Agent;
use serde_json::Value;

use super::definition::{StrayContracts, contract};
use super::error::{ProjectError, ProjectErrors, suggestion};
use super::lock::{LockDifference, Said};
use super::{PROJECT_FILE, Place, Project, Provider, ToolFacts};

/// A tool as a server or the lock has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTool {
    pub facts: ToolFacts,
    /// The MCP annotations.
    pub hints: Option<Value>,
    /// Why no model can be offered it, if none can.
    pub left_out: Option<String>,
}

impl<'a> From<&'a ListedTool> for Said<'a> {
    fn from(tool: &'a ListedTool) -> Self {
        Self {
            name: &tool.facts.name,
            description: &tool.facts.description,
            input_schema: &tool.facts.input_schema,
            output_schema: tool.facts.output_schema.as_ref(),
            annotations: tool.hints.as_ref(),
            left_out: tool.left_out.as_deref(),
        }
    }
}

/// Whether all servers of a project were heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    All,
    /// What is not there may well be: nothing is said of tools that are missing.
    NotAll,
}

/// Checks that every exception names a rule and gives a reason.
pub(super) fn check_allowed(project: &Project, errors: &mut Vec<ProjectError>) {
    let mut check = |path: &[&str], allow: &BTreeMap<String, String>| {
        for (id, reason) in allow {
            let path: Vec<&str> = path.iter().copied().chain([id.as_str()]).collect();
            if Rule::from_id(id).is_none() {
                let ids: Vec<&str> = Rule::all().map(Rule::id).collect();
                let error = project.source.error(&path, format!("there is no rule `{id}`"));
                errors.push(error.with_help(suggestion(id, "rules", ids)));
            } else if reason.trim().is_empty() {
                let message = format!("`{id}` is allowed without a reason");
                let help = "say why: whoever reads it next has to judge whether it still holds";
                errors.push(project.source.error(&path, message).with_help(help));
            }
        }
    };
    check(&["lint", "allow"], &project.config.lint.allow);
    for (name, config) in &project.config.tools {
        check(&["tools", name, "allow"], &config.allow);
    }
}

impl Project {
    /// Returns what a review looks at, and the agents with all that they hold.
    pub fn reviewed(
        &self,
        tools: &[ListedTool],
        heard: Heard,
        drift: &LockDifference,
    ) -> Result<(Catalogue, Vec<Agent>), ProjectErrors> {
        let mut catalogue = Catalogue {
            tools: tools.iter().map(|tool| self.review_entry(tool)).collect(),
            left_out: tools.iter().filter_map(|tool| self.review_left_out(tool)).collect(),
            drifts: self.review_drifts(drift),
            groups: self.review_groups(),
            settings: self.review_settings(),
            ..Catalogue::default()
        };
        let offered: Vec<ToolFacts> = tools
            .iter()
            .filter(|tool| tool.left_out.is_none())
            .map(|tool| tool.facts.clone())
            .collect();
        if heard == Heard::All {
            let known: Vec<&str> = tools.iter().map(|tool| tool.facts.name.as_str()).collect();
            catalogue.strays = self.review_strays(&known);
        }
        let mut agents = Vec::new();
        let rule = Rule::ContractWithoutTool;
        // A stray contract is an error of its own; what it entails need not be told beside it.
        let is_failure =
            !catalogue.strays.is_empty() && !catalogue.settings.allow.contains_key(&rule);
        for entry in self.agents() {
            match self.definition(Some(&entry.name), &offered, StrayContracts::Left) {
                Ok(agent) => agents.push(agent),
                Err(errors) if heard == Heard::All && !is_failure => return Err(errors),
                Err(_) => {}
            }
        }
        catalogue.agents = agents.iter().map(|agent| self.review_agent(agent)).collect();
        Ok((catalogue, agents))
    }

    fn review_groups(&self) -> Vec<GroupEntry> {
        let groups = self.config().groups.iter().map(|(name, config)| GroupEntry {
            name: name.clone(),
            tools: config.tools.clone(),
            place: Some(self.review_place(&["groups", name])),
        });
        groups.collect()
    }

    fn review_left_out(&self, tool: &ListedTool) -> Option<LeftOut> {
        let (server, _) = tool.facts.name.split_once("__")?;
        Some(LeftOut {
            name: tool.facts.name.clone(),
            place: self.server_place(server),
            server: server.to_owned(),
            reason: tool.left_out.clone()?,
        })
    }

    fn review_drifts(&self, drift: &LockDifference) -> Vec<Drift> {
        let of = |name: &String, what: String| {
            let server = name.split_once("__").map_or("", |(server, _)| server);
            Drift { name: name.clone(), what, place: self.server_place(server) }
        };
        let added = drift.added.iter().map(|name| of(name, "it is not in the lock".to_owned()));
        let changed = drift.changed.iter().map(|(name, what)| of(name, what.clone()));
        let removed = drift
            .removed
            .iter()
            .map(|name| of(name, "it is in the lock, and its server has it no more".to_owned()));
        added.chain(changed).chain(removed).collect()
    }

    fn review_agent(&self, agent: &Agent) -> AgentEntry {
        let provider = self.model(&agent.model.alias).map(|model| model.provider);
        AgentEntry {
            name: agent.name.clone(),
            provider: match provider {
                Some(Provider::Anthropic) => prusik_check::Provider::Anthropic,
                Some(Provider::Openai) => prusik_check::Provider::OpenAi,
                Some(Provider::Scripted | Provider::Recorded) | None => {
                    prusik_check::Provider::Offline
                }
            },
            tools: agent.tools.iter().filter(|t| t.shown).map(|t| t.name.clone()).collect(),
            tokens: agent.budget.tokens,
            turns: agent.budget.turns,
            context: AgentContext::of(agent),
            containment: agent.containment,
            place: None,
        }
    }

    /// Returns a place of `prusik.yaml` as a review tells it.
    fn review_place(&self, path: &[&str]) -> prusik_check::Place {
        let Place { line, column } = self.source.root.locate(path);
        prusik_check::Place { file: PROJECT_FILE.to_owned(), line, column }
    }

    fn review_allow(
        &self,
        path: &[&str],
        allow: &BTreeMap<String, String>,
    ) -> BTreeMap<Rule, Allowed> {
        let allowed = |(id, reason): (&String, &String)| {
            let path: Vec<&str> = path.iter().copied().chain([id.as_str()]).collect();
            let place = Some(self.review_place(&path));
            Some((Rule::from_id(id)?, Allowed { reason: reason.clone(), place }))
        };
        allow.iter().filter_map(allowed).collect()
    }

    /// Returns what a review takes for too much, and what it accepts for every tool.
    fn review_settings(&self) -> Settings {
        let config = &self.config.lint;
        let default = Settings::default();
        Settings {
            allow: self.review_allow(&["lint", "allow"], &config.allow),
            tools_max: config
                .tools_max
                .and_then(|max| usize::try_from(max).ok())
                .unwrap_or(default.tools_max),
            tool_tokens_max: config.tool_tokens_max.unwrap_or(default.tool_tokens_max),
        }
    }

    /// Returns a tool with all that the project declares of it.
    fn review_entry(&self, tool: &ListedTool) -> ToolEntry {
        let facts = &tool.facts;
        let name = facts.name.as_str();
        let config = self.config.tools.get(name);
        let server = self.server_of(name);
        let mut declared = BTreeMap::new();
        if let Some(built_in) = &facts.contract {
            for key in ["effect", "timeout_ms"] {
                declared.insert(key.to_owned(), None);
            }
            if built_in.key.is_some() {
                declared.insert("key".to_owned(), None);
            }
        }
        if let Some(config) = config {
            let keys = [
                ("effect", config.effect.is_some()),
                ("key", config.key.is_some()),
                ("probe", config.probe.is_some()),
                ("undo", config.undo.is_some()),
                ("failures", !config.failures.is_empty()),
                ("timeout_ms", config.timeout_ms.is_some()),
                ("retry", config.retry.is_some()),
                ("arguments", !config.arguments.is_empty()),
                ("deny", !config.deny.is_empty()),
                ("returns", config.returns.is_some()),
                ("leaves", config.leaves),
            ];
            for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
                let place = self.review_place(&["tools", name, key]);
                declared.insert((*key).to_owned(), Some(place));
            }
        }
        let place = match (config, &server) {
            (Some(_), _) => Some(self.review_place(&["tools", name])),
            (None, Some(server)) => self.server_place(server),
            (None, None) => None,
        };
        ToolEntry {
            name: facts.name.clone(),
            server,
            description: facts.description.clone(),
            input_schema: facts.input_schema.clone(),
            output_schema: facts.output_schema.clone(),
            hints: tool.hints.clone(),
            contract: contract(config, facts.contract.as_ref()),
            declared,
            place,
            allow: config.map_or_else(BTreeMap::new, |config| {
                self.review_allow(&["tools", name, "allow"], &config.allow)
            }),
        }
    }

    /// Returns the contracts of tools that are not among `known`, for servers that were asked.
    fn review_strays(&self, known: &[&str]) -> Vec<Stray> {
        let stray = |name: &String| {
            let server = self.server_of(name).filter(|_| !known.contains(&name.as_str()))?;
            let place = Some(self.review_place(&["tools", name]));
            Some(Stray { name: name.clone(), server, place })
        };
        self.config.tools.keys().filter_map(stray).collect()
    }

    /// Returns where a server is declared.
    fn server_place(&self, server: &str) -> Option<prusik_check::Place> {
        let file = self.server(server)?.file.display().to_string();
        if file == PROJECT_FILE {
            return Some(self.review_place(&["servers", server]));
        }
        Some(prusik_check::Place { file, line: 1, column: 1 })
    }

    fn server_of(&self, tool: &str) -> Option<String> {
        let (server, _) = tool.split_once("__")?;
        self.server(server).map(|server| server.name.clone())
    }
}
