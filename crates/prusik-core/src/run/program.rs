//! Programs: what a run executes. The agent loop is the first of them.
//!
//! Journal, effects, budgets and calls belong to the run; a program only decides what comes next.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compensate::Compensation;
use super::context::SummaryWanted;
use super::transcript::text_of;
use crate::event::{Event, PromptReason};
use crate::ids::{Attempt, Timestamp, Turn};
use crate::model::StopReason;

/// What a run executes. A closed enum: a new program must be thought through everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    Agent(AgentLoop),
    Compensation(Compensation),
}

impl Program {
    /// Returns where the run stands; an undo is a call.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Agent(agent) => agent.phase,
            Self::Compensation(_) => Phase::Acting,
        }
    }
}

/// Call the model, run the tools it asks for, append the results, repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLoop {
    pub turn: Turn,
    pub phase: Phase,
    /// Answers cut at the token limit, in a row.
    pub continues: u32,
    /// Final answers sent back, in a row.
    pub repairs: u32,
    /// Turns that asked for calls of which none could start, in a row.
    pub malformed_turns: u32,
    /// Answers that the provider paused, in a row.
    pub pauses: u32,
    /// Text of the answers that were cut or paused, to which the next answer is the continuation.
    pub partial: String,
    /// The summary that the model is asked for before anything else.
    pub(super) summary: Option<SummaryWanted>,
}

/// Where the agent loop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The model's answer of this turn is wanted.
    Asking {
        attempt: Attempt,
        /// Tries since the run was last put to work.
        tries: u32,
        not_before: Timestamp,
    },
    /// The calls of this turn are open.
    Acting,
    /// The answer is there and nothing is open: what it means is decided in the same step.
    Answered,
}

impl Phase {
    const FIRST: Self = Self::Asking { attempt: Attempt(1), tries: 0, not_before: Timestamp(0) };
}

impl AgentLoop {
    pub fn start() -> Self {
        Self {
            turn: Turn(1),
            phase: Phase::FIRST,
            continues: 0,
            repairs: 0,
            malformed_turns: 0,
            pauses: 0,
            partial: String::new(),
            summary: None,
        }
    }

    /// What the model is asked next is no repetition of what it was asked last.
    fn ask_anew(&mut self) {
        if let Phase::Asking { attempt, tries, not_before } = &mut self.phase {
            *attempt = attempt.next();
            *tries = 0;
            *not_before = Timestamp(0);
        }
    }

    fn next_turn(&mut self) {
        self.turn = self.turn.next();
        self.phase = Phase::FIRST;
    }

    /// Takes in an event. `calls` says how many calls the answer asked for.
    pub(super) fn apply(&mut self, event: &Event, calls: usize, at: Timestamp) {
        match event {
            Event::ModelAnswered(answered) => {
                let cut = matches!(answered.stop, StopReason::MaxTokens | StopReason::ContextFull);
                self.continues = if cut { self.continues + 1 } else { 0 };
                let paused = answered.stop == StopReason::PauseTurn;
                self.pauses = if paused { self.pauses + 1 } else { 0 };
                if cut || paused {
                    self.partial.push_str(&text_of(&answered.content));
                }
                match (calls > 0, &answered.stop) {
                    (true, _) => {
                        self.partial.clear();
                        self.phase = Phase::Acting;
                    }
                    (false, StopReason::PauseTurn) => self.next_turn(),
                    (false, _) => self.phase = Phase::Answered,
                }
            }
            Event::ModelFailed(failed) => {
                if let Phase::Asking { attempt, tries, not_before } = &mut self.phase {
                    *attempt = attempt.next();
                    *tries += 1;
                    *not_before = at.plus_ms(failed.retry_in_ms.unwrap_or(0));
                }
            }
            Event::Prompted(prompted) => {
                match prompted.why {
                    PromptReason::Continue
                    | PromptReason::Loop
                    | PromptReason::Ledger
                    | PromptReason::Person => {}
                    PromptReason::Repair => {
                        self.repairs += 1;
                        self.partial.clear();
                    }
                }
                if self.phase == Phase::Answered {
                    self.next_turn();
                }
            }
            Event::CompactionStarted(started) => {
                let (why, through) = (started.why.clone(), started.through);
                self.summary = Some(SummaryWanted { why, through, refused: None });
            }
            Event::SummaryAnswered(answered) => {
                if let (Some(wanted), Some(refused)) = (&mut self.summary, &answered.refused) {
                    wanted.refused = Some(Arc::new(refused.clone()));
                }
                self.ask_anew();
            }
            Event::ContextCompacted(_) => {
                if self.summary.take().is_some() {
                    self.ask_anew();
                }
            }
            // The attempt that was under way is lost; it is made once more under the next number.
            Event::RunRecovered(_) | Event::RunResumed(_) => {
                if matches!(event, Event::RunResumed(_)) {
                    // A person has looked: what was counted towards a failure counts anew.
                    (self.continues, self.repairs, self.pauses) = (0, 0, 0);
                    self.malformed_turns = 0;
                }
                self.ask_anew();
            }
            Event::RunStarted(_)
            | Event::CallsStarted(_)
            | Event::CallRetried(_)
            | Event::CallCompleted(_)
            | Event::CallDoubted(_)
            | Event::CallProbed(_)
            | Event::CallSettled(_)
            | Event::BudgetRaised(_)
            | Event::RunParked(_)
            | Event::RunForked(_)
            | Event::CompensationStarted(_)
            | Event::CompensationPlanned(_)
            | Event::GroupClosingStarted(_)
            | Event::CancelRequested(_)
            | Event::EntryRecorded(_)
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            | Event::CompactionRequested(_)
            | Event::RunFinished(_) => {}
        }
    }

    /// Every call of the turn has its outcome.
    pub(super) fn calls_closed(&mut self, any_started: bool) {
        if any_started {
            self.malformed_turns = 0;
            self.repairs = 0;
        } else if self.continues == 0 {
            // The calls of an answer that was cut were not made for another reason.
            self.malformed_turns += 1;
        }
        self.next_turn();
    }
}
