//! `lock`: writes down what the servers say of their tools.

use serde_json::json;

use super::{Place, write_atomically};
use crate::assemble;
use crate::cli::args::LockArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::{complain, put};
use crate::cli::text::{below, counted, printable, within_line};
use crate::project::lock::{LOCK_FILE, Lock, LockDifference, Said, Unreadable};
use crate::project::{ListedTool, Project, ProjectError, ProjectErrors};

pub async fn lock(place: &Place, args: &LockArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let before = before(&project, args)?;
    let listed = assemble::listed(&project).await?;
    if let Some(problem) = &listed.problem {
        // A lock without one of the servers would be a hole in it.
        complain(&format!("error: {}\n  help: nothing is written", below(problem)));
        return Ok(Exit::Unavailable);
    }
    let lock = of(&project, &listed.tools);
    let difference = match &before {
        Some(before) => before.difference(&lock),
        None => LockDifference {
            added: lock.tools().map(|(name, _)| name).collect(),
            ..LockDifference::default()
        },
    };
    let is_current = before.as_ref() == Some(&lock);
    let written = !is_current && !args.check;
    if written {
        write_atomically(&project.root().join(LOCK_FILE), &lock.text()).map_err(Stopped::misuse)?;
    }
    let tools = lock.tools().count();
    if place.json {
        let changed: Vec<&String> = difference.changed.iter().map(|(name, _)| name).collect();
        let object = json!({
            "lock": LOCK_FILE, "tools": tools, "added": difference.added, "changed": changed,
            "removed": difference.removed, "written": written,
        });
        put(&format!("{object}\n"));
    } else {
        put(&told(&difference));
        let outcome = match (written, is_current) {
            (true, _) => "written",
            (false, true) => "up to date",
            (false, false) => "would change: review it, then `prusik lock`",
        };
        let servers = counted(lock.servers.len(), "server");
        put(&format!("{LOCK_FILE}: {} of {servers}, {outcome}\n", counted(tools, "tool")));
    }
    Ok(if args.check && !is_current { Exit::Failed } else { Exit::Done })
}

/// Returns the lock as it is. One that cannot be read is what somebody reviewed all the same: it is not
/// written over unasked, and one of a later version never.
fn before(project: &Project, args: &LockArgs) -> Result<Option<Lock>, Stopped> {
    match Lock::read(project.root()) {
        Ok(before) => Ok(before),
        Err(Unreadable::Damaged(error)) if args.force => {
            let told = ProjectError { help: None, ..error }.to_string();
            complain(&format!("warning: it is written over: {}", printable(&told)));
            Ok(None)
        }
        Err(unreadable) => Err(ProjectErrors::from(unreadable).into()),
    }
}

/// Returns a lock of the tools that servers listed. The built-in ones come with the binary.
pub fn of(project: &Project, tools: &[ListedTool]) -> Lock {
    let servers = project.servers().map(|server| server.name.as_str());
    Lock::of(servers, tools.iter().map(Said::from))
}

fn told(difference: &LockDifference) -> String {
    let mut text = String::new();
    for name in &difference.added {
        text.push_str(&format!("+ {}\n", within_line(name)));
    }
    for (name, what) in &difference.changed {
        text.push_str(&format!("~ {}: {what}\n", within_line(name)));
    }
    for name in &difference.removed {
        text.push_str(&format!("- {}\n", within_line(name)));
    }
    text
}
