//! The library's centre: agents, a store, and all that can be done with their runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prusik_core::agent;
use prusik_core::budget::Budget;
use prusik_core::event::{CompensationPlanned, Decision, Event, ParkReason, Verdict};
use prusik_core::ids::{CallId, Digest, RunId, Seq, Timestamp};
use prusik_core::input::Input;
use prusik_core::model::Purpose;
use prusik_core::run::{Changes, Program, Status, undo_preview};
use prusik_engine::{Engine, EngineError, Held, World, now};
use prusik_model::ModelConfig;
use prusik_policy::{Policies, PolicyFile};
use prusik_store::{Filter, MemoryStore, RunRow, Signal, SqliteStore, Store, StoreError};

use super::agent::Agent;
use super::error::Error;
use super::model::Model;
use super::policy::{self, Court};
use super::run::{Run, Standing};
use super::tool::RustTool;
use super::workshop::{Asks, Connected, Home, Models, OwnTool, Tell, Tools, Workshop, world};
use crate::assemble::{self, Assembled, assembled};
use crate::fault;
use crate::project::Project;

/// Agents and a store: starts runs, takes them up again, and changes what they do.
///
/// Cheap to clone; the clones share the store.
#[derive(Clone)]
pub struct Prusik {
    engine: Engine,
    /// Those of the program, which come before those of the project.
    agents: BTreeMap<String, Agent>,
    project: Option<Declared>,
    home: Option<Home>,
    by: String,
    tell: Arc<dyn Fn(String) + Send + Sync>,
    /// Those of the project, and those of the program.
    policies: Policies,
    court: Arc<Court>,
}

/// A project, and the tools of the program that its agents may hold.
#[derive(Clone)]
struct Declared {
    project: Arc<Project>,
    own: Arc<[OwnTool]>,
}

/// What a person says before a run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// Ceilings that change, with their new values.
    pub raise: Budget,
    /// A message for the model of a parked run.
    pub message: Option<String>,
}

/// What became of the wish to cancel a run.
pub enum Cancelled {
    /// What its open groups did is undone before it ends: drive it.
    Undoing(Box<Run>),
    /// It is cancelled. Nobody has found out whether these calls took effect.
    Done { unresolved: Vec<CallId> },
    /// Somebody drives it, and was told to stop it.
    Told { owner: String },
}

/// A run that begins with what another one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    pub run: RunId,
    /// Calls behind the fork that changed the world: they happened, and the fork does not undo them.
    pub writes: Vec<CallId>,
}

/// A fact of a run's journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub seq: Seq,
    pub at: Timestamp,
    pub event: Event,
}

