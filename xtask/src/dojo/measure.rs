//! One pair of a task and an attack, through the built program.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use prusik_testkit::worst::{Attacker, Course, Person, Script, Trial, WorstCase};
use prusik_testkit::{Options, ScriptedServer};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Pair;
use super::project::{Contracts, Example};
use super::zygote::Zygote;

/// Where the program is killed at most behind a line of its output.
const KILL_DELAY_MS_MAX: u64 = 40;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Case {
    pub pair: Pair,
    pub contracts: Contracts,
    pub attacker: Attacker,
    /// The seed of a second run that is killed, where there is one.
    pub kill: Option<u64>,
}

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Verdict {
    pub solved: bool,
    /// The attacker's calls did what they were to do.
    pub acted: bool,
    /// The attacker wants nothing but words in the final answer, and has them.
    pub worded: bool,
    /// The attacker's calls say what a call was to find out that was refused: the script knows it, and the model
    /// cannot.
    pub guessed: bool,
    pub asked: usize,
    pub asked_own: usize,
    /// What was done, from the server's own record: the calls that change something.
    pub writes: Vec<String>,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Measured {
    pub case: Case,
    /// With a person who approves the task's own calls.
    pub faithful: Verdict,
    /// With one who approves everything.
    pub tired: Verdict,
    /// What came of the run that was killed, where there was one.
    pub killed: Option<Killed>,
}

#[derive(Debug, Clone, Copy)]
pub struct Killed {
    /// Whether it was, before it had ended.
    pub was_killed: bool,
    pub settled: usize,
    pub is_same: bool,
}

/// What all runs share.
pub struct Bench {
    pub prusik: PathBuf,
    pub folder: PathBuf,
    pub runtime: Runtime,
    pub zygote: Zygote,
    pub example: Example,
    /// Those that were asked for.
    pub scripts: Mutex<HashMap<Pair, Arc<Script>>>,
}

impl Bench {
    pub fn measure(&self, case: &Case) -> Result<Measured> {
        let script = self.script(&case.pair)?;
        let (faithful, course) = self.run(case, &script, Person::Faithful, None)?;
        // Whom nobody asks decides nothing.
        let tired = if course.asked > 0 && case.pair.injection.is_some() {
            self.run(case, &script, Person::Tired, None)?.0
        } else {
            faithful.clone()
        };
        let killed = match case.kill {
            Some(seed) => {
                let mut random = fastrand::Rng::with_seed(seed);
                let line = random.usize(..course.lines.max(1));
                let kill = (line, Duration::from_millis(random.u64(..KILL_DELAY_MS_MAX)));
                let (again, course) = self.run(case, &script, Person::Faithful, Some(kill))?;
                let is_same = again == faithful;
                if !is_same {
                    eprintln!(
                        "dojo: {} killed at {kill:?}: {again:?}, and not {faithful:?}",
                        case.pair
                    );
                }
                Some(Killed { was_killed: course.killed, settled: course.settled, is_same })
            }
            None => None,
        };
        Ok(Measured { case: case.clone(), faithful, tired, killed })
    }

    fn script(&self, pair: &Pair) -> Result<Arc<Script>> {
        let scripts = || self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = scripts().get(pair) {
            return Ok(Arc::clone(known));
        }
        let script = Arc::new(self.zygote.script(pair)?);
        scripts().insert(pair.clone(), Arc::clone(&script));
        Ok(script)
    }

    fn run(
        &self,
        case: &Case,
        script: &Script,
        person: Person,
        kill: Option<(usize, Duration)>,
    ) -> Result<(Verdict, Course)> {
        let pair = &case.pair;
        let folder =
            tempfile::tempdir_in(&self.folder).context("cannot make a folder for a run")?;
        let folder = folder.path();
        let model = WorstCase {
            script: script.clone(),
            server: pair.suite.clone(),
            attacker: case.attacker,
        };
        let model = self
            .runtime
            .block_on(ScriptedServer::start(model, Options::default()))
            .context("cannot start the model's server")?;
        self.example.write(folder, case.contracts, model.url(), pair, &self.zygote)?;
        let trace = folder.join("trace.jsonl");
        let landed = |tool: &str, arguments: &Value| landed(&trace, tool, arguments);
        let trial = Trial {
            prusik: &self.prusik,
            folder,
            env: &[("ANTHROPIC_API_KEY", "any")],
            agent: &pair.suite,
            server: &pair.suite,
            script,
            person,
            kill,
            landed: &landed,
        };
        let course = trial.run().with_context(|| format!("{pair} does not run"))?;
        let score = self.zygote.score(pair, &trace, &course.answer)?;
        let is_read = |tool: &str| self.example.is_read(&format!("{}__{tool}", pair.suite));
        let traced = traced(&trace)?;
        let was_made = |tool: &str| traced.iter().any(|call| call["name"] == tool);
        let mut sought = script.attack.iter().filter(|call| is_read(&call.name));
        let guessed = sought.any(|call| !was_made(&call.name));
        let writes =
            traced.iter().filter(|call| !is_read(call["name"].as_str().unwrap_or_default()));
        let verdict = Verdict {
            solved: score.solved,
            acted: score.attacked && !script.attack.is_empty(),
            guessed,
            worded: score.attacked && script.attack.is_empty(),
            asked: course.asked,
            asked_own: course.asked_own,
            writes: writes.map(Value::to_string).collect(),
        };
        Ok((verdict, course))
    }
}

/// Returns the calls of a trace, once no server writes to it any more.
fn traced(trace: &Path) -> io::Result<Vec<Value>> {
    let held =
        File::options().create(true).append(true).open(trace.with_extension("jsonl.lock"))?;
    held.lock()?;
    let text = match fs::read_to_string(trace) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Returns how often a trace has a call.
fn landed(trace: &Path, tool: &str, arguments: &Value) -> io::Result<usize> {
    let calls = traced(trace)?.into_iter();
    Ok(calls.filter(|call| call["name"] == tool && call["arguments"] == *arguments).count())
}
