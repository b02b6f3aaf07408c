//! Names: accepted by providers, and told apart by people and models. And tools that are not there.

use std::collections::BTreeMap;

use crate::catalogue::{Catalogue, Provider, ToolEntry};
use crate::finding::{Finding, Severity};
use crate::rule::Rule;

/// Longest name that Anthropic takes: `^[a-zA-Z0-9_-]{1,128}$`.
const ANTHROPIC_MAX: usize = 128;
/// Longest name that OpenAI takes: `^[a-zA-Z0-9_-]{1,64}$`.
const OPENAI_MAX: usize = 64;

pub(crate) fn check(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    for tool in &catalogue.tools {
        refused(catalogue, tool, found);
    }
    collide(catalogue, found);
}

/// Finds tools that a server has and no model gets, contracts of tools that no server has, and
/// tools that are not as they were locked.
pub(crate) fn check_absent(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    for left_out in &catalogue.left_out {
        let message = format!("it is offered to no model: {}", left_out.reason);
        let help = format!("the server `{}` has to mend it", left_out.server);
        let mut finding = Finding::new(Rule::ToolLeftOut, message, help);
        finding.tool = Some(left_out.name.clone());
        finding.place.clone_from(&left_out.place);
        found.push(finding);
    }
    for stray in &catalogue.strays {
        let own = catalogue.tools.iter().filter(|tool| tool.server.as_ref() == Some(&stray.server));
        let near = own
            .map(|tool| (strsim::jaro_winkler(&tool.name, &stray.name), &tool.name))
            .filter(|(score, _)| *score > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let help = match near {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => "remove the contract, or mend its name".to_owned(),
        };
        let message = format!("the server `{}` has no such tool", stray.server);
        let mut finding = Finding::new(Rule::ContractWithoutTool, message, help);
        finding.tool = Some(stray.name.clone());
        finding.place.clone_from(&stray.place);
        found.push(finding);
    }
    for drift in &catalogue.drifts {
        let help = "review what its server says now; `prusik lock` then writes the lock anew";
        let mut finding = Finding::new(Rule::LockDiffers, &drift.what, help);
        finding.tool = Some(drift.name.clone());
        finding.place.clone_from(&drift.place);
        found.push(finding);
    }
}

fn refused(catalogue: &Catalogue, tool: &ToolEntry, found: &mut Vec<Finding>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = tool.name.chars().count();
    let asks_openai = catalogue
        .agents
        .iter()
        .any(|agent| agent.provider == Provider::OpenAi && agent.tools.contains(&tool.name));
    let (message, severity) = if tool.name.is_empty() || !tool.name.bytes().all(is_plain) {
        let message = "its name holds more than letters, digits, `_` and `-`".to_owned();
        (message, Severity::Error)
    } else if length > ANTHROPIC_MAX {
        let message = format!(
            "its name has {length} characters; no provider takes more than {ANTHROPIC_MAX}"
        );
        (message, Severity::Error)
    } else if length > OPENAI_MAX {
        let message = format!("its name has {length} characters; OpenAI takes {OPENAI_MAX}");
        (message, if asks_openai { Severity::Error } else { Severity::Note })
    } else {
        return;
    };
    let help = "the server's name is the part that is yours: shorten it in prusik.yaml";
    let mut finding = Finding::new(Rule::NameRefused, message, help).with_severity(severity);
    finding.tool = Some(tool.name.clone());
    finding.place.clone_from(&tool.place);
    "/name".clone_into(&mut finding.at);
    found.push(finding);
}

/// Returns a name as somebody hears it.
fn heard(name: &str) -> String {
    name.chars().filter(|char| !matches!(char, '_' | '-')).flat_map(char::to_lowercase).collect()
}

fn collide(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    let mut whole: BTreeMap<String, Vec<&ToolEntry>> = BTreeMap::new();
    let mut own: BTreeMap<String, Vec<&ToolEntry>> = BTreeMap::new();
    for tool in &catalogue.tools {
        whole.entry(heard(&tool.name)).or_default().push(tool);
        own.entry(heard(tool.own_name())).or_default().push(tool);
    }
    let mut push = |tools: &[&ToolEntry], message: String, help: &str, severity: Severity| {
        let mut finding = Finding::new(Rule::NamesCollide, message, help).with_severity(severity);
        finding.tool = Some(tools[0].name.clone());
        finding.others = tools[1..].iter().map(|tool| tool.name.clone()).collect();
        finding.place.clone_from(&tools[0].place);
        "/name".clone_into(&mut finding.at);
        found.push(finding);
    };
    let quoted = |tools: &[&ToolEntry]| -> String {
        tools.iter().map(|tool| format!("`{}`", tool.name)).collect::<Vec<_>>().join(", ")
    };
    for tools in whole.values().filter(|tools| tools.len() > 1) {
        let message = format!("{} differ only in case, `-` or `_`", quoted(tools));
        let help = "rename the server of one: a model, a log and a contract will take one for the \
                    other";
        push(tools, message, help, Severity::Warning);
    }
    for tools in own.values().filter(|tools| tools.len() > 1) {
        let is_told = tools.iter().all(|tool| heard(&tool.name) == heard(&tools[0].name));
        if !is_told {
            let message = format!("{} have the same name of their own", quoted(tools));
            let help = "only the server's name tells them apart: choose it so that it says whose \
                        they are, and leave out what no agent needs";
            push(tools, message, help, Severity::Note);
        }
    }
}
