//! One experiment: a server that was just started in a copy of the project's folder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prusik_core::contract::KeyPlace;
use prusik_core::expr;
use prusik_core::outcome::{Reply, ToolResult};
use prusik_tool::{CallAttempt, Children, LeftOut, ToolInfo, Toolbox, Transport};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Effects;
use super::heard::Heard;
use super::relay::{Control, Fault, Mark};
use super::relay_http::HttpRelay;
use super::subject::{Origin, Sample, Subject};
use super::world::World;
use crate::assemble;
use crate::cli::Stopped;
use crate::project::Project;
use crate::scratch::{self, Copies, Copy};

/// The command that relays.
pub const RELAY_COMMAND: &str = "certify-relay";
/// How often it is looked whether the relay has told something.
const LOOK: Duration = Duration::from_millis(5);
/// What counts seconds has counted on after this time.
const STAYS: Duration = Duration::from_millis(1_100);
/// Calls that are told as evidence.
const EVIDENCE_MAX: usize = 12;

/// Why a trial ends without a verdict.
#[derive(Debug)]
pub enum Halt {
    /// Why the claim cannot be tested, and what would change that.
    Untested(String),
    /// Nothing can be tested.
    Stopped(Stopped),
}

impl From<Stopped> for Halt {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

pub fn untested(reason: impl Into<String>) -> Halt {
    Halt::Untested(reason.into())
}

/// What all experiments share.
pub struct Lab {
    pub project: Project,
    pub children: Children,
    pub copies: Arc<Copies>,
    pub servers: Vec<String>,
    /// The tools that were named on the command line: no other is called.
    pub subjects: BTreeMap<String, Subject>,
    /// Reads that tell of the world, once they are known to change nothing.
    pub observers: Vec<Reading>,
    pub ignored: Vec<String>,
    pub seed: u64,
    pub effects: Effects,
}

/// A read whose answer tells of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub tool: String,
    pub arguments: Value,
}

impl Lab {
    /// Returns the key of a call; the same one for the same `purpose`. On a live server, where the
    /// effects of earlier experiments are still there, it is another one each time.
    pub fn key(&self, purpose: &str) -> String {
        let seed = self.seed.to_le_bytes();
        let once = match self.effects {
            Effects::Scratch => String::new(),
            Effects::Live => uuid::Uuid::now_v7().to_string(),
        };
        let parts = [b"prusik certify", &seed[..], once.as_bytes(), purpose.as_bytes()];
        prusik_core::ids::Digest::of_parts(&parts).to_string()[..32].to_owned()
    }

    /// Returns a tool that may be called.
    pub fn named(&self, tool: &str) -> Result<&Subject, Halt> {
        self.subjects.get(tool).ok_or_else(|| {
            untested(format!("it needs `{tool}`, which was not named on the command line"))
        })
    }
}

/// How an answer gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Dropped,
    Cut,
}

/// A server in a scratch folder.
pub struct Session<'a> {
    lab: &'a Lab,
    toolbox: Toolbox,
    /// By server; one that is reached by `https://` has none.
    controls: BTreeMap<String, Control>,
    log: Vec<String>,
    _relays: Vec<HttpRelay>,
    copy: Copy,
}

