//! Groups: calls that take together or not at all.
//!
//! The first call of a group's tools opens it. A call that can be undone is made at once; one that
//! cannot be undone waits. [`COMMIT_GROUP`] makes what waits, in its order, and should one of those
//! calls fail, what the group did is undone, newest first. [`UNDO_GROUP`] does that on the model's
//! own wish, and so does the end of a run that fails or is cancelled. A group is not closed while
//! the model has not said so: a final answer is sent back until then.
//!
//! Both are calls of the model that the core answers itself. What they lead to are calls like any
//! other: intended, retried, probed and settled by the same rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::budget;
use super::changes::{Change, UNDO_UNKNOWN};
use super::compensate::{UNDO_BYTES_MAX, given_up, undo_of, why_kept};
use super::decide::{Draft, performable};
use super::definition::Definition;
use super::program::Program;
use super::state::{Call, Stage, State, Status, asked};
use super::transcript::CALLS_MAX;
use crate::agent::{Group, Tool};
use crate::budget::BudgetKind;
use crate::contract::{Contract, EffectClass};
use crate::event::{
    AfterClosing, CallCompleted, CloseHow, Ending, Event, GroupClosingStarted, Kept, PlannedCall,
    RunParked,
};
use crate::ids::{Attempt, CallId, Digest};
use crate::message::ToolInput;
use crate::outcome::{Failure, Outcome, ToolResult, kind};

/// The call that makes what waits in a group.
pub const COMMIT_GROUP: &str = "commit_group";
/// The call that undoes a group.
pub const UNDO_GROUP: &str = "undo_group";

/// Most calls that one open group holds: they are kept with the state.
const GROUP_CALLS_MAX: usize = 100;
/// Longest result of a committed call that the answer to the commit holds, and longest of all of them
/// together, in bytes.
const DONE_BYTES_MAX: usize = 4 * 1024;
const ANSWER_BYTES_MAX: usize = 24 * 1024;
/// Longest message that is kept of a failed call, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

const NOBODY_KNOWS: &str = "nobody knows whether it took effect";

/// The calls of a group since it was last closed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OpenGroup {
    /// Calls that were made, failed, and were not made good by the same call.
    #[serde(default)]
    failed: Vec<FailedCall>,
    /// What was done, oldest first.
    made: Vec<Arc<Change>>,
    /// What waits for the commit, oldest first.
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FailedCall {
    call: CallId,
    tool: String,
    asked: Digest,
    /// Shortened.
    message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    call: CallId,
    tool: String,
    input: Arc<ToolInput>,
}

impl OpenGroup {
    pub fn is_open(&self) -> bool {
        self.calls() > 0
    }

    /// Returns how many calls were made or wait.
    pub fn calls(&self) -> usize {
        self.made.len() + self.waiting.len()
    }
}

/// Groups that are being committed or undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Closing {
    pub groups: Vec<String>,
    pub how: CloseHow,
    because: Option<String>,
    pub then: AfterClosing,
    /// For whom each open call is made.
    open: BTreeMap<CallId, CallId>,
    /// Calls that were committed, or undone.
    done: Vec<Done>,
    kept: Vec<Kept>,
    /// The call that could not be committed, and why.
    broken: Option<Kept>,
    /// Whether that one may have landed.
    unclear: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Done {
    of: CallId,
    tool: String,
    /// None if it is too large to be told here; the journal has it.
    result: Option<Arc<ToolResult>>,
    bytes: usize,
}

impl Closing {
    fn start(event: &GroupClosingStarted) -> Self {
        Self {
            groups: event.groups.clone(),
            how: event.how,
            because: event.because.clone(),
            then: event.then.clone(),
            open: event.calls.iter().map(|planned| (planned.call, planned.of)).collect(),
            done: Vec::new(),
            kept: event.kept.clone(),
            broken: None,
            unclear: false,
        }
    }

