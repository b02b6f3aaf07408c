//! The MCP servers of a project: those of `prusik.yaml`, and those of `.mcp.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::config::{
    BreakerConfig, ProjectFile, SandboxConfig, ServerConfig, default_start_timeout_ms,
};
use super::error::ProjectError;
use super::source::{Source, read_text};
use super::typed;
use super::values::Template;

/// Names that a header with a secret has.
const SECRET_HEADERS: [&str; 5] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"];

/// An MCP server and how it is reached.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    /// Where it is declared: `prusik.yaml` or `.mcp.json`.
    pub file: PathBuf,
    pub transport: Transport,
    pub start_timeout_ms: u64,
    pub breaker: BreakerConfig,
    /// What its program runs in.
    pub sandbox: Option<SandboxConfig>,
}

impl Server {
    /// Returns the files that hold its secrets.
    pub fn secret_files(&self) -> Vec<&Path> {
        let templates: Vec<&Template> = match &self.transport {
            Transport::Stdio { command, args, env, .. } => {
                [command].into_iter().chain(args).chain(env.values()).collect()
            }
            Transport::Http { url, headers } => [url].into_iter().chain(headers.values()).collect(),
            Transport::Unsupported { .. } => Vec::new(),
        };
        templates.into_iter().filter_map(Template::secret_file).collect()
    }
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    Stdio {
        command: Template,
        args: Vec<Template>,
        env: BTreeMap<String, Template>,
        /// Absolute if the project's folder is.
        cwd: PathBuf,
    },
    Http {
        url: Template,
        headers: BTreeMap<String, Template>,
    },
    /// A transport of `.mcp.json` that Prusik does not speak: an error once the server is needed.
    Unsupported {
        kind: String,
    },
}

/// `.mcp.json` as other programs write it; keys that only they know are left alone.
#[derive(Debug, Deserialize)]
struct McpFile {
    #[serde(default, rename = "mcpServers")]
    servers: BTreeMap<String, McpServer>,
}

#[derive(Debug, Deserialize)]
struct McpServer {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    command: Option<Template>,
    #[serde(default)]
    args: Vec<Template>,
    #[serde(default)]
    env: BTreeMap<String, Template>,
    #[serde(default)]
    url: Option<Template>,
    #[serde(default)]
    headers: BTreeMap<String, Template>,
}

/// Returns all servers by name. A server of `prusik.yaml` takes the place of one of `.mcp.json`.
pub(crate) fn load(
    root: &Path,
    source: &Source,
    config: &ProjectFile,
    errors: &mut Vec<ProjectError>,
) -> BTreeMap<String, Server> {
    let mut servers = load_mcp_json(root, errors);
    for (name, server) in &config.servers {
        if let Some(transport) = transport(root, source, name, server, errors) {
            servers.insert(
                name.clone(),
                Server {
                    name: name.clone(),
                    file: source.file.clone(),
                    transport,
                    start_timeout_ms: server.start_timeout_ms,
                    breaker: server.breaker,
                    sandbox: server.sandbox.clone(),
                },
            );
        }
    }
    servers
}