impl<'a> Session<'a> {
    /// Copies the project's folder and starts the named servers in it.
    pub async fn open(lab: &'a Lab) -> Result<Self, Halt> {
        let failed = |error: std::io::Error| {
            Stopped::unavailable(format!("the project cannot be copied: {error}"))
        };
        let copy = lab.copies.make().map_err(failed)?;
        let project = Project::load(&copy.root()).map_err(Stopped::from)?;
        let (mut controls, mut relays) = (BTreeMap::new(), Vec::new());
        let (mut builder, mut plain) = (Toolbox::builder(), Toolbox::builder());
        for name in &lab.servers {
            let server = project
                .server(name)
                .ok_or_else(|| Stopped::misuse(format!("the copy has no server `{name}`")))?;
            let mut config =
                assemble::server_config(&project, server, &lab.children).map_err(Stopped::from)?;
            let control = Control::new(copy.beside().join(format!("relay-{name}")));
            std::fs::create_dir(control.folder()).map_err(failed)?;
            plain = plain.server(config.clone());
            match &mut config.transport {
                Transport::Stdio { command, args, .. } => {
                    let own = std::env::current_exe().map_err(failed)?.display().to_string();
                    let real = std::mem::replace(command, own);
                    let told = control.folder().display().to_string();
                    // The relay stands in the sandbox with the server.
                    let folder = control.folder().to_owned();
                    config.sandbox = config.sandbox.map(|sandbox| sandbox.with_writable(folder));
                    let first = [RELAY_COMMAND.to_owned(), told, "--".to_owned(), real];
                    *args = first.into_iter().chain(std::mem::take(args)).collect();
                    controls.insert(name.clone(), control);
                }
                Transport::Http { url, .. } => {
                    let relay = HttpRelay::start(url, control.clone()).await.map_err(failed)?;
                    if let Some(relay) = relay {
                        url.clone_from(&relay.url);
                        relays.push(relay);
                        controls.insert(name.clone(), control);
                    }
                }
            }
            builder = builder.server(config);
        }
        let toolbox = builder.build().map_err(|error| Stopped::misuse(error.to_string()))?;
        let session = Self { lab, toolbox, controls, log: Vec::new(), _relays: relays, copy };
        if let Err(stopped) = session.connect().await {
            // What is wrong with a server is told best without the relay in between.
            let plain = plain.build().map_err(|error| Stopped::misuse(error.to_string()))?;
            let told = plain.connect_all(&CancellationToken::new(), &|_| ()).await;
            plain.shutdown().await;
            let told = told.err().map(|error| Stopped::unavailable(error.to_string()));
            return Err(told.unwrap_or(stopped).into());
        }
        Ok(session)
    }

    /// Starts what does not run. Returns the tools that cannot be called.
    pub async fn connect(&self) -> Result<Vec<LeftOut>, Stopped> {
        let connected = self.toolbox.connect_all(&CancellationToken::new(), &|_| ()).await;
        connected.map_err(|error| Stopped::unavailable(error.to_string()))
    }

    /// Returns what the servers say of their tools.
    pub fn listed(&self) -> Vec<ToolInfo> {
        self.toolbox.list()
    }

    /// Ends the servers and returns the calls that were made.
    pub async fn close(self) -> Vec<String> {
        self.toolbox.shutdown().await;
        // If the packages cannot be had back, the next experiment has new ones.
        let _ = self.copy.done();
        self.log
    }

    /// Makes the calls that come before a sample, and returns its arguments.
    pub async fn prepare(&mut self, subject: &Subject, sample: &Sample) -> Result<Value, Halt> {
        let mut results = Vec::new();
        for (nth, (tool, template)) in sample.after.iter().enumerate() {
            let setup = self.lab.named(tool)?;
            let arguments = fill(template, &results)?;
            allowed(setup, &arguments)?;
            let key = self.lab.key(&format!("setup {nth}"));
            let heard = self.call(setup, &arguments, &key).await?;
            let Heard::Returned(result) = &heard else {
                let call = Subject::told(tool, &arguments);
                return Err(untested(format!(
                    "a call before its example: {call}: {}",
                    heard.told()
                )));
            };
            results.push(result.value());
        }
        let arguments = fill(&sample.arguments, &results)?;
        if let Some(mismatch) = subject.misfit(&arguments) {
            let at = mismatch.at;
            return Err(untested(format!(
                "its example does not fit at {at}: {}",
                mismatch.problem
            )));
        }
        allowed(subject, &arguments)?;
        Ok(arguments)
    }

    /// Calls a sample that must succeed.
    pub async fn succeed(
        &mut self,
        subject: &Subject,
        sample: &Sample,
        arguments: &Value,
        key: &str,
    ) -> Result<ToolResult, Halt> {
        let heard = self.call(subject, arguments, key).await?;
        match heard.landed() {
            Some(result) => Ok(result.clone()),
            None => Err(did_not_succeed(sample, &heard)),
        }
    }

    /// Makes one call, as the runtime would.
    pub async fn call(
        &mut self,
        subject: &Subject,
        arguments: &Value,
        key: &str,
    ) -> Result<Heard, Halt> {
        let arguments = subject.with_key(arguments, key);
        let timeout_ms = subject.contract.timeout_ms;
        let stop = async {
            tokio::time::sleep(Duration::from_millis(timeout_ms)).await;
        };
        let (reply, stopped) = self.attempt(subject, &arguments, key, stop).await?;
        let heard = match (reply, stopped) {
            (_, true) => Heard::TimedOut { after_ms: timeout_ms },
            (reply, false) => Heard::of(&subject.contract, reply),
        };
        self.note(subject, &arguments, &heard.told());
        Ok(heard)
    }

