//! Servers that act on something outside of the project's folder, as far as that can be known.

use std::path::Path;

use crate::cli::Stopped;
use crate::project::values::Template;
use crate::project::{Project, Transport};

/// What a server is made of, and does not act on.
const PROGRAMS: [&str; 12] =
    ["js", "mjs", "cjs", "ts", "py", "rb", "php", "pl", "sh", "jar", "wasm", "lua"];

/// Refuses a server that a copy of the project's folder does not contain.
pub fn check(project: &Project, name: &str) -> Result<(), Stopped> {
    let Some(server) = project.server(name) else { return Ok(()) };
    match reason(&server.transport) {
        None => Ok(()),
        Some(reason) => Err(Stopped::misuse(format!(
            "the server `{name}` {reason}: its calls would have effects outside of a scratch folder\n  \
             help: write paths relative to the project's folder and certify a server that acts only \
             there, or say --live-effects if you want these effects"
        ))),
    }
}

fn reason(transport: &Transport) -> Option<String> {
    match transport {
        Transport::Http { .. } => {
            Some("is reached over the network and acts on whatever it is connected to".to_owned())
        }
        Transport::Unsupported { .. } => None,
        Transport::Stdio { args, env, .. } => {
            if let Some((name, _)) = env.iter().find(|(_, value)| value.literal().is_none()) {
                return Some(format!(
                    "is given `{name}`, which may be the key to something elsewhere"
                ));
            }
            let mut literals = args.iter().chain(env.values()).filter_map(Template::literal);
            let path = literals.find_map(outside)?;
            Some(format!("is told of {}, which is not copied", path.display()))
        }
    }
}

/// Returns the path that a word names, if it is one that could be acted on.
fn outside(word: &str) -> Option<&Path> {
    let path = Path::new(word.rsplit_once('=').map_or(word, |(_, value)| value));
    let is_program = path
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| PROGRAMS.contains(&extension));
    (path.is_absolute() && path.exists() && !(path.is_file() && is_program)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdio(args: &[&str], env: &[(&str, &str)]) -> Transport {
        let template = |text: &str| Template::parse(text).unwrap();
        Transport::Stdio {
            command: template("node"),
            args: args.iter().map(|arg| template(arg)).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), template(value))).collect(),
            cwd: "/".into(),
        }
    }

    #[test]
    fn what_is_not_copied_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server.js");
        std::fs::write(&script, "").unwrap();
        let (script, folder) = (script.to_str().unwrap(), folder.path().to_str().unwrap());
        for contained in [stdio(&[script, "data", "--x=1"], &[("DEBUG", "1")]), stdio(&[], &[])] {
            assert_eq!(reason(&contained), None);
        }
        let option = format!("--root={folder}");
        for (outside, expected) in [
            (stdio(&[script, folder], &[]), "not copied"),
            (stdio(&[&option], &[]), "not copied"),
            (stdio(&[], &[("DATA", folder)]), "not copied"),
            (stdio(&[], &[("TOKEN", "env:TOKEN")]), "`TOKEN`"),
            (stdio(&[], &[("TOKEN", "${TOKEN}")]), "`TOKEN`"),
        ] {
            let reason = reason(&outside).unwrap();
            assert!(reason.contains(expected), "{reason}");
        }
        let url = Template::parse("https://example.com/mcp").unwrap();
        let http = Transport::Http { url, headers: std::collections::BTreeMap::new() };
        assert!(reason(&http).unwrap().contains("network"));
    }
}