    fn completed(&mut self, call: CallId, tool: &str, outcome: &Outcome) {
        let Some(of) = self.open.remove(&call) else { return };
        let result = match outcome {
            Outcome::Ok(result) => Some(result.clone()),
            Outcome::Failed(failure) if failure.landed => {
                Some(ToolResult::text(failure.message.as_str()))
            }
            Outcome::Failed(_)
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::InDoubt { .. }
            | Outcome::Deferred { .. } => None,
        };
        match (result, self.how) {
            (Some(result), _) => {
                let told: usize = self.done.iter().map(|done| done.bytes).sum();
                let bytes = result.bytes();
                let fits = bytes <= DONE_BYTES_MAX && told + bytes <= ANSWER_BYTES_MAX;
                let result = fits.then(|| Arc::new(result));
                self.done.push(Done { of, tool: tool.to_owned(), result, bytes });
            }
            (None, CloseHow::Undo) => {
                let why = why_kept(outcome).unwrap_or_default();
                self.kept.push(Kept { call: of, why });
            }
            (None, CloseHow::Commit) => {
                self.unclear = matches!(outcome, Outcome::InDoubt { .. });
                self.broken = Some(Kept { call: of, why: failed_why(outcome) });
            }
        }
    }

    /// Returns the call of the model that a call of this closing is made for; any other stands for itself.
    pub fn made_for(&self, call: CallId) -> CallId {
        self.open.get(&call).copied().unwrap_or(call)
    }

    /// Returns what stays if nothing more is undone.
    fn left(&self) -> Vec<Kept> {
        self.kept.iter().cloned().chain(given_up(&self.open)).collect()
    }

    /// Returns the call that an open call of this closing undoes.
    pub fn undone_by(&self, undo: CallId) -> Option<CallId> {
        self.open.get(&undo).copied().filter(|_| self.how == CloseHow::Undo)
    }

    fn is_over_for(&self, of: CallId) -> bool {
        self.done.iter().any(|done| done.of == of) || self.kept.iter().any(|kept| kept.call == of)
    }
}

fn failed_why(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(_) | Outcome::Deferred { .. } => outcome.word().to_owned(),
        Outcome::Failed(failure) => format!("{}: {}", failure.kind, failure.message),
        Outcome::Denied { rule, message } => format!("the rule `{rule}` forbids it: {message}"),
        Outcome::Rejected { by, reason } => format!("{by} rejected it: {reason}"),
        Outcome::InDoubt { reason } => reason.clone(),
    }
}

/// Returns the calls that a model closes groups with; none if there are no groups.
pub(super) fn closers(groups: &[Group]) -> Vec<Tool> {
    if groups.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let about: Vec<String> = groups
        .iter()
        .map(|group| format!("`{}` ({})", group.name, group.tools.join(", ")))
        .collect();
    let about = about.join("; ");
    let schema = json!({
        "type": "object",
        "properties": {"group": {
            "type": "string", "enum": names, "description": "The group's name.",
        }},
        "required": ["group"],
        "additionalProperties": false,
    });
    let tool = |name: &str, description: String| Tool {
        name: name.to_owned(),
        description,
        input_schema: schema.clone(),
        output_schema: None,
        contract: Contract::of(EffectClass::Read),
        shown: true,
    };
    vec![
        tool(
            COMMIT_GROUP,
            format!(
                "Makes the calls of a group final. Calls of a group's tools take together or not at \
                 all: those that cannot be undone are made only now, and if one of them fails, all \
                 calls of the group are undone. Groups: {about}."
            ),
        ),
        tool(
            UNDO_GROUP,
            format!(
                "Undoes all calls of a group since it was last closed, and drops those that wait. \
                 Groups: {about}."
            ),
        ),
    ]
}

/// What a group has to do with a call.
pub(super) enum Role<'a> {
    Plain,
    /// It waits for the commit of this group.
    Waits(&'a Group),
    Closes(CloseHow),
}

impl Role<'_> {
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }
}