impl Prusik {
    /// Opens a store in a SQLite file, and makes the file where there is none. What else belongs to
    /// the runs is kept in the same folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let store = Arc::new(SqliteStore::open(path.clone())?);
        Self::made(store, Some(Home::of_store(&path)), None)
    }

    /// Keeps runs in memory: they end with this process.
    pub fn in_memory() -> Result<Self, Error> {
        Self::with_store(Arc::new(MemoryStore::new()))
    }

    /// Keeps runs in a store of the program's own.
    pub fn with_store(store: Arc<dyn Store>) -> Result<Self, Error> {
        Self::made(store, None, None)
    }

    /// Loads a project's folder: its agents, models, servers and contracts, and its store.
    pub fn project(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::project_with(root, [])
    }

    /// Loads a project's folder, whose agents may name these tools beside those of its servers.
    pub fn project_with(
        root: impl AsRef<Path>,
        tools: impl IntoIterator<Item = RustTool>,
    ) -> Result<Self, Error> {
        let own = tools.into_iter().map(|tool| OwnTool::of(&tool));
        let own: Vec<OwnTool> =
            own.collect::<Result<_, _>>().map_err(|error| Error::Misuse(error.to_string()))?;
        let project = Project::load_with(root.as_ref(), own.iter().map(OwnTool::facts).collect())?;
        Self::of_project(project, own)
    }

    pub(crate) fn of_project(project: Project, own: Vec<OwnTool>) -> Result<Self, Error> {
        let path = project.store_path();
        let store = Arc::new(SqliteStore::open(path.clone())?);
        let declared = Declared { project: Arc::new(project), own: own.into() };
        Self::made(store, Some(Home::of_store(&path)), Some(declared))
    }

    fn made(
        store: Arc<dyn Store>,
        home: Option<Home>,
        project: Option<Declared>,
    ) -> Result<Self, Error> {
        let engine = Engine::with_clock(fault::store(store)?, fault::clock()?);
        let declared = project.as_ref().map(|declared| Arc::clone(&declared.project));
        let policies = declared.as_ref().map(|project| project.policies().clone());
        let policies = policies.unwrap_or_default();
        let court = Arc::new(Court::new(declared, [], policies.clone()));
        let (agents, by, tell) = (BTreeMap::new(), person(), Arc::new(|_: String| ()));
        Ok(Self { engine, agents, project, home, by, tell, policies, court }.with_court())
    }

    /// Has every run held to the policies that there are now, for the agents that there are.
    fn with_court(mut self) -> Self {
        let project = self.project.as_ref().map(|declared| Arc::clone(&declared.project));
        let agents = self.agents.values().cloned();
        let court = Arc::new(Court::new(project, agents, self.policies.clone()));
        self.court = Arc::clone(&court);
        let policy_of = Arc::new(move |agent: &agent::Agent| court.policy_or_denial(agent));
        self.engine = self.engine.with_policy(policy_of);
        self
    }

    /// Adds an agent. It replaces one of the same name, a project's as well.
    pub fn with(mut self, agent: Agent) -> Self {
        self.agents.insert(agent.name().to_owned(), agent);
        self.with_court()
    }

    /// Adds policies of the organisation, in Cedar: every call of every agent is held to them, as to those
    /// of the project. `name` is what they are called where they are told of, such as a file's name.
    pub fn policy(
        mut self,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<Self, Error> {
        let file = PolicyFile { name: name.into(), text: text.into() };
        let policies = Policies::parse(self.policies.files().chain([file]));
        self.policies = policies.map_err(|found| policy::errors(&found))?;
        Ok(self.with_court())
    }

    /// Sets who gives the words that are journaled; the user of this process if nobody does.
    pub fn by(mut self, name: impl Into<String>) -> Self {
        self.by = name.into();
        self
    }

    /// Hands over what a person may want to know and nobody waits for: servers that are slow to
    /// start, tools that cannot be offered. Nothing is printed by itself.
    pub fn tell(mut self, tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        self.tell = Arc::new(tell);
        self
    }

    /// Returns who gives the words that are journaled.
    pub(super) fn person(&self) -> &str {
        &self.by
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.engine.store()
    }

    /// Begins a run: `agent` is a name; without one it is the only agent, or `main`. Its first record
    /// is durable when this returns, and nothing has been asked yet: [`Run::drive`] does that.
    pub async fn start<'a>(
        &self,
        agent: impl Into<Option<&'a str>>,
        task: impl Into<String>,
    ) -> Result<Run, Error> {
        self.start_within(agent, task, Budget::default()).await
    }

    /// Begins a run whose ceilings are those of its agent, but for those that `ceilings` sets.
    pub async fn start_within<'a>(
        &self,
        agent: impl Into<Option<&'a str>>,
        task: impl Into<String>,
        ceilings: Budget,
    ) -> Result<Run, Error> {
        let task = task.into();
        if task.trim().is_empty() {
            return Err(Error::Misuse("the task is empty".to_owned()));
        }
        let Assembled { definition, world, tools } = self.fresh(agent.into()).await?;
        let budget = definition.budget.raised(&ceilings);
        if let Err(errors) = self.court.policy_of(&definition) {
            tools.shutdown().await;
            return Err(errors.into());
        }
        match self.engine.start(definition, task, budget).await {
            Ok(held) => Ok(self.run(held, world, tools, Vec::new())),
            Err(error) => {
                tools.shutdown().await;
                Err(error.into())
            }
        }
    }

    fn run(&self, held: Held, world: World, tools: Tools, inputs: Vec<Input>) -> Run {
        Run::new(held, world, tools, inputs, self.by.clone())
    }

    /// Takes a run up again, parked or left by a process that died. Calls whose outcome was lost are
    /// repeated, asked about or left to a person, as their contracts say.
    pub async fn resume(&self, run: &RunId) -> Result<Run, Error> {
        self.resume_with(run, Word::default()).await
    }

    /// Takes a run up again, with a word before it goes on.
    pub async fn resume_with(&self, run: &RunId, word: Word) -> Result<Run, Error> {
        let held = self.engine.open(run).await?;
        self.go_on(held, word).await
    }

    async fn go_on(&self, held: Held, word: Word) -> Result<Run, Error> {
        // Nothing is written before all that is needed is there: an intent that is durable and was
        // not performed would come into doubt.
        let prepared = async {
            let inputs = self.words(&held, word)?;
            self.court.policy_of(held.run().definition().agent())?;
            // What was killed while it was undone goes on without a model.
            let asks = match &held.run().state().program {
                Program::Agent(_) if held.run().state().is_ending() => Asks::ToolsAlone,
                Program::Agent(_) => Asks::Model,
                Program::Compensation(_) => Asks::ToolsAlone,
            };
            Ok((inputs, self.again(held.run().definition().agent(), asks).await?))
        };
        match prepared.await {
            Ok((inputs, (world, tools))) => Ok(self.run(held, world, tools, inputs)),
            Err(error) => {
                held.release().await?;
                Err(error)
            }
        }
    }

    /// Takes up every run that has not ended, is not parked, and that no living process drives. Each
    /// comes with why it cannot go on, if it cannot: its agent is gone, or its journal is damaged.
    pub async fn resume_unfinished(&self) -> Result<Vec<(RunId, Result<Run, Error>)>, Error> {
        let filter = Filter { status: Some("running".to_owned()), ..Filter::default() };
        let mut runs = Vec::new();
        for RunRow { run, .. } in self.runs(&filter).await? {
            if let Some(resumed) = self.resume_if_unfinished(&run).await {
                runs.push((run, resumed));
            }
        }
        Ok(runs)
    }

    /// Takes a run up; none if somebody drives it, or has driven it on since it was listed.
    pub(crate) async fn resume_if_unfinished(&self, run: &RunId) -> Option<Result<Run, Error>> {
        let held = match self.engine.open(run).await {
            Ok(held) => held,
            Err(EngineError::Store(StoreError::Leased { .. } | StoreError::UnknownRun { .. })) => {
                return None;
            }
            Err(error) => return Some(Err(error.into())),
        };
        if held.run().state().status != Status::Running {
            return held.release().await.err().map(|error| Err(error.into()));
        }
        Some(self.go_on(held, Word::default()).await)
    }

    /// Returns what a person says before the run goes on. A run that was killed needs no word.
    fn words(&self, held: &Held, word: Word) -> Result<Vec<Input>, Error> {
        let state = held.run().state();
        let run = held.id().clone();
        let mut inputs = Vec::new();
        if word.raise != Budget::default() {
            inputs.push(Input::BudgetRaised { budget: word.raise, by: self.by.clone() });
        }
        match &state.status {
            Status::Ended(_) => return Err(Error::Ended { run }),
            Status::Running if word.message.is_some() => return Err(Error::NotParked { run }),
            Status::Running => {}
            Status::Parked(reason) => {
                if let ParkReason::Budget { kind, .. } = reason {
                    let (kind, spent) = (*kind, state.spent.of(*kind));
                    if let Some(limit) = state.budget.raised(&word.raise).limit(kind)
                        && spent >= limit
                    {
                        return Err(Error::OverBudget { kind, spent, limit });
                    }
                }
                inputs.push(Input::Resumed { by: self.by.clone(), message: word.message });
            }
        }
        Ok(inputs)
    }

    /// Begins to undo what a parked or ended run did; [`Run::drive`] does it.
    pub async fn compensate(&self, run: &RunId) -> Result<Run, Error> {
        let held = self.engine.open(run).await?;
        let prepared = async {
            if held.run().state().status == Status::Running {
                return Err(Error::NotEnded { run: run.clone() });
            }
            self.again(held.run().definition().agent(), Asks::ToolsAlone).await
        };
        match prepared.await {
            Ok((world, tools)) => {
                let inputs = vec![Input::Compensated { by: self.by.clone() }];
                Ok(self.run(held, world, tools, inputs))
            }
            Err(error) => {
                held.release().await?;
                Err(error)
            }
        }
    }

    /// Returns what [`Prusik::compensate`] would do.
    pub async fn undo_plan(&self, run: &RunId) -> Result<CompensationPlanned, Error> {
        let loaded = self.show(run).await?;
        let mut changes = Changes::default();
        for fact in self.events(run).await? {
            changes.absorb(&fact.event);
        }
        Ok(undo_preview(loaded.core().definition(), loaded.state(), &changes))
    }

    /// Ends a run where it stands; nothing is undone but what its open groups did.
    pub async fn cancel(&self, run: &RunId, reason: impl Into<String>) -> Result<Cancelled, Error> {
        let (by, reason) = (self.by.clone(), reason.into());
        let mut held = match self.engine.open(run).await {
            Ok(held) => held,
            // Somebody drives it: they are told.
            Err(EngineError::Store(StoreError::Leased { owner, .. })) => {
                self.store().post(run, &Signal::Cancel { by, reason }, now()).await?;
                return Ok(Cancelled::Told { owner });
            }
            Err(error) => return Err(error.into()),
        };
        let input = Input::Cancelled { by, reason };
        if !held.run().state().open_groups().is_empty() {
            return match self.again(held.run().definition().agent(), Asks::ToolsAlone).await {
                Ok((world, tools)) => {
                    Ok(Cancelled::Undoing(Box::new(self.run(held, world, tools, vec![input]))))
                }
                Err(error) => {
                    held.release().await?;
                    Err(error)
                }
            };
        }
        let changed = self.change(&mut held, input).await;
        let run = held.release().await?;
        changed?;
        Ok(Cancelled::Done { unresolved: run.state().unresolved(run.definition()) })
    }

    /// Says whether a call in doubt landed. Returns the calls that are still in doubt.
    pub async fn settle(
        &self,
        run: &RunId,
        call: CallId,
        verdict: Verdict,
    ) -> Result<Vec<CallId>, Error> {
        let mut held = self.engine.open(run).await?;
        let by = self.by.clone();
        let settled = self.change(&mut held, Input::Settled { call, verdict, by }).await;
        let run = held.release().await?;
        settled?;
        Ok(run.state().doubts())
    }

    /// Answers whether a call may be made. `digest` is that of the question which the person was shown.
    /// Returns the calls that still wait for an answer.
    pub async fn decide(
        &self,
        run: &RunId,
        call: CallId,
        digest: Digest,
        decision: Decision,
    ) -> Result<Vec<CallId>, Error> {
        let mut held = self.engine.open(run).await?;
        if let (Decision::Approved { .. }, Err(errors)) =
            (&decision, self.court.policy_of(held.run().definition().agent()))
        {
            held.release().await?;
            return Err(errors.into());
        }
        let by = self.by.clone();
        let decided = self.change(&mut held, Input::Decided { call, digest, by, decision }).await;
        let run = held.release().await?;
        decided?;
        Ok(run.state().authority.asked.keys().copied().collect())
    }

    /// Changes a run that nobody drives. One that was killed has not been looked at since: its calls
    /// come into doubt now, and what it left running ends.
    pub(super) async fn change(&self, held: &mut Held, input: Input) -> Result<Vec<Event>, Error> {
        if held.run().state().status == Status::Running {
            self.no_orphans().await?;
            held.submit(Input::Recovered { by: self.by.clone() }).await?;
        }
        Ok(held.submit(input).await?)
    }

    /// Begins a run that shares the journal of `from` through record `at`; [`Prusik::resume`] goes on
    /// with it.
    pub async fn fork(&self, from: &RunId, at: Seq) -> Result<Forked, Error> {
        let (held, writes) = self.engine.fork(from, at).await?;
        let run = held.id().clone();
        held.release().await?;
        Ok(Forked { run, writes })
    }

    /// Lists runs, newest first.
    pub async fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, Error> {
        Ok(self.store().list(filter).await?)
    }

    /// Loads a run to look at it; another process may be driving it.
    pub async fn show(&self, run: &RunId) -> Result<Standing, Error> {
        Ok(Standing::of(self.engine.read(run).await?))
    }

    /// Returns the facts of a run, oldest first.
    pub async fn events(&self, run: &RunId) -> Result<Vec<Fact>, Error> {
        let records = self.store().records(run, Seq(1), Seq(u64::MAX)).await?;
        let facts = records.iter().map(|record| {
            let event = record
                .event()
                .map_err(|problem| EngineError::Journal { run: run.clone(), problem })?;
            Ok(Fact { seq: record.seq, at: record.at, event })
        });
        facts.collect()
    }

    /// Connects what an agent needs for a new run.
    async fn fresh(&self, agent: Option<&str>) -> Result<Assembled, Error> {
        let tell: Tell<'_> = self.tell.as_ref();
        let Some(agent) = self.own_agent(agent) else {
            let Declared { project, own } = self.declared(agent)?;
            return assemble::fresh(project, own, agent, tell).await;
        };
        let models = connected(agent, agent.parts().summarizer())?;
        let workshop = agent.parts().workshop(self.home.as_ref())?;
        let Connected { toolbox, .. } = workshop.connect(tell).await?;
        let facts = Workshop::facts_of(&toolbox, agent.parts().own());
        let made = agent.parts().definition(&facts).map_err(Error::from);
        assembled(models, toolbox, made).await
    }

    /// Connects what a run needs to go on. Its lease is held by now: nobody else starts anything for
    /// it, and what a dead driver of it left running is ended first.
    async fn again(&self, agent: &agent::Agent, asks: Asks) -> Result<(World, Tools), Error> {
        self.no_orphans().await?;
        let Some(declared) = self.own_agent(Some(&agent.name)) else {
            let Declared { project, own } = self.declared(Some(&agent.name))?;
            return assemble::again(project, own, agent, asks, self.tell.as_ref());
        };
        let models = match asks {
            Asks::Model => {
                // A run keeps who summarizes it, and its program may have changed its mind.
                let asked = agent.context.as_ref().and_then(|policy| policy.summary_model.as_ref());
                connected(declared, declared.parts().summarizer().filter(|_| asked.is_some()))?
            }
            Asks::ToolsAlone => Models::none(),
        };
        let toolbox = declared.parts().workshop(self.home.as_ref())?.known(agent)?;
        let world = world(models, &toolbox, agent)?;
        Ok((world, Tools(toolbox)))
    }

    /// Returns the program's agent that is meant, if it is one of the program: the named one; without
    /// a name the only one, or `main`.
    fn own_agent(&self, name: Option<&str>) -> Option<&Agent> {
        match name {
            Some(name) => self.agents.get(name),
            None if self.project.is_some() => None,
            None => {
                let only = self.agents.values().next().filter(|_| self.agents.len() == 1);
                only.or_else(|| self.agents.get("main"))
            }
        }
    }

    fn declared(&self, agent: Option<&str>) -> Result<&Declared, Error> {
        self.project.as_ref().ok_or_else(|| {
            let names = self.agents.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let there = if names.is_empty() { "none".to_owned() } else { names };
            Error::Misuse(match agent {
                Some(name) => format!(
                    "this program has no agent `{name}`: add it with `Prusik::with`; there are: \
                     {there}"
                ),
                None => format!("name the agent; there are: {there}"),
            })
        })
    }

    /// Returns how a model of an agent is reached; none if the program answers itself.
    pub(super) fn connection_of(
        &self,
        agent: &str,
        alias: &str,
        purpose: Purpose,
    ) -> Result<Option<ModelConfig>, Error> {
        let Some(own) = self.own_agent(Some(agent)) else {
            let Declared { project, .. } = self.declared(Some(agent))?;
            return assemble::connection_of(project, alias).map(Some);
        };
        let summarizer = own.parts().summarizer().filter(|_| purpose == Purpose::Summary);
        Ok(summarizer.unwrap_or(own.parts().model()).config())
    }

    async fn no_orphans(&self) -> Result<(), Error> {
        match &self.home {
            Some(home) => home.no_orphans().await,
            None => Ok(()),
        }
    }
}

/// Connects the models of an agent of the program.
fn connected(agent: &Agent, summarizer: Option<&Model>) -> Result<Models, Error> {
    let model = agent.parts().model().connect()?;
    let summarizer = summarizer.map(Model::connect).transpose()?;
    Ok(Models { model, summarizer })
}

/// Returns who uses this process, for the journal.
fn person() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "someone".to_owned())
}
