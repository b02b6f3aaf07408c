//! The project of `examples/agentdojo`, as one run has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, json};

use super::zygote::Zygote;
use super::{Pair, SUITES};

/// What an amount may be that a plan leaves open, where there is a limit.
const AMOUNT_MAX: u32 = 2_000;

/// What the operator lays down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contracts {
    /// Nothing: the agent is not contained.
    None,
    /// The example's contracts.
    Plain,
    /// The same, and a limit to amounts of money.
    Capped,
}

impl Contracts {
    pub fn words(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Plain => "amounts asked about".to_owned(),
            Self::Capped => format!("amounts up to {AMOUNT_MAX} left open"),
        }
    }
}

/// The example's files.
pub struct Example {
    yaml: String,
    agents: Vec<(&'static str, String)>,
}

impl Example {
    pub fn read() -> Result<Self> {
        let folder = crate::root().join("examples/agentdojo");
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let agents = ["agents/banking.md", "agents/travel.md"];
        let agents = agents.into_iter().map(|name| Ok((name, read(name)?)));
        Ok(Self { yaml: read("prusik.yaml")?, agents: agents.collect::<Result<_>>()? })
    }

    /// Returns whether a limit to amounts says anything of a suite's tools.
    pub fn knows_money(&self, suite: &str) -> bool {
        let mut tool = "";
        for line in self.yaml.lines() {
            if let Some(rest) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
                tool = rest;
            }
            if line.contains(MONEY) && tool.starts_with(suite) {
                return true;
            }
        }
        false
    }

    /// Returns whether a tool, by its name with the server's, changes nothing.
    pub fn is_read(&self, tool: &str) -> bool {
        let declared = format!("  {tool}: {{ effect: read");
        self.yaml.lines().any(|line| line.starts_with(&declared))
    }

    /// Writes the project for one run. `model` is the address of its model's server, `server` what starts
    /// its MCP server.
    pub fn write(
        &self,
        folder: &Path,
        contracts: Contracts,
        model: &str,
        pair: &Pair,
        zygote: &Zygote,
    ) -> Result<()> {
        let yaml = replaced(&self.yaml, MODEL, &format!("{MODEL}, base_url: \"{model}\""))?;
        let yaml = match contracts {
            Contracts::None | Contracts::Plain => yaml,
            Contracts::Capped => {
                replaced(&yaml, MONEY, &format!("amount: {{ kind: money, max: {AMOUNT_MAX} }}"))?
            }
        };
        fs::create_dir_all(folder.join("agents"))?;
        fs::write(folder.join("prusik.yaml"), yaml)?;
        for (name, agent) in &self.agents {
            let agent = match contracts {
                Contracts::None => replaced(agent, CONTAINED, "containment: off\n")?,
                Contracts::Plain | Contracts::Capped => agent.clone(),
            };
            fs::write(folder.join(name), agent)?;
        }
        let relay = std::env::current_exe().context("cannot find this program")?;
        let mut args =
            vec!["dojo-relay".to_owned(), zygote.socket().to_string_lossy().into_owned()];
        args.extend(pair.arguments("serve"));
        args.extend([
            "--trace".to_owned(),
            folder.join("trace.jsonl").to_string_lossy().into_owned(),
        ]);
        // The file declares both, and the agent needs one of them.
        let server = json!({ "command": relay, "args": args });
        let servers: Map<_, _> =
            SUITES.map(|name| (name.to_owned(), server.clone())).into_iter().collect();
        let servers = json!({ "mcpServers": servers });
        fs::write(folder.join(".mcp.json"), servers.to_string())?;
        Ok(())
    }
}

const MODEL: &str = "provider: anthropic, model: claude-sonnet-4-5";
const MONEY: &str = "amount: money";
const CONTAINED: &str = "containment: {}\n";

/// Puts another text in the place of one that must be there.
fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    ensure!(text.contains(from), "examples/agentdojo does not say `{}` any more", from.trim());
    Ok(text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_what_the_variants_are_made_of() {
        let example = Example::read().unwrap();
        assert!(example.knows_money("banking") && !example.knows_money("travel"));
        assert!(example.is_read("banking__read_file") && !example.is_read("banking__send_money"));
        assert!(!example.is_read("banking__read"));
        for (text, from) in [(&example.yaml, MODEL), (&example.yaml, MONEY)] {
            assert!(replaced(text, from, "other").is_ok());
        }
        for (_, agent) in &example.agents {
            assert!(replaced(agent, CONTAINED, "containment: off\n").is_ok());
        }
        assert!(replaced("other", MONEY, "").is_err());
    }
}