pub(super) fn role<'a>(
    definition: &'a Definition,
    state: &State,
    id: CallId,
    call: &Call,
) -> Role<'a> {
    let agent = definition.agent();
    let asked = matches!(state.program, Program::Agent(_)) && !is_planned(id);
    if !asked || agent.groups.is_empty() {
        return Role::Plain;
    }
    match call.tool.as_str() {
        COMMIT_GROUP => Role::Closes(CloseHow::Commit),
        UNDO_GROUP => Role::Closes(CloseHow::Undo),
        tool => match member_of(definition, tool) {
            Some((group, contract)) if contract.undo.is_none() => Role::Waits(group),
            Some(_) | None => Role::Plain,
        },
    }
}

/// Returns the group of a tool that changes the world.
fn member_of<'a>(definition: &'a Definition, tool: &str) -> Option<(&'a Group, &'a Contract)> {
    let contract = &definition.held(tool)?.tool.contract;
    let group = definition.agent().group_of(tool)?;
    (contract.effect != EffectClass::Read).then_some((group, contract))
}

/// Returns whether the runtime makes the call to close a group. No answer has as many calls.
pub(super) fn is_planned(id: CallId) -> bool {
    id.index > CALLS_MAX
}

impl Draft<'_> {
    /// Refuses the calls that a group has no room for.
    pub(super) fn refuse_beyond_groups(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some((group, contract)) = member_of(self.definition, &call.tool) else { continue };
            let name = group.name.clone();
            let open = || self.state.groups.get(&name).map_or(0, OpenGroup::calls);
            let count = counts.entry(name.clone()).or_insert_with(open);
            let bytes = call.arguments().to_string().len();
            let message = if *count >= GROUP_CALLS_MAX {
                format!("The group `{name}` holds {GROUP_CALLS_MAX} calls, and takes no more.")
            } else if contract.undo.is_none() && bytes > UNDO_BYTES_MAX {
                format!(
                    "A call that waits for its group may have {UNDO_BYTES_MAX} bytes of arguments; \
                     this one has {bytes}."
                )
            } else {
                *count += 1;
                continue;
            };
            self.not_started(id, kind::GROUP_REFUSED, message, Vec::new());
        }
    }

    /// Decides what the first open call means for its group; false if it is a call like any other.
    pub(super) fn mind_groups(&mut self) -> bool {
        let first = performable(self.definition, &self.state).next();
        let Some((id, call)) = first.filter(|(_, call)| call.stage == Stage::Waiting) else {
            return false;
        };
        match role(self.definition, &self.state, id, call) {
            Role::Plain => false,
            Role::Waits(group) => {
                let group = group.name.clone();
                self.complete(id, Attempt(0), Outcome::Deferred { group }, 0);
                true
            }
            Role::Closes(how) => {
                let group = call.arguments()["group"].as_str().unwrap_or_default().to_owned();
                match how {
                    CloseHow::Commit => self.commit(id, group),
                    CloseHow::Undo => {
                        self.undo_groups(vec![group], None, AfterClosing::Answer(id));
                    }
                }
                true
            }
        }
    }

    fn commit(&mut self, by: CallId, group: String) {
        let open = self.state.groups.get(&group).cloned().unwrap_or_default();
        let then = AfterClosing::Answer(by);
        if let Some(unclear) = open.made.iter().find(|change| !change.certain) {
            let (call, tool) = (unclear.call, &unclear.tool);
            let because = format!("nobody knows whether call {call} ({tool}) took effect");
            self.undo_groups(vec![group], Some(because), then);
            return;
        }
        let failed: Vec<String> = open
            .failed
            .iter()
            .map(|failed| format!("{} {} ({})", failed.call, failed.tool, failed.message))
            .collect();
        if !failed.is_empty() {
            let message = format!(
                "These calls of the group `{group}` failed: {}. Make them good by the same calls, or \
                 call {UNDO_GROUP}.",
                failed.join("; ")
            );
            self.not_started(by, kind::GROUP_REFUSED, message, Vec::new());
            return;
        }
        if !open.is_open() {
            let note = "The group holds no call: there was nothing to commit.";
            let told = json!({"status": "empty", "group": group, "note": note});
            self.complete(by, Attempt(0), Outcome::Ok(ToolResult::json(told)), 0);
            return;
        }
        // Half of it would be the worst of both.
        if budget::calls_left(&self.state) < open.waiting.len() as u64 {
            let reason = budget::park_reason(&self.state, BudgetKind::ToolCalls);
            self.emit(Event::RunParked(RunParked { reason }));
            return;
        }
        let mut ids = self.planned_ids();
        let calls = open.waiting.iter().filter_map(|waiting| {
            let arguments = match &*waiting.input {
                ToolInput::Json(value) => value.clone(),
                ToolInput::Malformed(_) => return None,
            };
            let (call, of, tool) = (ids.next()?, waiting.call, waiting.tool.clone());
            Some(PlannedCall { call, of, tool, arguments })
        });
        let calls = calls.collect();
        self.emit(Event::GroupClosingStarted(GroupClosingStarted {
            groups: vec![group],
            how: CloseHow::Commit,
            calls,
            kept: Vec::new(),
            because: None,
            then,
        }));
    }

    /// Returns ids of calls that were never used.
    fn planned_ids(&self) -> impl Iterator<Item = CallId> + use<> {
        let turn = self.state.agent_loop().turn;
        let used = self.state.calls.keys().filter(|id| id.turn == turn).map(|id| id.index).max();
        (used.unwrap_or(0).max(CALLS_MAX) + 1..=u16::MAX).map(move |index| CallId::new(turn, index))
    }

    /// Begins to undo what groups did, newest first.
    fn undo_groups(&mut self, groups: Vec<String>, because: Option<String>, then: AfterClosing) {
        let held = groups.iter().filter_map(|name| self.state.groups.get(name));
        let mut made: Vec<Arc<Change>> = held.flat_map(|group| group.made.clone()).collect();
        made.sort_by_key(|change| std::cmp::Reverse(change.call));
        let mut kept = Vec::new();
        if let Some(closing) = self.state.closing.as_ref().filter(|c| c.how == CloseHow::Commit) {
            kept.extend(closing.done.iter().map(|done| Kept {
                call: done.of,
                why: format!("it was made, and the contract of {} names no undo", done.tool),
            }));
            let unclear = closing.broken.iter().filter(|_| closing.unclear);
            kept.extend(unclear.map(|kept| Kept { call: kept.call, why: NOBODY_KNOWS.to_owned() }));
        }
        let undoing = self.state.closing.as_ref().filter(|c| c.how == CloseHow::Undo);
        kept.extend(undoing.iter().flat_map(|closing| closing.kept.clone()));
        let mut ids = self.planned_ids();
        let mut calls = Vec::new();
        for change in made {
            // What an undoing that was given up has come to.
            if undoing.is_some_and(|closing| closing.is_over_for(change.call)) {
                continue;
            }
            if undoing.is_some_and(|closing| self.has_begun(closing, change.call)) {
                kept.push(Kept { call: change.call, why: UNDO_UNKNOWN.to_owned() });
                continue;
            }
            match undo_of(self.definition, &change) {
                None => {}
                Some(Err(why)) => kept.push(Kept { call: change.call, why }),
                Some(Ok((tool, arguments))) => {
                    let Some(call) = ids.next() else { continue };
                    calls.push(PlannedCall { call, of: change.call, tool, arguments });
                }
            }
        }
        let how = CloseHow::Undo;
        let closing = GroupClosingStarted { groups, how, calls, kept, because, then };
        self.emit(Event::GroupClosingStarted(closing));
    }

    /// Returns whether the undo of a call may have been made. An intent alone says nothing in a run
    /// that is parked: who drove it before had recovered it first.
    fn has_begun(&self, closing: &Closing, of: CallId) -> bool {
        let undo = closing.open.iter().find(|(_, undone)| **undone == of).map(|(undo, _)| undo);
        let call = undo.and_then(|undo| self.state.calls.get(undo));
        call.is_some_and(|call| match call.stage {
            Stage::Probing { .. } | Stage::InDoubt { .. } => true,
            Stage::Started { .. } => call.haunted,
            Stage::Waiting | Stage::Asked | Stage::Done => false,
        })
    }

    /// Ends the run, once what its open groups did is undone.
    pub(super) fn end(&mut self, ending: Ending) {
        if let Some(Closing { then: AfterClosing::End(before), .. }) = &self.state.closing {
            // Nobody waits for the undoing any more. What was not known before is not known now.
            let doubted = match &**before {
                Ending::Cancelled { in_doubt, .. } => in_doubt.clone(),
                Ending::Completed { .. } | Ending::Failed { .. } | Ending::Compensated { .. } => {
                    Vec::new()
                }
            };
            let kept = self.state.closing.as_ref().map(Closing::left).unwrap_or_default();
            self.finish(with_left(ending, doubted, kept));
            return;
        }
        let open = self.state.open_groups();
        if open.is_empty() {
            self.finish(ending);
        } else {
            self.undo_groups(open, None, AfterClosing::End(Box::new(ending)));
        }
    }

    /// Decides one thing that follows while groups are being closed; false if nothing does.
    pub(super) fn go_on_closing(&mut self) -> bool {
        let Some(closing) = &self.state.closing else { return false };
        if let Some(broken) = &closing.broken {
            let because = format!("call {} could not be made: {}", broken.call, broken.why);
            let (groups, then) = (closing.groups.clone(), closing.then.clone());
            self.undo_groups(groups, Some(because), then);
            return true;
        }
        if !closing.open.is_empty() {
            return self.start_calls() || self.park_in_doubt();
        }
        match closing.then.clone() {
            AfterClosing::End(ending) => {
                let kept = closing.left();
                self.finish(with_left(*ending, Vec::new(), kept));
            }
            AfterClosing::Answer(by) => {
                let outcome = answer(closing);
                self.complete(by, Attempt(0), outcome, 0);
            }
        }
        true
    }
}