fn transport(
    root: &Path,
    source: &Source,
    name: &str,
    server: &ServerConfig,
    errors: &mut Vec<ProjectError>,
) -> Option<Transport> {
    let before = errors.len();
    let mut fail = |key: &str, message: String, help: &str| {
        errors.push(source.error(&["servers", name, key], message).with_help(help));
    };
    if !is_server_name(name) {
        let message = format!("`{name}` cannot be the name of a server");
        fail("", message, "use up to 32 letters, digits, `-` and single `_`");
    }
    if server.start_timeout_ms == 0 {
        fail("start_timeout_ms", "a server cannot start in 0 ms".to_owned(), "leave it out");
    }
    let transport = match (&server.command, &server.url) {
        (Some(_), Some(_)) => {
            let message = format!("the server `{name}` has both `command` and `url`");
            fail("url", message, "keep one: a program that is started, or an address");
            return None;
        }
        (None, None) => {
            let message = format!("the server `{name}` has neither `command` nor `url`");
            fail("", message, "add `command: PROGRAM` or `url: https://…/mcp`");
            return None;
        }
        (Some(command), None) => {
            if !server.headers.is_empty() {
                let message = "`headers` are for a server with `url`".to_owned();
                fail("headers", message, "a program takes its secrets from `env`");
            }
            let cwd = root.join(server.cwd.as_deref().unwrap_or(Path::new("")));
            if server.cwd.is_some() && !cwd.is_dir() {
                fail("cwd", "there is no such folder".to_owned(), "it is relative to the project");
            }
            Transport::Stdio {
                command: command.clone(),
                args: server.args.clone(),
                env: server.env.clone(),
                cwd,
            }
        }
        (None, Some(url)) => {
            for (key, set) in [
                ("args", !server.args.is_empty()),
                ("env", !server.env.is_empty()),
                ("cwd", server.cwd.is_some()),
                ("sandbox", server.sandbox.is_some()),
            ] {
                if set {
                    fail(key, format!("`{key}` is for a server with `command`"), "remove it");
                }
            }
            if url.literal().is_some_and(|url| !is_http(url)) {
                let message = "a server's address begins with http:// or https://".to_owned();
                fail("url", message, "write the whole address, such as https://example.com/mcp");
            }
            for (header, value) in &server.headers {
                let secret = SECRET_HEADERS.contains(&header.to_lowercase().as_str());
                if secret && value.literal().is_some() {
                    errors.push(
                        source
                            .error(
                                &["servers", name, "headers", header],
                                format!("the secret in `{header}` does not belong into this file"),
                            )
                            .with_help("write env:NAME, file:PATH or `Bearer ${NAME}`"),
                    );
                }
            }
            Transport::Http { url: url.clone(), headers: server.headers.clone() }
        }
    };
    (errors.len() == before).then_some(transport)
}

fn load_mcp_json(root: &Path, errors: &mut Vec<ProjectError>) -> BTreeMap<String, Server> {
    let file = Path::new(".mcp.json");
    if !root.join(file).exists() {
        return BTreeMap::new();
    }
    let source = match read_text(&root.join(file), file) {
        Ok(text) => Source::json(file.to_owned(), &text, errors),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let Some(source) = source else { return BTreeMap::new() };
    let Some(config) = typed::read_tolerant::<McpFile>(&source, errors) else {
        return BTreeMap::new();
    };
    let mut servers = BTreeMap::new();
    for (name, server) in config.servers {
        let kind = server.kind.as_deref().unwrap_or("");
        let transport = match (server.command, server.url) {
            (_, Some(_)) if kind == "sse" => Transport::Unsupported { kind: kind.to_owned() },
            (None, Some(url)) => Transport::Http { url, headers: server.headers },
            (Some(command), _) => Transport::Stdio {
                command,
                args: server.args,
                env: server.env,
                cwd: root.to_owned(),
            },
            (None, None) => {
                let message = format!("the server `{name}` has neither `command` nor `url`");
                errors.push(source.error(&["mcpServers", &name], message));
                continue;
            }
        };
        let foreign = name;
        let name = own_server_name(&foreign);
        if name.is_empty() {
            let message = format!("`{foreign}` cannot be the name of a server");
            let help = "it needs a letter or a digit: it becomes part of the tools' names";
            errors.push(source.error(&["mcpServers", &foreign], message).with_help(help));
            continue;
        }
        let server = Server {
            name: name.clone(),
            file: file.to_owned(),
            transport,
            start_timeout_ms: default_start_timeout_ms(),
            breaker: BreakerConfig::default(),
            sandbox: None,
        };
        servers.insert(name, server);
    }
    servers
}

fn is_server_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Other programs allow any name; here it becomes part of a tool's name.
fn own_server_name(name: &str) -> String {
    let mut own = String::new();
    for c in name.chars().take(32) {
        let c = if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        if c != '_' || !own.ends_with('_') {
            own.push(c);
        }
    }
    own.trim_matches('_').to_owned()
}

pub(crate) fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(' '))
}

/// Returns whether an address lies on this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_the_host_alone() {
        for url in ["http://localhost:11434/v1", "http://127.0.0.1/", "http://[::1]:8080/v1"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["https://localhost.example.com", "http://localhost@example.com/", "http://10.0.0.1"]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn foreign_server_names_become_parts_of_tool_names() {
        assert_eq!(own_server_name("my server.v2"), "my_server_v2");
        assert_eq!(own_server_name("@a__b!"), "a_b");
    }
}
