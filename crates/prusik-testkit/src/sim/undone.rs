//! What is undone, and what must be: groups take together or not at all, and a compensated run leaves
//! nothing that it does not name.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::contract::EffectClass;
use prusik_core::event::{CallCompleted, CloseHow, Ending, Event, Kept, PlannedCall};
use prusik_core::ids::CallId;
use prusik_core::outcome::Outcome;
use prusik_core::run::{COMMIT_GROUP, UNDO_GROUP};

use super::book::about;
use super::plan::UNDO_OF;
use super::world::{Invariant, World};

/// What a run did that is still to be judged.
#[derive(Debug, Default)]
pub struct Undoable {
    /// The calls of each group since it was last closed, with their references.
    groups: BTreeMap<String, Vec<(CallId, String)>>,
    /// The calls of each group that failed and were not made good by the same call.
    failed: BTreeMap<String, Vec<(CallId, String)>>,
    /// Whether a person wants the run to end.
    pub cancelled: bool,
    /// Calls that the runtime makes of its own accord.
    planned: BTreeSet<CallId>,
    /// Calls of undos that have been started: no ceiling holds for them.
    pub undos_started: u64,
    /// What each undo undoes.
    pub undos: BTreeMap<CallId, CallId>,
}

impl World {
    /// Takes down what an event means for what may have to be undone.
    pub fn note_undoable(&mut self, run: usize, event: &Event) {
        // Whatever else there is now or later undoes nothing.
        match event {
            Event::GroupClosingStarted(closing) => {
                self.plans(run, &closing.calls, closing.how == CloseHow::Undo);
            }
            Event::CompensationPlanned(planned) => self.plans(run, &planned.undos, true),
            Event::CompensationStarted(_) => self.books[run].undoable.groups.clear(),
            Event::CancelRequested(_) => self.books[run].undoable.cancelled = true,
            Event::CallsStarted(started) => {
                let undoable = &mut self.books[run].undoable;
                let undos = started.calls.iter().filter(|id| undoable.undos.contains_key(id));
                undoable.undos_started += undos.count() as u64;
            }
            Event::CallCompleted(completed) => self.member_completed(run, completed),
            Event::RunFinished(finished) => self.judges_end(run, &finished.ending),
            _ => {}
        }
    }

    fn plans(&mut self, run: usize, calls: &[PlannedCall], undo: bool) {
        for planned in calls {
            let tool = self.plan.agent.tool(&planned.tool);
            let writes = tool.is_some_and(|tool| tool.contract.effect != EffectClass::Read);
            let reference = planned.arguments["ref"].as_str().unwrap_or("none").to_owned();
            let book = &mut self.books[run];
            book.undoable.planned.insert(planned.call);
            if undo {
                book.undoable.undos.insert(planned.call, planned.of);
            }
            if writes {
                book.writes.push((planned.call, reference.clone(), None));
                // What was said not to have landed may be made once more, under another id.
                self.ledger.deed(&reference).denied = false;
            }
        }
    }

    fn member_completed(&mut self, run: usize, completed: &CallCompleted) {
        let id = completed.call;
        let call = self.books[run].states.last().and_then(|state| state.calls.get(&id)).cloned();
        let Some(call) = call else { return };
        let group = call.arguments()["group"].as_str().unwrap_or_default().to_owned();
        match call.tool.as_str() {
            COMMIT_GROUP | UNDO_GROUP if self.books[run].undoable.planned.contains(&id) => {}
            COMMIT_GROUP => self.closed(run, &group, &completed.outcome, true),
            UNDO_GROUP => self.closed(run, &group, &completed.outcome, false),
            tool => {
                let held = self.plan.agent.tool(tool);
                let writes = held.is_some_and(|tool| tool.contract.effect != EffectClass::Read);
                let group = self.plan.agent.group_of(tool).map(|group| group.name.clone());
                let counts = match &completed.outcome {
                    Outcome::Ok(_) | Outcome::InDoubt { .. } | Outcome::Deferred { .. } => true,
                    Outcome::Failed(failure) => failure.landed,
                    Outcome::Denied { .. } | Outcome::Rejected { .. } => false,
                };
                let reference = about(&call).unwrap_or("none").to_owned();
                let began = completed.attempt.0 > 0;
                let asked = format!("{tool} {}", call.arguments());
                let undoable = &mut self.books[run].undoable;
                let Some(group) = group.filter(|_| writes && !undoable.planned.contains(&id))
                else {
                    return;
                };
                let failed = undoable.failed.entry(group.clone()).or_default();
                failed.retain(|(_, known)| *known != asked);
                if counts {
                    undoable.groups.entry(group).or_default().push((id, reference));
                } else if began {
                    failed.push((id, asked));
                }
            }
        }
    }