/// Returns what the model is told of a closed group.
fn answer(closing: &Closing) -> Outcome {
    let groups = closing.groups.join(", ");
    let kept: Vec<Value> =
        closing.kept.iter().map(|kept| json!({"call": kept.call, "why": kept.why})).collect();
    let done = |with_result: bool| -> Vec<Value> {
        let calls = closing.done.iter().map(|done| match &done.result {
            _ if !with_result => json!({"call": done.of, "by": done.tool}),
            Some(result) => {
                json!({"call": done.of, "tool": done.tool, "result": result.value()})
            }
            None => json!({"call": done.of, "tool": done.tool, "result_bytes": done.bytes}),
        });
        calls.collect()
    };
    match (closing.how, &closing.because) {
        (CloseHow::Commit, _) => Outcome::Ok(ToolResult::json(json!({
            "status": "committed", "group": groups, "made": done(true),
        }))),
        (CloseHow::Undo, None) if kept.is_empty() => Outcome::Ok(ToolResult::json(json!({
            "status": "undone", "group": groups, "undone": done(false),
        }))),
        // What stays although it should not is a failure, whoever asked for the undo.
        (CloseHow::Undo, because) => {
            let because = because.as_ref().map_or_else(
                || " as far as that goes".to_owned(),
                |because| format!(": {}", because.trim_end_matches('.')),
            );
            let mut message = format!("The group `{groups}` was undone{because}.");
            if !kept.is_empty() {
                message = format!("{message} This stays: {}.", Value::from(kept));
            }
            let advice =
                "Begin the group again, or give your final answer and say what is missing.";
            let advice = Some(advice.to_owned());
            Outcome::Failed(Failure { advice, ..Failure::new(kind::GROUP_UNDONE, message) })
        }
    }
}

