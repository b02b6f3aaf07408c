//! What can be wrong between the parts of a project: references, missing files, limits.

use std::collections::BTreeMap;

use prusik_core::run::{PLAN, RECALL, RECORD};
use prusik_tool::builtin_contract;

use super::config::{CassetteMode, ContractConfig, Effect, KeyConfig, ModelConfig, Provider};
use super::definition::contract as whole;
use super::error::{ProjectError, nearest, suggestion};
use super::servers::is_http;
use super::{AgentEntry, BUILT_IN_TOOLS, Project, context};
use crate::terms::{WINDOW_TOKENS_MIN, mistaken_for_context, mistaken_for_groups, mistaken_terms};

/// Longest name of a group.
const GROUP_NAME_BYTES_MAX: usize = 64;

/// Checks everything; mistakes go to `errors`.
pub(crate) fn project(project: &Project, errors: &mut Vec<ProjectError>) {
    for (alias, config) in &project.config.models {
        model(project, alias, config, errors);
    }
    for (name, config) in &project.config.tools {
        contract(project, name, config, errors);
    }
    groups(project, errors);
    super::sandbox::check(project, errors);
    super::review::check_allowed(project, errors);
    let own = project.own.iter().map(|tool| tool.name.as_str());
    errors.extend(mistaken_for_context(own).into_iter().map(|m| project.source.error(&[], m)));
    for agent in &project.agents {
        agent_model(project, agent, errors);
        context::check(project, agent, errors);
    }
}

fn model(project: &Project, alias: &str, config: &ModelConfig, errors: &mut Vec<ProjectError>) {
    let provider = config.provider;
    let mut fail = |key: &str, message: String, help: &str| {
        let error = project.source.error(&["models", alias, key], message);
        errors.push(if help.is_empty() { error } else { error.with_help(help) });
    };
    let live = matches!(provider, Provider::Anthropic | Provider::Openai);
    let scripted = provider == Provider::Scripted;
    let recorded = provider == Provider::Recorded;
    let belongs = [
        ("base_url", config.base_url.is_some(), live),
        ("api_key", config.api_key.is_some(), live),
        ("script", config.script.is_some(), scripted),
        ("cassette", config.cassette.is_some(), recorded),
        ("mode", config.mode.is_some(), recorded),
        ("of", config.of.is_some(), recorded),
    ];
    for (key, set, allowed) in belongs {
        if set && !allowed {
            let message = format!("`{key}` means nothing to provider `{}`", provider.as_str());
            fail(key, message, "remove it, or choose another `provider`");
        }
    }
    let needs = |key: &str| format!("a model of provider `{}` needs `{key}`", provider.as_str());
    if live && config.model.is_none() {
        fail("model", needs("model"), "add the provider's name of the model as `model:`");
    }
    if scripted && config.script.is_none() {
        fail("script", needs("script"), "add `script: scripts/NAME.yaml`");
    }
    if recorded && config.cassette.is_none() {
        fail("cassette", needs("cassette"), "add `cassette: cassettes/NAME.jsonl`");
    }
    if let Some(url) = config.base_url.as_deref().filter(|url| !is_http(url)) {
        let message = format!("`{url}` is not an address");
        fail("base_url", message, "write it with http:// or https://");
    }
    if config.max_tokens == 0 {
        fail("max_tokens", "an answer needs tokens".to_owned(), "leave it out for 4096");
    }
    if config.window_tokens.is_some_and(|tokens| tokens < WINDOW_TOKENS_MIN) {
        let message = format!("a window has {WINDOW_TOKENS_MIN} tokens at least");
        fail("window_tokens", message, "leave it out, or say what the model can take in");
    }
    if config.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        fail("temperature", "a temperature is between 0 and 2".to_owned(), "");
    }
    if config.thinking_tokens.is_some_and(|tokens| tokens == 0 || tokens >= config.max_tokens) {
        let message = format!(
            "the model may think for 1 to {} tokens: they count towards `max_tokens`",
            config.max_tokens.saturating_sub(1)
        );
        fail("thinking_tokens", message, "raise `max_tokens`, or leave this out");
    }
    let relative = "paths are relative to the project's folder";
    if let Some(script) = config.script.as_deref().filter(|_| scripted)
        && !project.root.join(script).is_file()
    {
        fail("script", format!("there is no file {}", script.display()), relative);
    }
    let mode = config.mode.unwrap_or_default();
    if let Some(cassette) = config.cassette.as_deref().filter(|_| recorded)
        && mode == CassetteMode::Replay
        && !project.root.join(cassette).is_file()
    {
        let message = format!("there is no recording {}", cassette.display());
        fail("cassette", message, "make one: `mode: record`, and `of:` the model to record");
    }
    if recorded {
        recorded_of(project, mode, config.of.as_deref(), &mut fail);
    }
}