    fn closed(&mut self, run: usize, group: &str, outcome: &Outcome, commits: bool) {
        let members = self.books[run].undoable.groups.get(group).cloned().unwrap_or_default();
        match outcome {
            Outcome::Ok(_) if commits => {
                let failed =
                    self.books[run].undoable.failed.get(group).cloned().unwrap_or_default();
                self.check(Invariant::Groups, failed.is_empty(), || {
                    format!("{group} is committed, and {failed:?} failed")
                });
                for (call, reference) in &members {
                    let whole = self.ledger.has_landed(reference) || self.is_beyond(reference);
                    self.check(Invariant::Groups, whole, || {
                        format!("{group} is committed without call {call} ({reference})")
                    });
                }
            }
            // It stays open.
            Outcome::Failed(failure) if failure.kind != "group_undone" => return,
            Outcome::Ok(_)
            | Outcome::Failed(_)
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::InDoubt { .. }
            | Outcome::Deferred { .. } => {
                let told = match outcome {
                    Outcome::Ok(result) => result.plain_text(),
                    Outcome::Failed(failure) => failure.message.clone(),
                    _ => String::new(),
                };
                let named = |call: CallId| told.contains(&format!("\"call\":\"{call}\",\"why\""));
                self.undone(&members, named, group);
            }
        }
        self.counts.groups_closed += u64::from(!members.is_empty());
        self.books[run].undoable.groups.remove(group);
        self.books[run].undoable.failed.remove(group);
    }

    /// Checks that nothing of what these calls did is left that is not named.
    fn undone(&mut self, calls: &[(CallId, String)], named: impl Fn(CallId) -> bool, what: &str) {
        for (call, reference) in calls {
            let left = self.is_left(reference) && !named(*call);
            self.check(Invariant::Groups, !left, || {
                format!("{what} is undone, and call {call} ({reference}) stays without a word")
            });
        }
    }

    fn is_left(&mut self, reference: &str) -> bool {
        let undo = format!("{UNDO_OF}{reference}");
        let landed = self.ledger.has_landed(reference) || self.ledger.is_on_the_way(reference);
        landed
            && !self.ledger.has_landed(&undo)
            && !self.is_beyond(reference)
            && !self.is_beyond(&undo)
    }

    fn is_beyond(&mut self, reference: &str) -> bool {
        self.ledger.deed(reference).beyond_fence
    }

    fn judges_end(&mut self, run: usize, ending: &Ending) {
        let names = |kept: &[Kept], more: &[CallId]| {
            let kept = kept.iter().map(|kept| kept.call);
            kept.chain(more.iter().copied()).collect::<BTreeSet<CallId>>()
        };
        match ending {
            Ending::Completed { .. } => {
                let open: Vec<String> = self.books[run].undoable.groups.keys().cloned().collect();
                self.check(Invariant::Groups, open.is_empty(), || {
                    format!("the run completed and left {open:?} open")
                });
            }
            Ending::Failed { kept, .. } => self.groups_undone(run, &names(kept, &[])),
            Ending::Cancelled { kept, in_doubt, .. } => {
                self.groups_undone(run, &names(kept, in_doubt));
            }
            Ending::Compensated { kept, .. } => {
                let named = names(kept, &[]);
                let planned = self.books[run].undoable.undos.clone();
                let writes = self.books[run].writes.iter();
                let done: Vec<(CallId, String)> = writes
                    .filter(|(id, _, _)| !planned.contains_key(id))
                    .map(|(id, reference, _)| (*id, reference.clone()))
                    .collect();
                self.undone(&done, |call| named.contains(&call), "the run");
            }
        }
    }

    fn groups_undone(&mut self, run: usize, named: &BTreeSet<CallId>) {
        let groups = self.books[run].undoable.groups.clone();
        let planned = self.books[run].writes.clone();
        for (group, members) in groups {
            for (call, reference) in &members {
                // A call that waited may have been made under another name.
                let also = planned.iter().filter(|(_, known, _)| known == reference);
                let said = named.contains(call) || also.clone().any(|(id, ..)| named.contains(id));
                let left = self.is_left(reference) && !said;
                self.check(Invariant::Groups, !left, || {
                    format!("the run ends, {group} is open, and {call} ({reference}) stays")
                });
            }
        }
    }
}
