//! A run that this process holds: watched, driven, and what it came to.

use std::sync::Arc;

use prusik_core::event::{CallFailed, Ending, Event, ParkReason};
use prusik_core::ids::{CallId, RunId};
use prusik_core::input::Input;
use prusik_core::run::{self, State, Status};
use prusik_engine::{Command, Controls, Held, Notice, Observer, World};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::error::Error;
use super::workshop::Tools;
use crate::cli::park_reason;

/// A run whose lease this process holds, with its model and its tools at hand.
///
/// Dropped before it has been driven to its end, or in the middle, it is abandoned as if the process had
/// died: what was under way is looked at when it is resumed. Its servers are ended first, in the
/// background, because a call that still runs could land behind the probe that asks for it; until they
/// are gone, a few seconds at most, a resume is refused ([`Error::is_leased`]). [`Run::abandon`] does
/// the same and waits for it.
#[must_use = "nothing happens before the run is driven"]
pub struct Run {
    held: Option<Held>,
    /// Kept here while it is driven: whoever drops the driver has to end the tools.
    driven_with: Option<(World, Tools)>,
    /// Where what is left to do is done when it is dropped elsewhere.
    runtime: Option<Handle>,
    inputs: Vec<Input>,
    by: String,
    observer: Arc<dyn Observer>,
    commands: mpsc::UnboundedSender<Command>,
    controls: Controls,
}

/// Stops a run that is being driven, from anywhere in the program.
#[derive(Debug, Clone)]
pub struct Stopper {
    commands: mpsc::UnboundedSender<Command>,
    by: String,
}

impl Stopper {
    /// Parks the run when what is under way is done.
    pub fn interrupt(&self) {
        // A run that is over needs no stop.
        let _ = self.commands.send(Command::Interrupt);
    }

    /// Ends the run where it stands; nothing is undone but what its open groups did.
    pub fn cancel(&self, reason: impl Into<String>) {
        let (by, reason) = (self.by.clone(), reason.into());
        let _ = self.commands.send(Command::Cancel { by, reason });
    }
}

/// Watches events alone.
struct Events<F>(F);

impl<F: Fn(&Event) + Send + Sync> Observer for Events<F> {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Event { event, .. } = notice {
            (self.0)(event);
        }
    }
}

impl Run {
    pub(crate) fn new(
        held: Held,
        world: World,
        tools: Tools,
        inputs: Vec<Input>,
        by: String,
    ) -> Self {
        let (commands, controls) = mpsc::unbounded_channel();
        let driven_with = Some((world, tools));
        Self {
            held: Some(held),
            driven_with,
            runtime: Handle::try_current().ok(),
            inputs,
            by,
            observer: Arc::new(()),
            commands,
            controls,
        }
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("a run is held until it is driven, which takes it")
    }

    /// Returns the run's id.
    pub fn id(&self) -> &RunId {
        self.held().id()
    }

    /// Returns how the run stands before it is driven.
    pub fn state(&self) -> &State {
        self.held().run().state()
    }

    pub(crate) fn core(&self) -> &run::Run {
        self.held().run()
    }

    /// Shows everything that happens to `observer`, as it happens.
    pub fn watch(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Calls `watch` with each fact on its way to the disk. It is called by the driver and must be
    /// quick.
    pub fn watch_events(self, watch: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.watch(Arc::new(Events(watch)))
    }

    /// Returns what stops the run while it is driven.
    pub fn stopper(&self) -> Stopper {
        Stopper { commands: self.commands.clone(), by: self.by.clone() }
    }

    /// Drives the run until it has ended or is parked. Others may take it then.
    pub async fn drive(mut self) -> Result<Standing, Error> {
        let by = format!("process {}", std::process::id());
        let inputs = std::mem::take(&mut self.inputs);
        let observer = Arc::clone(&self.observer);
        let (world, _) = self.driven_with.as_ref().expect("a run is driven once: this takes it");
        let held = self.held.as_mut().expect("a run is held until it is driven");
        let driven = held.drive(world, &by, inputs, &mut self.controls, observer).await;
        let released = self.give_back().await;
        driven?;
        Ok(Standing::of(released?))
    }

    /// Gives the run up as it is: ends its tools, waits until they are gone, and lets others take it.
    pub async fn abandon(mut self) -> Result<(), Error> {
        self.give_back().await.map(drop)
    }

    /// Ends the tools and then gives the lease back. What is cut off here is finished on drop.
    async fn give_back(&mut self) -> Result<run::Run, Error> {
        if let Some((_, tools)) = &self.driven_with {
            tools.shutdown().await;
        }
        self.driven_with = None;
        let held = self.held.take().expect("a run is held until it is given back");
        Ok(held.release().await?)
    }
}

/// Gives the run up: this process would hold its lease for as long as it lives.
impl Drop for Run {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let Some((_, tools)) = self.driven_with.take() else { return };
        // Where no runtime is left, its children were killed with it, and the lease goes back at once.
        let Some(runtime) = Handle::try_current().ok().or(self.runtime.take()) else { return };
        runtime.spawn(async move {
            tools.shutdown().await;
            drop(held);
        });
    }
}

