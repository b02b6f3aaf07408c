//! What a call's reply leads to: its outcome, another attempt, or doubt; and what resolves a doubt.

use serde_json::Value;

use super::Stop;
use super::decide::{Draft, RETRY_AFTER_MS_MAX, probe_arguments};
use super::definition::Held;
use super::state::{Call, Stage};
use super::{compensate, context};
use crate::contract::{EffectClass, RetryPolicy};
use crate::event::{
    CallCompleted, CallDoubted, CallProbed, CallRetried, CallSettled, Event, Found, Resolver,
    Undoing, Verdict,
};
use crate::ids::{Attempt, CallId};
use crate::input::Rejected;
use crate::json;
use crate::outcome::{Failure, Outcome, ReadBy, Reply, ToolResult, kind};

impl Draft<'_> {
    pub fn call_replied(&mut self, id: CallId, reply: Reply, ms: u64) {
        let Some(call) = self.state.calls.get(&id).cloned() else { return };
        let Some(held) = self.definition.held(&call.tool) else { return };
        let contract = &held.tool.contract;
        match reply {
            Reply::Returned(result) => self.returned(id, &call, held, result, ms),
            Reply::Unfit { result, problem } => {
                let problem = format!("It does not fit the tool's own output schema: {problem}.");
                self.unusable(id, &call, held, result, kind::INVALID_RESULT, &problem, ms);
            }
            Reply::Refused(refusal) => {
                let retry_after_ms = refusal.retry_after_ms.unwrap_or(0);
                let failure = Failure::from_refusal(contract, refusal);
                let declared = contract.failures.contains_key(&failure.kind);
                if call.haunted && !declared && contract.effect != EffectClass::Read {
                    // An earlier attempt may be the very reason why this one was refused.
                    let reason = format!(
                        "an earlier attempt gave no answer, and this one was refused: {}",
                        failure.message
                    );
                    self.doubt(id, &reason);
                    return;
                }
                let again = failure.retryable;
                // "Try again later" says nothing about an earlier attempt that may have landed.
                let haunted = again && call.haunted;
                if haunted && self.next_try(&call, held, retry_after_ms).is_none() {
                    let reason = format!("{}; an earlier attempt may have landed", failure.message);
                    return self.lost(id, &call, held, &reason, retry_after_ms, ms);
                }
                self.fail_attempt(id, &call, held, failure, again, retry_after_ms, ms);
            }
            Reply::NotSent { reason, retry_after_ms } if call.haunted => {
                self.lost(id, &call, held, &reason, retry_after_ms, ms);
            }
            Reply::NotSent { reason, retry_after_ms } => {
                let message = format!("{reason}. The call did not start.");
                let failure = Failure::new(kind::UNAVAILABLE, message).retryable();
                self.fail_attempt(id, &call, held, failure, true, retry_after_ms, ms);
            }
            Reply::Lost { reason } => self.lost(id, &call, held, &reason, 0, ms),
        }
    }

    /// An attempt may have landed and gave no answer.
    fn lost(
        &mut self,
        id: CallId,
        call: &Call,
        held: &Held,
        reason: &str,
        retry_after_ms: u64,
        ms: u64,
    ) {
        let effect = held.tool.contract.effect;
        let failure = Failure::new(kind::LOST, reason).retryable();
        match effect {
            EffectClass::Read => {
                self.fail_attempt(id, call, held, failure, true, retry_after_ms, ms);
            }
            EffectClass::Idempotent if self.next_try(call, held, retry_after_ms).is_some() => {
                self.fail_attempt(id, call, held, failure, true, retry_after_ms, ms);
            }
            EffectClass::Idempotent | EffectClass::Write => self.doubt(id, reason),
        }
    }

    /// Returns how long another attempt waits, in milliseconds; none if there may be none. A run that
    /// is parked first makes it when it is resumed, unless it is a write, whose attempts must not be
    /// guessed at later.
    fn next_try(&self, call: &Call, held: &Held, retry_after_ms: u64) -> Option<u64> {
        let stopped = match self.stopping() {
            None => false,
            Some(Stop::Cancelled { .. }) => true,
            Some(Stop::Interrupted | Stop::WallTime) => {
                held.tool.contract.effect == EffectClass::Write
            }
        };
        let policy = held.tool.contract.retry;
        let wait_ms = policy.backoff_before(call.tries + 1, self.now.entropy).max(retry_after_ms);
        // Nobody waits for a try that would begin too late, or later than a person would like.
        let latest = policy.deadline_ms.map(|deadline_ms| call.first_at.plus_ms(deadline_ms));
        let in_time = latest.is_none_or(|latest| self.now.at.plus_ms(wait_ms) <= latest)
            && retry_after_ms <= RETRY_AFTER_MS_MAX;
        (!stopped && in_time && call.tries < policy.attempts_max).then_some(wait_ms)
    }

    /// An attempt certainly failed: it is made again, or the call has failed.
    #[expect(clippy::too_many_arguments, reason = "each is a word about the same attempt")]
    fn fail_attempt(
        &mut self,
        id: CallId,
        call: &Call,
        held: &Held,
        failure: Failure,
        again: bool,
        retry_after_ms: u64,
        ms: u64,
    ) {
        let attempt = Attempt(call.attempts);
        match self.next_try(call, held, retry_after_ms).filter(|_| again) {
            Some(retry_in_ms) => self.emit(Event::CallRetried(CallRetried {
                call: id,
                attempt,
                failure,
                retry_in_ms,
            })),
            None => self.complete(id, attempt, Outcome::Failed(failure), ms),
        }
    }

    /// The tool says that it did what it was asked. The contract may know better.
    fn returned(&mut self, id: CallId, call: &Call, held: &Held, result: ToolResult, ms: u64) {
        let contract = &held.tool.contract;
        if let Some(failure) = Failure::in_result(contract, &result) {
            let again = failure.retryable;
            self.fail_attempt(id, call, held, failure, again, 0, ms);
        } else if contract.empty_fails && result.is_empty() {
            let problem = "The tool said nothing where something is due.";
            self.unusable(id, call, held, result, kind::EMPTY_RESULT, problem, ms);
        } else {
            self.complete_ok(id, Attempt(call.attempts), held, result, ms);
        }
    }

    /// The call was made, and what came back cannot be relied on.
    #[expect(clippy::too_many_arguments, reason = "each is a word about the same attempt")]
    fn unusable(
        &mut self,
        id: CallId,
        call: &Call,
        held: &Held,
        result: ToolResult,
        kind: &str,
        problem: &str,
        ms: u64,
    ) {
        let landed = held.tool.contract.effect != EffectClass::Read;
        let undo = compensate::undoing(held, call, &result);
        let result = self.limited(id, held, result);
        let mut message = problem.to_owned();
        if !result.is_empty() {
            message = format!("{message} It was: {}", result.plain_text());
        }
        let advice = landed.then(|| "The call took effect. Do not make it again.".to_owned());
        let whole = result.whole;
        let failure = Failure { landed, advice, whole, ..Failure::new(kind, message) };
        let (attempt, outcome) = (Attempt(call.attempts), Outcome::Failed(failure));
        self.outcome(id, attempt, outcome, ms, undo);
    }

    fn complete_ok(
        &mut self,
        id: CallId,
        attempt: Attempt,
        held: &Held,
        result: ToolResult,
        ms: u64,
    ) {
        let call = self.state.calls.get(&id);
        let undo = call.and_then(|call| compensate::undoing(held, call, &result));
        let records = self.entries_of(id, held, &result);
        let result = self.limited(id, held, result);
        let outcome = Outcome::Ok(result);
        self.outcome(id, attempt, outcome, ms, undo);
        self.record_entries_of(id, held, records);
    }

    /// Keeps of a result what the context has room for; the rest is kept beside the journal.
    fn limited(&mut self, id: CallId, held: &Held, result: ToolResult) -> ToolResult {
        let policy = self.definition.agent().context.as_ref();
        let bytes_max = context::result_bytes_max(&self.state, policy, &held.tool);
        let read_by = if policy.is_some() { ReadBy::Recall(id) } else { ReadBy::Name };
        let (result, blob) = result.readable().limited(read_by, bytes_max);
        self.blobs.extend(blob);
        result
    }

    /// The call has an outcome that leaves nothing to undo.
    pub fn complete(&mut self, call: CallId, attempt: Attempt, outcome: Outcome, ms: u64) {
        self.outcome(call, attempt, outcome, ms, None);
    }

    fn outcome(
        &mut self,
        call: CallId,
        attempt: Attempt,
        outcome: Outcome,
        ms: u64,
        undo: Option<Undoing>,
    ) {
        let tool = self.state.calls.get(&call).map(|call| call.tool.as_str());
        let echo = tool.map(|tool| self.definition.trust.echo(&self.state, tool, attempt));
        let echo = echo.unwrap_or_default();
        let completed = CallCompleted { call, attempt, outcome, ms, undo, echo };
        self.emit(Event::CallCompleted(completed));
    }

    /// It is not known whether the call landed: the probe is asked if there is one, else a person.
    pub(super) fn doubt(&mut self, id: CallId, reason: &str) {
        let Some(call) = self.state.calls.get(&id) else { return };
        let attempt = Attempt(call.attempts);
        // A cancelled run asks nothing any more.
        let cancelled = matches!(self.stopping(), Some(Stop::Cancelled { .. }));
        let (resolved_by, reason) = match probe_arguments(self.definition, &self.state, id) {
            Ok(Some(_)) if cancelled => (Resolver::Person, reason.to_owned()),
            Ok(Some(_)) => (Resolver::Probe, reason.to_owned()),
            Ok(None) => (Resolver::Person, reason.to_owned()),
            Err(problem) => {
                (Resolver::Person, format!("{reason}; its probe cannot be asked: {problem}"))
            }
        };
        let doubted = CallDoubted { call: id, attempt, reason, resolved_by };
        self.emit(Event::CallDoubted(doubted));
    }

    pub fn probe_replied(&mut self, id: CallId, reply: Reply) {
        let Some(call) = self.state.calls.get(&id).cloned() else { return };
        let Some(held) = self.definition.held(&call.tool) else { return };
        let Stage::Probing { attempt, tries, .. } = call.stage else { return };
        let retry_after_ms = match &reply {
            Reply::NotSent { retry_after_ms, .. } => *retry_after_ms,
            Reply::Refused(refusal) => refusal.retry_after_ms.unwrap_or(0),
            Reply::Returned(_) | Reply::Unfit { .. } | Reply::Lost { .. } => 0,
        };
        match self.read_probe(id, &call, held, reply) {
            Ok(Some(result)) => {
                self.probed(id, Found::Landed, None);
                self.complete_ok(id, attempt, held, result, 0);
            }
            Ok(None) => {
                self.probed(id, Found::NotLanded, None);
                if call.tries >= held.tool.contract.retry.attempts_max {
                    let message = format!(
                        "{} attempts gave no answer, and the probe finds no effect of them",
                        call.attempts
                    );
                    let failure = Failure::new(kind::LOST, message).retryable();
                    self.complete(id, attempt, Outcome::Failed(failure), 0);
                }
            }
            Err(reason) => {
                let policy = self
                    .definition
                    .held(held.tool.contract.probe.as_ref().map_or("", |p| p.tool.as_str()))
                    .map_or(RetryPolicy::TOOL, |probe| probe.tool.contract.retry);
                let again = tries + 1 < policy.attempts_max && retry_after_ms <= RETRY_AFTER_MS_MAX;
                let wait = policy.backoff_before(tries + 2, self.now.entropy).max(retry_after_ms);
                self.probed(id, Found::Unclear { reason: reason.clone() }, again.then_some(wait));
                if !again {
                    let reason = format!("its probe gave no clear answer: {reason}");
                    self.emit(Event::CallDoubted(CallDoubted {
                        call: id,
                        attempt,
                        reason,
                        resolved_by: Resolver::Person,
                    }));
                }
            }
        }
    }

    fn probed(&mut self, call: CallId, found: Found, retry_in_ms: Option<u64>) {
        self.emit(Event::CallProbed(CallProbed { call, found, retry_in_ms }));
    }

    /// Returns the call's result if the probe says that it landed, none if it says that it did
    /// not, and an error if it does not say.
    fn read_probe(
        &self,
        id: CallId,
        call: &Call,
        held: &Held,
        reply: Reply,
    ) -> Result<Option<ToolResult>, String> {
        let Some(probe) = &held.tool.contract.probe else { return Err("there is none".into()) };
        let found = match reply {
            Reply::Returned(result) => result,
            Reply::Unfit { problem, .. } => return Err(problem),
            Reply::Refused(refusal) => return Err(refusal.message),
            Reply::NotSent { reason, .. } | Reply::Lost { reason } => return Err(reason),
        };
        let value = found.value();
        let key = Value::String(super::key_of(&self.state, id));
        let variables = [("result", &value), ("args", call.arguments()), ("key", &key)];
        if !probe.landed.eval_bool(&variables).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        match &probe.result {
            None => Ok(Some(found)),
            Some(result) => {
                let value = result.eval(&variables).map_err(|error| error.to_string())?;
                Ok(Some(ToolResult::json(value)))
            }
        }
    }

    pub fn settled(&mut self, id: CallId, verdict: Verdict, by: &str) -> Result<(), Rejected> {
        let call = self.state.calls.get(&id).cloned();
        let Some((call, Stage::InDoubt { attempt, .. })) =
            call.as_ref().map(|call| (call, call.stage.clone()))
        else {
            return Err(Rejected::NotInDoubt { call: id });
        };
        let Some(held) = self.definition.held(&call.tool) else {
            return Err(Rejected::NotInDoubt { call: id });
        };
        if let Verdict::Landed(Some(result)) = &verdict
            && !json::is_shallow(result)
        {
            let problem = format!("it nests deeper than {} levels", json::DEPTH_MAX);
            return Err(Rejected::InvalidResult { tool: call.tool.clone(), problem });
        }
        if let (Verdict::Landed(Some(result)), Some(schema)) = (&verdict, &held.tool.output_schema)
            && let Some(mismatch) = crate::schema::mismatches(schema, result).first()
        {
            let problem = format!("at {}: {}", mismatch.at, mismatch.problem);
            return Err(Rejected::InvalidResult { tool: call.tool.clone(), problem });
        }
        self.emit(Event::CallSettled(CallSettled {
            call: id,
            verdict: verdict.clone(),
            by: by.to_owned(),
        }));
        match verdict {
            Verdict::Landed(Some(result)) => {
                self.complete_ok(id, attempt, held, ToolResult::json(result), 0);
            }
            Verdict::Landed(None) => {
                let note = serde_json::json!({
                    "status": "ok", "tool": call.tool,
                    "note": format!("The answer was lost, and {by} confirmed that the call took effect."),
                });
                self.complete_ok(id, attempt, held, ToolResult::json(note), 0);
            }
            Verdict::NotLanded => {}
            Verdict::Unknown => {
                let reason =
                    format!("The answer was lost, and {by} could not find out what happened.");
                self.complete(id, attempt, Outcome::InDoubt { reason }, 0);
            }
        }
        Ok(())
    }
}
