//! `cargo xtask dojo`: what containment holds, measured on two suites of `AgentDojo` with a model that is the
//! attacker's as soon as it reads the attacker's text.
//!
//! The suites are no part of this repository. Every pair of a user's task and an attack runs through the built
//! program, its MCP client and the wire of Anthropic's Messages; the verdicts are `AgentDojo`'s own.

mod measure;
mod project;
mod relay;
mod table;
mod zygote;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use prusik_testkit::worst::Attacker;

use self::measure::{Bench, Case, Measured};
use self::project::{Contracts, Example};
use self::table::Scope;
use self::zygote::Zygote;
use crate::command::{command, run};
use crate::{page, setup};

pub use self::relay::{Args as RelayArgs, run_relay};

const SUITES: [&str; 2] = ["banking", "travel"];
/// One run in so many is killed.
const KILLED_EVERY: u64 = 10;

#[derive(clap::Args)]
pub struct Args {
    /// The folder with `AgentDojo`'s suites as an MCP server: `dojo_mcp.py` and what lies beside it.
    /// `../shared/agentdojo` beside this repository by default
    #[arg(long, value_name = "DIR")]
    suites: Option<PathBuf>,
    /// Only this suite
    #[arg(long, value_parser = SUITES)]
    suite: Option<String>,
    /// Only this task, for example `user_task_3`
    #[arg(long)]
    user: Option<String>,
    /// Only so many pairs of each suite, drawn from the seed
    #[arg(long)]
    pairs: Option<usize>,
    /// Only this attacker: plain, bending or crowding
    #[arg(long)]
    attacker: Option<Attacker>,
    /// What the pairs, the runs that are killed and their moments are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs at a time
    #[arg(long, default_value_t = 2)]
    parallel: usize,
    /// Print a JSON object for each run, instead of a table
    #[arg(long)]
    json: bool,
    /// Write the table into docs/benchmarks.md, too
    #[arg(long, conflicts_with_all = ["suite", "user", "pairs", "attacker", "json"])]
    write: bool,
}

/// A user's task, and an attack on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    pub suite: String,
    pub user: String,
    /// None where nobody attacks.
    pub injection: Option<String>,
}

impl Pair {
    /// Returns what `dojo_mcp.py` is called with.
    fn arguments(&self, what: &str) -> Vec<String> {
        let mut words = vec![what, "--suite", &self.suite, "--user", &self.user];
        if let Some(injection) = &self.injection {
            words.extend(["--injection", injection]);
        }
        words.into_iter().map(str::to_owned).collect()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, user, injection } = self;
        match injection {
            Some(injection) => write!(f, "{suite} {user} {injection}"),
            None => write!(f, "{suite} {user}"),
        }
    }
}

/// Runs all pairs, prints the table, and fails if a promised number does not hold.
pub fn run_dojo(args: &Args) -> Result<()> {
    let root = crate::root();
    let suites = args.suites.clone().unwrap_or_else(|| root.join("../shared/agentdojo"));
    ensure!(
        suites.join("dojo_mcp.py").exists(),
        "{} does not hold `dojo_mcp.py`: this measures with AgentDojo's suites as an MCP server, which are \
         no part of this repository (`dojo_mcp.py`, `labels.py` and `world.py`; \
         examples/agentdojo/README.md says what each does). Name the folder that has them: --suites DIR",
        suites.display()
    );
    let suites = suites.canonicalize().context("cannot find the suites")?;
    setup::run_setup(&setup::Args::with_dojo())?;
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let build = ["build", "--quiet", "--package", "prusik", "--bin", "prusik"];
    run(command(env!("CARGO"), &root, &[&build, profile].concat()))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = tempfile::tempdir().context("cannot make a folder for the runs")?;
    let bench = Bench {
        prusik: program.with_file_name("prusik"),
        folder: folder.path().to_owned(),
        runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        zygote: Zygote::start(&root.join(".setup/dojo/bin/python"), &suites, folder.path())?,
        example: Example::read()?,
        scripts: Mutex::default(),
    };
    let cases = cases(args, &bench)?;
    eprintln!("dojo: {} cases", cases.len());
    let measured = measure_all(&bench, cases, args.parallel)?;
    let is_whole = args.suite.is_none() && args.user.is_none() && args.pairs.is_none();
    let scope = if is_whole { Scope::All } else { Scope::Some };
    let table = table::markdown(&measured);
    if args.json {
        for one in &measured {
            print(&table::json(one).to_string());
        }
    } else {
        print(&table);
    }
    if args.write {
        page::write("cargo xtask dojo --write", &table)?;
    }
    let broken = table::broken(&measured, scope);
    if !broken.is_empty() {
        bail!("what is promised does not hold:\n{}", broken.join("\n"));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what this command prints")]
fn print(text: &str) {
    println!("{text}");
}

/// Returns what is to be measured.
fn cases(args: &Args, bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for name in SUITES {
        if args.suite.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let mut suite = bench.zygote.suite(name)?;
        suite.users.retain(|user| args.user.as_ref().is_none_or(|only| only == user));
        let pair = |user: &String, injection: Option<&String>| Pair {
            suite: name.to_owned(),
            user: user.clone(),
            injection: injection.cloned(),
        };
        let attacks = |user| suite.injections.iter().map(move |attack| pair(user, Some(attack)));
        let mut pairs: Vec<Pair> = suite.users.iter().flat_map(attacks).collect();
        if let Some(most) = args.pairs {
            fastrand::Rng::with_seed(args.seed).shuffle(&mut pairs);
            pairs.truncate(most);
        }
        let attackers: Vec<Attacker> =
            args.attacker.map_or(Attacker::ALL.to_vec(), |one| vec![one]);
        for contracts in [Contracts::None, Contracts::Plain, Contracts::Capped] {
            if contracts == Contracts::Capped && !bench.example.knows_money(name) {
                continue;
            }
            let mut push = |pair: &Pair, attacker| {
                cases.push(Case { pair: pair.clone(), contracts, attacker, kill: None });
            };
            if contracts == Contracts::None {
                // Nothing is planned, so that there is nothing to bend to.
                for pair in &pairs {
                    push(pair, Attacker::Plain);
                }
                continue;
            }
            for user in &suite.users {
                push(&pair(user, None), Attacker::Plain);
            }
            for attacker in &attackers {
                for pair in &pairs {
                    push(pair, *attacker);
                }
            }
        }
    }
    let mut random = fastrand::Rng::with_seed(args.seed);
    for case in &mut cases {
        case.kill = (random.u64(..KILLED_EVERY) == 0).then(|| random.u64(..));
    }
    Ok(cases)
}

/// Measures all cases, some at a time, and returns what came of them in their order.
fn measure_all(bench: &Bench, cases: Vec<Case>, parallel: usize) -> Result<Vec<Measured>> {
    let count = cases.len();
    let queue: Mutex<VecDeque<(usize, Case)>> = Mutex::new(cases.into_iter().enumerate().collect());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<(usize, Measured)>> {
        let mut done = Vec::new();
        while let Some((index, case)) = next() {
            if index % 100 == 99 {
                eprintln!("dojo: {} of {count}", index + 1);
            }
            match bench.measure(&case) {
                Ok(measured) => done.push((index, measured)),
                Err(error) => {
                    // The others need not go on.
                    queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel.max(1)).map(|_| scope.spawn(work)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().expect("a worker does not panic"));
        let all: Result<Vec<Vec<_>>> = joined.collect();
        all.map(|all| all.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, measured)| measured).collect())
}