fn recorded_of(
    project: &Project,
    mode: CassetteMode,
    of: Option<&str>,
    fail: &mut dyn FnMut(&str, String, &str),
) {
    match of {
        None if mode == CassetteMode::Record => {
            let message = "`mode: record` needs the model to record".to_owned();
            fail("of", message, "add `of:` and its alias");
        }
        None => {}
        Some(of) => match project.config.models.get(of) {
            None => {
                let aliases = project.config.models.keys().map(String::as_str);
                let help = suggestion(of, "models", aliases);
                fail("of", format!("there is no model `{of}`"), &help);
            }
            Some(target) if target.provider == Provider::Recorded => {
                let message = "a recording is made of a model that is not one itself".to_owned();
                fail("of", message, "");
            }
            Some(_) => {}
        },
    }
}

fn contract(
    project: &Project,
    name: &str,
    config: &ContractConfig,
    errors: &mut Vec<ProjectError>,
) {
    let mut fail = |path: &[&str], message: String, help: &str| {
        let path: Vec<&str> = ["tools", name].iter().chain(path).copied().collect();
        let error = project.source.error(&path, message);
        errors.push(if help.is_empty() { error } else { error.with_help(help) });
    };
    if let Err((message, help)) = tool_exists(project, name) {
        fail(&[], message, &help);
    }
    let own = project.own.iter().find(|tool| tool.name == name);
    let built_in = own.and_then(|tool| tool.contract.clone()).or_else(|| builtin_contract(name));
    for mistake in mistaken_terms(&whole(Some(config), built_in.as_ref())) {
        let path: Vec<&str> = mistake.path.iter().map(String::as_str).collect();
        fail(&path, mistake.message, &mistake.help);
    }
    for (kind, failure) in &config.failures {
        if failure.when.is_some() && failure.matches.is_some() {
            let message = "`when` and `matches` say the same in two ways".to_owned();
            fail(&["failures", kind, "matches"], message, "keep one of them");
        }
    }
    let others = [
        ("probe", config.probe.as_ref().map(|probe| probe.tool.as_str())),
        ("undo", config.undo.as_ref().map(|undo| undo.tool.as_str())),
    ];
    for (key, tool) in others {
        let Some(tool) = tool else { continue };
        if let Err((message, help)) = tool_exists(project, tool) {
            fail(&[key, "tool"], message, &help);
        }
    }
    examples(project, config, &mut fail);
    if let Some(probe) = &config.probe {
        let declared = project.config.tools.get(&probe.tool).and_then(|other| other.effect);
        let own = project.own.iter().any(|tool| tool.name == probe.tool);
        let built_in = own || BUILT_IN_TOOLS.contains(&probe.tool.as_str());
        if declared != Some(Effect::Read) && !(built_in && declared.is_none()) {
            let message = format!("the probe `{}` is not declared a read", probe.tool);
            let help = format!("add `{}: {{ effect: read }}` under `tools`", probe.tool);
            fail(&["probe", "tool"], message, &help);
        }
    }
}

