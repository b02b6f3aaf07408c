//! `cargo xtask mutants`: plants mistakes in a copy of the repository, one at a time, and sees to it
//! that the simulator and the oracle find each of them.

mod list;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::list::{MUTANTS, Mutant};
use crate::command::command;

/// How long the simulator may take before a mistake is taken to have made it hang.
const FOUND_MS_MAX: Duration = Duration::from_mins(5);

#[derive(clap::Args)]
pub struct Args {
    /// Only those whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many schedules each of them must be found in
    #[arg(long, default_value_t = 1_000)]
    schedules: u32,
    /// How many sequences of store operations
    #[arg(long, default_value_t = 60)]
    stores: u32,
}

/// Plants each mistake and fails if one is not found.
pub fn run_mutants(args: &Args) -> Result<()> {
    let root = crate::root();
    let copy = tempfile::tempdir().context("cannot make a folder for the copy")?;
    copy_sources(&root, copy.path())?;
    let target = root.join("target/mutants");
    let wanted = |mutant: &&Mutant| {
        args.only.is_empty() || args.only.iter().any(|name| mutant.name.contains(name))
    };
    let chosen: Vec<&Mutant> = MUTANTS.iter().filter(wanted).collect();
    ensure!(!chosen.is_empty(), "no mistake has such a name");
    build(copy.path(), &target).context("the copy without mistakes does not build")?;
    let unharmed = find(args, copy.path(), &target)?;
    ensure!(unharmed.is_none(), "there is a mistake without any: {unharmed:?}");
    let mut survivors = Vec::new();
    for mutant in &chosen {
        let began = Instant::now();
        let found = planted(mutant, copy.path(), || {
            build(copy.path(), &target)?;
            find(args, copy.path(), &target)
        });
        let found = found.with_context(|| format!("{} cannot be tried", mutant.name))?;
        let seconds = began.elapsed().as_secs();
        if let Some(line) = found {
            eprintln!("found    {} ({seconds} s): {line}", mutant.name);
        } else {
            eprintln!("SURVIVES {} ({seconds} s): {}", mutant.name, mutant.why);
            survivors.push(mutant.name);
        }
    }
    if !survivors.is_empty() {
        bail!("nothing finds {}: an invariant is missing", survivors.join(", "));
    }
    eprintln!("all {} planted mistakes were found", chosen.len());
    Ok(())
}

/// Does something while a mistake is in its file.
fn planted<T>(mutant: &Mutant, copy: &Path, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let path = copy.join(mutant.file);
    let whole =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", mutant.file))?;
    let places = whole.matches(mutant.find).count();
    ensure!(places == 1, "its text occurs {places} times in {}", mutant.file);
    fs::write(&path, whole.replace(mutant.find, mutant.replace))?;
    let done = act();
    fs::write(&path, whole)?;
    done
}

fn build(copy: &Path, target: &Path) -> Result<()> {
    let words =
        ["build", "--quiet", "--offline", "--package", "prusik-testkit", "--bin", "simulate"];
    let mut build = command(env!("CARGO"), copy, &words);
    build.env("CARGO_TARGET_DIR", target);
    let output = build.stderr(Stdio::piped()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().filter(|line| line.starts_with("error")).collect();
    ensure!(output.status.success(), "it does not build: {}", lines.join("; "));
    Ok(())
}

/// Runs the simulator and the oracle; returns the first line that tells of a failure.
fn find(args: &Args, copy: &Path, target: &Path) -> Result<Option<String>> {
    let binary = target.join("debug/simulate");
    let (schedules, stores) = (args.schedules.to_string(), args.stores.to_string());
    let words = ["--failures", "1", "--schedules", &schedules, "--stores", &stores];
    let mut simulate: Command = command(&binary, copy, &words);
    let out = tempfile::NamedTempFile::new()?;
    simulate.stdout(out.reopen()?).stderr(Stdio::null());
    let child = simulate.spawn().context("cannot start the simulator")?;
    let Some(success) = wait(child)? else { return Ok(Some("it hangs".to_owned())) };
    let text = fs::read_to_string(out.path())?;
    let line = text.lines().find(|line| line.starts_with("seed ")).map(shorten);
    Ok((!success).then(|| line.unwrap_or_else(|| "it dies without a word".to_owned())))
}

/// Waits for the end; none if it takes too long.
fn wait(mut child: Child) -> Result<Option<bool>> {
    let began = Instant::now();
    while began.elapsed() < FOUND_MS_MAX {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn shorten(line: &str) -> String {
    line.chars().take(160).collect()
}

/// Copies what git knows and what it would take.
fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = command("git", root, &words).output().context("cannot ask git for the files")?;
    ensure!(listed.status.success(), "git does not list the files");
    let names = String::from_utf8(listed.stdout).context("a file's name is not text")?;
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), copy.join(name));
        // What is deleted and not yet committed is listed, too.
        if !from.is_file() {
            continue;
        }
        let folder = to.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mistake_has_its_place() {
        let root = crate::root();
        let (mut names, mut lost) = (BTreeSet::new(), Vec::new());
        for mutant in MUTANTS {
            let text = fs::read_to_string(root.join(mutant.file)).unwrap();
            let places = text.matches(mutant.find).count();
            if places != 1 {
                lost.push(format!("{}: its text occurs {places} times", mutant.name));
            }
            assert_ne!(mutant.find, mutant.replace, "{}", mutant.name);
            assert!(!mutant.why.is_empty() && names.insert(mutant.name), "{}", mutant.name);
        }
        assert!(lost.is_empty(), "{}", lost.join("\n"));
        assert!(names.len() >= 14, "{names:?}");
    }
}
