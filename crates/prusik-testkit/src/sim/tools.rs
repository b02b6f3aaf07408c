//! Tools that do what they say to the ledger, answer or do not, and now and then land late. They are
//! honest: a refusal means that this call did nothing, and a key lands once.

use std::time::Duration;

use async_trait::async_trait;
use prusik_core::contract::{Contract, EffectClass, KeyPlace};
use prusik_core::outcome::{Refusal, Reply, ToolResult};
use prusik_core::run::{Stage, Status};
use prusik_tool::{CallAttempt, Tool, ToolInfo};
use serde_json::{Value, json};

use super::ledger::Landing;
use super::plan::{FIND, lands_late_ms};
use super::world::{Invariant, Sim, World};

/// One tool as one process reaches it.
pub struct SimTool {
    pub sim: Sim,
    pub process: usize,
    pub info: ToolInfo,
}

/// What an attempt will come to, drawn when it begins.
struct Fate {
    reply: Reply,
    /// None if no answer ever comes.
    answers_in_ms: Option<u64>,
    /// What is on its way, to be taken back where a cancel can still do that.
    ticket: Option<u64>,
    /// Whether a cancel is heard.
    hears_cancel: bool,
}

#[async_trait]
impl Tool for SimTool {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        let fate = self.sim.with(|world| {
            if !world.goes_on(self.process) {
                return None;
            }
            let name = self.info.name.as_str();
            let key = attempt.meta_key.map(|(_, key)| key);
            let fate = world.begins(self.process, name, attempt.arguments, key);
            world.goes_on(self.process).then_some(fate)
        });
        let Some(fate) = fate else { return std::future::pending().await };
        (attempt.progress)("on it".to_owned());
        let answered = async {
            match fate.answers_in_ms {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        let reply = tokio::select! {
            biased;
            () = answered => fate.reply,
            () = attempt.cancel.cancelled(), if fate.hears_cancel => self.sim.with(|world| {
                match fate.ticket.map(|ticket| world.ledger.recall(ticket)) {
                    Some(true) => Reply::not_sent("stopped in time".to_owned()),
                    Some(false) | None => lost(),
                }
            }),
        };
        if self.sim.with(|world| world.goes_on(self.process)) {
            reply
        } else {
            std::future::pending().await
        }
    }
}

impl World {
    fn begins(
        &mut self,
        process: usize,
        name: &str,
        arguments: &Value,
        meta_key: Option<&str>,
    ) -> Fate {
        let reference = arguments.get("ref").and_then(Value::as_str).unwrap_or("none").to_owned();
        if name == FIND {
            return self.looks_up(process, &reference);
        }
        self.counts.tool_calls += 1;
        self.tell(|| format!("process {process} calls {name} for {reference}"));
        let tool = self.plan.agent.tool(name).map(|tool| tool.contract.clone());
        let Some(contract) = tool else { return Fate::now(lost()) };
        self.may_begin(process, &reference, &contract);
        let key = match &contract.key {
            Some(KeyPlace::Argument(place)) => arguments[place].as_str().map(str::to_owned),
            Some(KeyPlace::Meta(_)) => meta_key.map(str::to_owned),
            Some(KeyPlace::Call) => Some(reference.clone()),
            None => None,
        };
        let keyed = key.is_some() == (contract.effect == EffectClass::Idempotent);
        self.check(Invariant::ExactlyOnce, keyed, || format!("{reference} goes without its key"));
        self.fate(&reference, key, &contract)
    }

    /// Checks that the intent of the call is durable, and that it is this attempt's.
    fn may_begin(&mut self, process: usize, reference: &str, contract: &Contract) {
        let run = self.processes[process].run;
        if self.processes[process].superseded {
            if contract.effect != EffectClass::Read {
                self.counts.beyond_fence += 1;
                self.ledger.deed(reference).beyond_fence = true;
            }
            return;
        }
        let durable = self.books[run].open_call(reference);
        let durable = durable.map(|(id, call)| (id, call.stage.clone(), call.attempts));
        let shadow = self.processes[process].shadow.as_ref();
        let live = durable.as_ref().and_then(|(id, _, _)| shadow?.state().calls.get(id));
        let live_attempts = live.map(|call| call.attempts);
        let written = match &durable {
            Some((_, Stage::Started { .. }, attempts)) => Some(*attempts) == live_attempts,
            Some(_) | None => false,
        };
        self.check(Invariant::AppendThenAct, written, || {
            format!("{reference} begins; durable: {durable:?}, live: attempt {live_attempts:?}")
        });
        let running = self.books[run].state().is_some_and(|s| s.status == Status::Running);
        let reads = contract.effect == EffectClass::Read;
        self.check(Invariant::AppendThenAct, running || reads, || {
            format!("{reference} begins, and the durable run is not running")
        });
    }