/// Returns an ending that says what could not be undone, and what nobody has found out about.
fn with_left(ending: Ending, doubted: Vec<CallId>, more: Vec<Kept>) -> Ending {
    match ending {
        Ending::Failed { reason, message, mut kept } => {
            kept.extend(more);
            Ending::Failed { reason, message, kept }
        }
        Ending::Cancelled { by, reason, mut in_doubt, mut kept } => {
            in_doubt.extend(doubted);
            kept.extend(more);
            Ending::Cancelled { by, reason, in_doubt, kept }
        }
        Ending::Completed { .. } | Ending::Compensated { .. } => ending,
    }
}

impl State {
    /// Returns the names of the groups that are neither committed nor undone.
    pub fn open_groups(&self) -> Vec<String> {
        let open = self.groups.iter().filter(|(_, group)| group.is_open() && !self.ended());
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Returns whether the run ends as soon as its groups are undone.
    pub fn is_ending(&self) -> bool {
        let then = self.closing.as_ref().map(|closing| &closing.then);
        then.is_some_and(|then| matches!(then, AfterClosing::End(_)))
    }

    pub(super) fn group_closing_started(&mut self, event: &GroupClosingStarted) {
        self.status = Status::Running;
        // What an interrupted closing left open is not made any more.
        for (_, call) in self.calls.iter_mut().filter(|(id, _)| is_planned(**id)) {
            call.stage = Stage::Done;
        }
        for planned in &event.calls {
            let input = ToolInput::Json(planned.arguments.clone());
            self.calls.insert(planned.call, Call::new(planned.tool.clone(), input, self.seq));
        }
        self.closing = Some(Closing::start(event));
    }

    /// Takes in how a call of a group, or one that closes it, has ended.
    pub(super) fn group_call_completed(
        &mut self,
        definition: &Definition,
        completed: &CallCompleted,
    ) {
        let id = completed.call;
        let Some(call) = self.calls.get(&id) else { return };
        if let Some(closing) = &mut self.closing {
            if closing.then == AfterClosing::Answer(id) {
                for name in &closing.groups {
                    self.groups.remove(name);
                }
                self.closing = None;
                // The model is told of what was done and of what was not: that must be so.
                self.outcome_seq = self.seq;
            } else {
                closing.completed(id, &call.tool, &completed.outcome);
            }
            return;
        }
        let Some((group, _)) = member_of(definition, &call.tool).filter(|_| !is_planned(id)) else {
            return;
        };
        let tool = call.tool.clone();
        let certain = match &completed.outcome {
            Outcome::Ok(_) => true,
            Outcome::Failed(failure) if failure.landed => true,
            Outcome::InDoubt { .. } => false,
            Outcome::Deferred { .. } => {
                let waiting = Waiting { call: id, tool, input: Arc::clone(&call.input) };
                self.groups.entry(group.name.clone()).or_default().waiting.push(waiting);
                return;
            }
            // What never began, because it was written wrongly or is forbidden, is no call of the group.
            Outcome::Failed(failure) if completed.attempt.0 > 0 => {
                let message = format!("{}: {}", failure.kind, failure.message);
                let end = message.floor_char_boundary(MESSAGE_BYTES_MAX.min(message.len()));
                let message = message[..end].to_owned();
                let failed = FailedCall { call: id, tool, asked: asked(call), message };
                let group = self.groups.entry(group.name.clone()).or_default();
                group.failed.retain(|known| known.asked != failed.asked);
                group.failed.truncate(GROUP_CALLS_MAX);
                group.failed.push(failed);
                return;
            }
            Outcome::Failed(_) | Outcome::Denied { .. } | Outcome::Rejected { .. } => return,
        };
        let made_good = asked(call);
        let change = Arc::new(Change { call: id, tool, certain, undo: completed.undo.clone() });
        let group = self.groups.entry(group.name.clone()).or_default();
        group.failed.retain(|known| known.asked != made_good);
        group.made.push(change);
    }
}