    /// Makes one call exactly so and gives it up when `stop` is over. The second part of what it
    /// returns says whether it was given up.
    async fn attempt(
        &self,
        subject: &Subject,
        arguments: &Value,
        key: &str,
        stop: impl Future<Output = ()>,
    ) -> Result<(Reply, bool), Halt> {
        let tool = self
            .toolbox
            .get(&subject.name)
            .ok_or_else(|| untested(format!("`{}` is not offered any more", subject.name)))?;
        let cancel = CancellationToken::new();
        let meta_key = match &subject.contract.key {
            Some(KeyPlace::Meta(field)) => Some((field.as_str(), key)),
            Some(KeyPlace::Argument(_) | KeyPlace::Call) | None => None,
        };
        let attempt =
            CallAttempt { arguments, meta_key, cancel: cancel.clone(), progress: &|_| () };
        let call = tool.call(attempt);
        tokio::pin!(call, stop);
        tokio::select! {
            biased;
            reply = &mut call => Ok((reply, false)),
            () = stop => {
                cancel.cancel();
                Ok((call.await, true))
            }
        }
    }

    /// Makes a call whose request or answer has `fault` befall it.
    pub async fn call_with(
        &mut self,
        subject: &Subject,
        arguments: &Value,
        fault: &Fault,
        limit: Duration,
    ) -> Result<Heard, Halt> {
        self.arm(subject, fault)?;
        self.call_raw(subject, arguments, limit).await
    }

    /// Makes a call with exactly these arguments, whatever the schema says.
    pub async fn call_raw(
        &mut self,
        subject: &Subject,
        arguments: &Value,
        limit: Duration,
    ) -> Result<Heard, Halt> {
        let key = self.lab.key("garbage");
        let stop = tokio::time::sleep(limit);
        let (reply, stopped) = self.attempt(subject, arguments, &key, stop).await?;
        let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let heard = if stopped {
            Heard::TimedOut { after_ms }
        } else {
            Heard::of(&subject.contract, reply)
        };
        Ok(heard)
    }

    /// Makes a call that lands and whose answer is lost. Afterwards the server runs.
    pub async fn lose(
        &mut self,
        subject: &Subject,
        arguments: &Value,
        key: &str,
        loss: Loss,
    ) -> Result<(), Halt> {
        let (fault, told) = match loss {
            Loss::Dropped => (Fault::Drop, "(the answer is dropped)"),
            Loss::Cut => (Fault::Cut, "(the connection is cut in the middle of the answer)"),
        };
        let control = self.arm(subject, &fault)?;
        let arguments = subject.with_key(arguments, key);
        let limit = Duration::from_millis(subject.contract.timeout_ms);
        let stop = async {
            match loss {
                // Nobody has to wait for the time-out of a call whose answer is known to be lost.
                Loss::Dropped => marked(&control, &[Mark::Lost], limit).await,
                Loss::Cut => tokio::time::sleep(limit).await,
            }
        };
        let (reply, _) = self.attempt(subject, &arguments, key, stop).await?;
        self.note(subject, &arguments, told);
        match reply {
            Reply::Lost { .. } if control.has(Mark::Lost) => {}
            Reply::Returned(_)
            | Reply::Refused(_)
            | Reply::Unfit { .. }
            | Reply::NotSent { .. }
            | Reply::Lost { .. } => {
                let heard = Heard::of(&subject.contract, reply);
                return Err(untested(format!("its answer could not be lost: {}", heard.told())));
            }
        }
        self.connect().await?;
        Ok(())
    }

    /// Makes a call that is given up and runs on while it is made again. Returns what the second one
    /// brought, and whether the first one failed, when both are over. Either may be served first.
    pub async fn overlap(
        &mut self,
        subject: &Subject,
        arguments: &Value,
        key: &str,
    ) -> Result<(Heard, bool), Halt> {
        let control = self.arm(subject, &Fault::Hold)?;
        let limit = Duration::from_millis(subject.contract.timeout_ms);
        let sent = subject.with_key(arguments, key);
        let stop = marked(&control, &[Mark::Held], limit);
        let (reply, stopped) = self.attempt(subject, &sent, key, stop).await?;
        if !stopped || !control.has(Mark::Held) {
            let heard = Heard::of(&subject.contract, reply);
            return Err(untested(format!("it could not be held: {}", heard.told())));
        }
        self.note(subject, &sent, "(given up while it runs)");
        let heard = self.call(subject, arguments, key).await?;
        marked(&control, &[Mark::Late, Mark::LateFailed], limit).await;
        let failed = control.has(Mark::LateFailed);
        if !failed && !control.has(Mark::Late) {
            return Err(untested("the call that was given up was never answered, if it was made"));
        }
        Ok((heard, failed))
    }