    fn fate(&mut self, reference: &str, key: Option<String>, contract: &Contract) -> Fate {
        let within = contract.timeout_ms * 2 / 3;
        let in_ms = self.delay_ms(within);
        let reads = contract.effect == EffectClass::Read;
        let done_before = key.as_ref().is_some_and(|key| self.ledger.knows_key(key));
        let result = self.result(reference);
        if !self.mishap(self.plan.call_fault_one_in) {
            let ticket = (!reads).then(|| self.lands_in(reference, key, 0));
            let reply = if self.pick(24) == 0 {
                Reply::Unfit { result, problem: "it is odd".to_owned() }
            } else {
                Reply::Returned(result)
            };
            return Fate { ticket, ..Fate::later(reply, in_ms) };
        }
        match self.pick(8) {
            0 => Fate::later(Reply::not_sent("closed".to_owned()), in_ms),
            1 => Fate::later(refusal("busy"), in_ms),
            // Done already: a refusal that means the very opposite.
            2 if done_before => Fate::later(refusal("duplicate"), in_ms),
            2 => Fate::later(refusal("no"), in_ms),
            3 => Fate::later(lost(), in_ms),
            4 => Fate { hears_cancel: self.pick(2) == 0, ..Fate::never() },
            _ if reads => Fate::later(lost(), in_ms),
            // Landed, and the answer is lost; or it lands when nobody waits any more.
            5 => {
                let ticket = Some(self.lands_in(reference, key, 0));
                Fate { ticket, ..Fate::later(lost(), in_ms) }
            }
            choice => {
                let late = self.late_ms(contract);
                let ticket = Some(self.lands_in(reference, key, late));
                self.counts.landed_late += u64::from(late > 0);
                let hears_cancel = self.pick(2) == 0;
                if choice == 6 {
                    Fate { ticket, hears_cancel, ..Fate::later(lost(), in_ms) }
                } else {
                    Fate { ticket, hears_cancel, ..Fate::never() }
                }
            }
        }
    }

    /// Draws how late a call may land such that a probe that waits for it, or a person, sees it.
    fn late_ms(&mut self, contract: &Contract) -> u64 {
        if self.plan.jumps_forward {
            return 0;
        }
        let most = lands_late_ms(contract);
        if most == 0 { 0 } else { self.rng.u64(..=most) }
    }

    fn lands_in(&mut self, reference: &str, key: Option<String>, ms: u64) -> u64 {
        let ticket = self.new_name();
        let (at_ms, reference) = (self.true_ms() + ms, reference.to_owned());
        self.ledger.send(Landing { at_ms, reference, key, ticket });
        // What lands at once has landed before anybody can die.
        self.catch_up();
        ticket
    }

    fn result(&mut self, reference: &str) -> ToolResult {
        if self.plan.is_long() && self.pick(3) > 0 {
            return self.long_result(reference);
        }
        match self.pick(6) {
            5 => ToolResult::text(""),
            4 => ToolResult::text(format!("{reference} {}", "long ".repeat(20))),
            _ => ToolResult::json(json!({"ref": reference})),
        }
    }

    /// Returns two to six kilobytes, as text or as JSON.
    fn long_result(&mut self, reference: &str) -> ToolResult {
        let rows = 60 + self.pick(120);
        let rows: Vec<String> =
            (0..rows).map(|row| format!("row {row} of it all, as it is")).collect();
        if self.pick(2) == 0 {
            return ToolResult::text(format!("{reference} has\n{}", rows.join("\n")));
        }
        ToolResult::json(json!({"ref": reference, "rows": rows.join("\n")}))
    }

    /// Answers a probe from the ledger, if at all.
    fn looks_up(&mut self, process: usize, reference: &str) -> Fate {
        self.counts.probes += 1;
        let found = self.ledger.has_landed(reference);
        self.tell(|| format!("process {process} asks after {reference}: {found}"));
        let in_ms = self.delay_ms(100);
        if !self.mishap(self.plan.call_fault_one_in) {
            let result = ToolResult::json(json!({"found": found, "ref": reference}));
            return Fate::later(Reply::Returned(result), in_ms);
        }
        match self.pick(5) {
            0 => Fate::later(lost(), in_ms),
            1 => Fate::later(refusal("no"), in_ms),
            2 => Fate::later(Reply::not_sent("closed".to_owned()), in_ms),
            3 => Fate::later(Reply::Returned(ToolResult::text("garbage")), in_ms),
            _ => Fate::never(),
        }
    }
}

impl Fate {
    fn later(reply: Reply, ms: u64) -> Self {
        Self { reply, answers_in_ms: Some(ms), ticket: None, hears_cancel: false }
    }

    fn now(reply: Reply) -> Self {
        Self::later(reply, 0)
    }

    fn never() -> Self {
        Self { answers_in_ms: None, ..Self::now(lost()) }
    }
}

fn lost() -> Reply {
    Reply::Lost { reason: "gone".to_owned() }
}

fn refusal(message: &str) -> Reply {
    Reply::Refused(Refusal::new(message))
}