fn groups(project: &Project, errors: &mut Vec<ProjectError>) {
    if !project.config.groups.is_empty() {
        let own = project.own.iter().map(|tool| tool.name.as_str());
        let mistakes = mistaken_for_groups(own).into_iter();
        errors.extend(mistakes.map(|mistake| project.source.error(&["groups"], mistake)));
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, config) in &project.config.groups {
        let mut fail = |index: Option<usize>, message: String, help: &str| {
            let index = index.map(|index| index.to_string());
            let mut path = vec!["groups", name];
            path.extend(index.iter().flat_map(|index| ["tools", index]));
            errors.push(project.source.error(&path, message).with_help(help));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > GROUP_NAME_BYTES_MAX || !name.chars().all(plain) {
            let message = format!("`{name}` cannot be the name of a group");
            fail(None, message, "use letters, digits, `-` and `_`, at most 64 of them");
        }
        if config.tools.is_empty() {
            fail(None, format!("the group `{name}` holds no tools"), "name at least one");
        }
        for (index, tool) in config.tools.iter().enumerate() {
            if let Err((message, help)) = tool_exists(project, tool) {
                fail(Some(index), message, &help);
            }
            if project.config.tools.get(tool).and_then(|tool| tool.effect) == Some(Effect::Read) {
                let message = format!("`{tool}` is a read, so there is nothing to take back");
                fail(Some(index), message, "leave it out of the group");
            }
            if let Some(other) = taken.insert(tool, name) {
                let message = format!("`{tool}` stands in the group `{other}` already");
                fail(Some(index), message, "a call belongs to one group at most");
            }
        }
    }
}

fn examples(
    project: &Project,
    config: &ContractConfig,
    fail: &mut dyn FnMut(&[&str], String, &str),
) {
    for (index, example) in config.examples.iter().enumerate() {
        let index = index.to_string();
        if let Some(kind) =
            example.fails.as_ref().filter(|kind| !config.failures.contains_key(*kind))
        {
            let message = format!("the tool declares no failure `{kind}`");
            let kinds = config.failures.keys().map(String::as_str);
            let help = suggestion(kind, "failures", kinds);
            fail(&["examples", &index, "fails"], message, &help);
        }
        for (nth, setup) in example.after.iter().enumerate() {
            if let Err((message, help)) = tool_exists(project, &setup.tool) {
                fail(&["examples", &index, "after", &nth.to_string(), "tool"], message, &help);
            }
        }
        if let Some(KeyConfig::Argument(name)) = &config.key
            && example.arguments.contains_key(name)
        {
            let message = format!("`{name}` is the key, which is made for each call");
            fail(&["examples", &index, "arguments", name], message, "remove it");
        }
    }
}

/// Checks what can be known of a tool before its server is asked: that there is such a server.
fn tool_exists(project: &Project, name: &str) -> Result<(), (String, String)> {
    let of_a_server = project.servers.keys().any(|server| {
        name.strip_prefix(server.as_str()).is_some_and(|rest| rest.starts_with("__"))
    });
    let own = project.own.iter().any(|tool| tool.name == name);
    if of_a_server || own || BUILT_IN_TOOLS.contains(&name) {
        return Ok(());
    }
    if let Some((server, tool)) = name.split_once("__") {
        let servers = project.servers.keys().map(String::as_str);
        let help = suggestion(server, "servers", servers);
        return Err((
            format!("there is no server `{server}` for the tool `{server}__{tool}`"),
            help,
        ));
    }
    let help = match nearest(name, BUILT_IN_TOOLS) {
        _ if [RECORD, RECALL, PLAN].contains(&name) => {
            format!("`{name}` comes with every agent, and its contract is fixed")
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "a server's tool is written `server__tool`; the built-in ones are {}",
            BUILT_IN_TOOLS.join(", ")
        ),
    };
    Err((format!("there is no built-in tool `{name}`"), help))
}

fn agent_model(project: &Project, agent: &AgentEntry, errors: &mut Vec<ProjectError>) {
    let alias = project.model_alias(agent);
    let Some(spec) = project.model_spec(alias) else {
        let aliases = project.config.models.keys().map(String::as_str);
        let message = match &agent.config.model {
            Some(alias) => format!("there is no model `{alias}`"),
            None => "there is no model `default`, and the agent names no other".to_owned(),
        };
        let help = if project.config.models.is_empty() {
            "add one to prusik.yaml: `models: { default: { provider: …, model: … } }`".to_owned()
        } else {
            suggestion(alias, "models", aliases)
        };
        errors.push(agent.source.error(&["model"], message).with_help(help));
        return;
    };
    if project.budget(agent).nano_usd.is_some() && spec.price.is_none() {
        let message = format!(
            "the budget is in USD, and the price of `{}` (model `{alias}`) is not known",
            spec.model
        );
        let help = format!(
            "add `price: {{ input: …, output: … }}` (USD for a million tokens) to `{alias}` in \
             prusik.yaml, 0 for what costs nothing"
        );
        let error = if agent.config.budget.usd.is_some() {
            agent.source.error(&["budget", "usd"], message)
        } else {
            project.source.error(&["budget", "usd"], message)
        };
        errors.push(error.with_help(help));
    }
}