/// How a run stands: ended or parked if it was driven, and what it came to.
pub struct Standing {
    run: run::Run,
}

/// Why a run has no output of the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It waits for somebody.
    #[error("run {run} is parked: {}", park_reason(reason))]
    Parked { run: RunId, reason: ParkReason },
    /// It has ended otherwise, or has not ended.
    #[error("run {run} did not complete: {ending}")]
    NotCompleted { run: RunId, ending: String },
    /// The answer is no such value.
    #[error("the answer of run {run} is not what is wanted: {error}")]
    Unfit { run: RunId, error: serde_json::Error },
}

impl Standing {
    pub(crate) fn of(run: run::Run) -> Self {
        Self { run }
    }

    /// Returns the run's id.
    pub fn id(&self) -> &RunId {
        &self.state().started.run
    }

    /// Returns whether the run has ended, and how, or what it waits for.
    pub fn status(&self) -> &Status {
        &self.state().status
    }

    /// Returns all that is known of the run.
    pub fn state(&self) -> &State {
        self.run.state()
    }

    pub(crate) fn core(&self) -> &run::Run {
        &self.run
    }

    /// Returns the final answer, if the run has completed.
    pub fn answer(&self) -> Option<&str> {
        match self.status() {
            Status::Ended(Ending::Completed { answer, .. }) => Some(answer),
            Status::Ended(
                Ending::Failed { .. } | Ending::Cancelled { .. } | Ending::Compensated { .. },
            )
            | Status::Parked(_)
            | Status::Running => None,
        }
    }

    /// Returns the calls that failed, were denied or are in doubt, and were not made good by a later
    /// one. A completed run with such calls has not done all of its work.
    pub fn failures(&self) -> &[CallFailed] {
        match self.status() {
            Status::Ended(Ending::Completed { failures, .. }) => failures,
            Status::Ended(
                Ending::Failed { .. } | Ending::Cancelled { .. } | Ending::Compensated { .. },
            )
            | Status::Parked(_)
            | Status::Running => &[],
        }
    }

    /// Returns whether the run has completed, and nothing that it tried has failed for good.
    pub fn is_success(&self) -> bool {
        self.answer().is_some() && self.failures().is_empty()
    }

    /// Returns the calls of which nobody knows whether they landed; [`crate::Prusik::settle`] says so.
    pub fn in_doubt(&self) -> Vec<CallId> {
        self.state().doubts()
    }

    /// Returns the final answer as a value: what [`crate::AgentBuilder::output`] asked for.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T, OutputError> {
        let run = self.id().clone();
        let value = match self.status() {
            Status::Ended(Ending::Completed { answer, output, .. }) => match output {
                Some(value) => T::deserialize(value),
                None => serde_json::from_str(answer),
            },
            Status::Ended(ending) => {
                return Err(OutputError::NotCompleted { run, ending: told(ending) });
            }
            Status::Parked(reason) => {
                return Err(OutputError::Parked { run, reason: reason.clone() });
            }
            Status::Running => {
                let ending = "it was not driven to its end".to_owned();
                return Err(OutputError::NotCompleted { run, ending });
            }
        };
        value.map_err(|error| OutputError::Unfit { run, error })
    }
}

fn told(ending: &Ending) -> String {
    match ending {
        Ending::Completed { .. } => "it completed".to_owned(),
        Ending::Failed { message, .. } => message.clone(),
        Ending::Cancelled { by, reason, .. } => format!("cancelled by {by}: {reason}"),
        Ending::Compensated { by, .. } => format!("undone by {by}"),
    }
}