    fn arm(&self, subject: &Subject, fault: &Fault) -> Result<Control, Halt> {
        let control = self
            .controls
            .get(&subject.server)
            .ok_or_else(|| untested("over https no message is lost on demand"))?;
        let armed = control.arm(fault);
        armed.map_err(|error| Stopped::unavailable(format!("the relay: {error}")))?;
        Ok(control.clone())
    }

    /// Returns how often the server of a tool was started; it is none of ours if it is reached over the
    /// network.
    pub fn starts(&self, subject: &Subject) -> Option<usize> {
        self.controls.get(&subject.server).map(Control::starts)
    }

    /// Returns the files as they are.
    pub fn files(&self) -> Result<World, Halt> {
        let failed = |error| Stopped::unavailable(format!("the scratch folder: {error}"));
        let root = self.copy.root();
        let mut world = World::of_files(&root, &self.lab.ignored).map_err(failed)?;
        let changed = self.copy.changed_programs().map_err(failed)?;
        world.add_changed(&root, self.lab.project.root(), &changed, &self.lab.ignored);
        Ok(world)
    }

    /// Returns what can be seen: the files, and what `readings` tell.
    pub async fn world(&mut self, readings: &[Reading]) -> Result<World, Halt> {
        let mut reads = BTreeMap::new();
        let logged = self.log.len();
        for reading in readings {
            let Ok(subject) = self.lab.named(&reading.tool) else { continue };
            let key = self.lab.key("look");
            let heard = self.call(subject, &reading.arguments, &key).await?;
            let value = scratch::timeless(&heard.value());
            reads.insert(Subject::told(&reading.tool, &reading.arguments), value);
        }
        self.log.truncate(logged);
        // After the reads: what a server makes only when it is first asked is no effect of a call.
        let mut world = self.files()?;
        world.reads = reads;
        Ok(world)
    }

    /// Looks at the world and returns it with the first thing that is otherwise than in `before`. What
    /// a read tells counts only if it stays: the age of a payment grows by itself.
    pub async fn change(
        &mut self,
        before: &World,
        readings: &[Reading],
    ) -> Result<(World, Option<String>), Halt> {
        let now = self.world(readings).await?;
        let change = match before.file_change(&now) {
            Some(change) => Some(change),
            None => self.read_change(before, &now, readings).await?,
        };
        Ok((now, change))
    }

    /// Returns the first thing that a read tells otherwise in `now`, if it stays.
    pub async fn read_change(
        &mut self,
        before: &World,
        now: &World,
        readings: &[Reading],
    ) -> Result<Option<String>, Halt> {
        if before.read_change(now).is_none() {
            return Ok(None);
        }
        tokio::time::sleep(STAYS).await;
        let mut lasting = now.clone();
        lasting.drop_unsteady(&self.world(readings).await?);
        Ok(before.read_change(&lasting))
    }

    fn note(&mut self, subject: &Subject, arguments: &Value, told: &str) {
        if self.log.len() < EVIDENCE_MAX {
            self.log.push(format!("{} → {told}", Subject::told(&subject.name, arguments)));
        }
    }
}

fn fill(template: &BTreeMap<String, Value>, results: &[Value]) -> Result<Value, Halt> {
    let after = Value::Array(results.to_vec());
    expr::fill_arguments(template, &[("after", &after)])
        .map_err(|error| untested(format!("its example: {error}")))
}

fn allowed(subject: &Subject, arguments: &Value) -> Result<(), Halt> {
    match subject.denied(arguments) {
        None => Ok(()),
        Some(rule) => Err(untested(format!("the project's rule `{rule}` forbids the call"))),
    }
}

/// Returns why nothing can be learned from a sample that did not succeed.
pub fn did_not_succeed(sample: &Sample, heard: &Heard) -> Halt {
    let (what, help) = match sample.origin {
        Origin::Example => ("its example does not succeed", "mend it"),
        Origin::Schema => {
            ("a call made up from its schema does not succeed", "give `examples` in its contract")
        }
    };
    untested(format!("{what}: {}; {help}", heard.told()))
}

/// Waits until the relay has told one of `marks`, at most for `limit`.
async fn marked(control: &Control, marks: &[Mark], limit: Duration) {
    let end = Instant::now() + limit;
    while !marks.iter().any(|mark| control.has(*mark)) && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
}
