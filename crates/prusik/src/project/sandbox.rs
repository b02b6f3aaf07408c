//! What `sandbox:` of a project says, checked and in the words of the tools' crate.

use std::path::{Path, PathBuf};

use prusik_tool::sandbox::{Domain, SandboxLimits, SandboxPolicy};

use super::Project;
use super::config::{SandboxConfig, Shell};
use super::error::ProjectError;

/// Less than that no program starts.
const MEMORY_MB_MIN: u64 = 16;

/// Checks the sandboxes of a project; mistakes go to `errors`.
pub(crate) fn check(project: &Project, errors: &mut Vec<ProjectError>) {
    if let Some(config) = &project.config.sandbox {
        if project.config.shell == Some(Shell::Unconfined) {
            let message = "a shell that is `unconfined` has no sandbox";
            let help = "remove `sandbox`, or write `shell: confined`";
            errors.push(project.source.error(&["sandbox"], message).with_help(help));
        }
        check_one(project, &["sandbox"], config, errors);
    }
    for (name, server) in &project.config.servers {
        if let Some(config) = &server.sandbox {
            check_one(project, &["servers", name, "sandbox"], config, errors);
        }
    }
}

fn check_one(
    project: &Project,
    at: &[&str],
    config: &SandboxConfig,
    errors: &mut Vec<ProjectError>,
) {
    let mut fail = |key: &str, index: Option<usize>, message: String, help: &str| {
        let index = index.map(|index| index.to_string());
        let path: Vec<&str> = at.iter().copied().chain([key]).chain(index.as_deref()).collect();
        errors.push(project.source.error(&path, message).with_help(help));
    };
    for (index, text) in config.network.iter().enumerate() {
        if let Err(error) = Domain::parse(text) {
            let help = "write `example.com`, or `*.example.com` for all below it";
            fail("network", Some(index), error.to_string(), help);
        }
    }
    let home = home().and_then(|home| home.canonicalize().ok());
    for (key, paths) in [("writable", &config.writable), ("readable", &config.readable)] {
        for (index, path) in paths.iter().enumerate() {
            let absolute = absolute(project.root(), path);
            let Ok(real) = absolute.canonicalize() else {
                let message = format!("there is no {}", absolute.display());
                fail(key, Some(index), message, "make it, or remove it here");
                continue;
            };
            let is_above_home = home.as_ref().is_some_and(|home| home.starts_with(&real));
            if is_above_home || real.parent().is_none() {
                let message =
                    format!("`{}` is all that a sandbox is to keep apart", path.display());
                fail(key, Some(index), message, "name the folders in it that are needed");
            }
        }
    }
    if config.memory_mb.is_some_and(|mb| mb < MEMORY_MB_MIN) {
        let message = format!("no program starts with less than {MEMORY_MB_MIN} MiB");
        fail("memory_mb", None, message, "leave it out for 2048");
    }
    let least = [
        ("processes", config.processes.map(u64::from)),
        ("file_mb", config.file_mb),
        ("output_mb", config.output_mb),
    ];
    for (key, value) in least {
        if value == Some(0) {
            fail(key, None, "0 leaves nothing to work with".to_owned(), "leave it out");
        }
    }
}

/// Returns the policy of a sandbox whose project has been checked.
pub(crate) fn policy(config: &SandboxConfig) -> SandboxPolicy {
    let default = SandboxLimits::default();
    SandboxPolicy {
        network: config.network.iter().filter_map(|text| Domain::parse(text).ok()).collect(),
        limits: SandboxLimits {
            memory_mb: config.memory_mb.unwrap_or(default.memory_mb),
            processes: config.processes.unwrap_or(default.processes),
            file_mb: config.file_mb.unwrap_or(default.file_mb),
            output_mb: config.output_mb.unwrap_or(default.output_mb),
        },
    }
}

/// Returns a path of `sandbox:`, which is relative to the project or below the user's home.
pub(crate) fn absolute(root: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home()) {
        (Ok(below), Some(home)) => home.join(below),
        (Ok(_) | Err(_), _) => root.join(path),
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}
