//! Making the context smaller: what is done, in which order, and what becomes of a summary.

use std::collections::BTreeSet;

use super::super::decide::Draft;
use super::super::transcript::{Transcript, text_of};
use super::check::{self, Candidate};
use super::head;
use super::size::bytes_of_all;
use super::summary::{self, SummaryWanted};
use super::view::{due, percent};
use super::{fold, outline};
use crate::agent::ContextPolicy;
use crate::event::{
    CompactHow, CompactReason, CompactionStarted, ContextCompacted, Event, FailReason, Invariant,
    RefusedSummary, Replaced, Summary, SummaryAnswered,
};
use crate::ids::{Attempt, CallId, Seq, Turn};
use crate::message::Role;
use crate::model::{Answer, ModelErrorKind};

/// Longest text that is kept of an answer that is no summary, in bytes.
const REFUSED_BYTES_MAX: usize = 4 * 1024;

/// Where the turns begin that stay as they are.
struct Boundary {
    through: Turn,
    from_seq: Seq,
}

/// A context that is made smaller, not yet checked.
struct Made {
    event: ContextCompacted,
    transcript: Transcript,
}

impl Draft<'_> {
    /// Makes the context smaller if that is due; false if nothing was decided.
    pub(in crate::run) fn mind_context(&mut self) -> bool {
        let definition = self.definition;
        let Some(policy) = &definition.agent().context else { return false };
        // What is wanted of the model now is the summary.
        if self.state.agent_loop().summary.is_some() {
            return false;
        }
        let Some(why) = due(&self.state, Some(policy)) else { return false };
        // It is read first: the driver looks again when it has it.
        let Some(transcript) = self.transcript_now() else { return false };
        self.compact(policy, &transcript, why);
        true
    }

    /// Returns the messages as they stand behind what was decided in this step.
    fn transcript_now(&self) -> Option<Transcript> {
        let mut transcript = self.transcript?.clone();
        let mut seq = Seq(self.state.seq.0 - self.events.len() as u64);
        for event in &self.events {
            seq = seq.next();
            transcript.absorb(seq, event);
        }
        Some(transcript)
    }

    fn compact(&mut self, policy: &ContextPolicy, transcript: &Transcript, why: CompactReason) {
        let room = self.state.view.room(policy);
        let before = self.state.context.in_window();
        let target = percent(room, policy.target_percent);
        let kept = self.kept_from(policy, transcript);
        let asked = matches!(why, CompactReason::Asked { .. });
        if !asked {
            // A token more or less: the estimate after the fold decides.
            let excess = before.saturating_sub(target).saturating_mul(4);
            let (fold, _) = fold::choose(transcript, 1..kept, excess);
            let made = self.make(transcript, CompactHow::Folded, why.clone(), None, &fold);
            if !fold.is_empty()
                && made.event.tokens_after <= target
                && self.take(made, transcript, room)
            {
                return;
            }
        }
        let Some(boundary) = boundary_at(transcript, kept) else {
            self.fold_what_there_is(transcript, &why, room);
            return;
        };
        // The request for a summary is the prompt itself and a little more.
        let (through, tokens) = (boundary.through, before);
        let wanted = SummaryWanted { why: why.clone(), through, refused: None };
        if why == CompactReason::Refused || !self.can_ask(policy, &wanted) {
            self.outline(policy, transcript, &boundary, &why);
        } else {
            self.emit(Event::CompactionStarted(CompactionStarted { why, through, tokens }));
        }
    }

    /// Returns the first message of the newest turns that stay as they are: as many as have room, and
    /// the newest in any case.
    fn kept_from(&self, policy: &ContextPolicy, transcript: &Transcript) -> usize {
        let room = self.state.view.room(policy);
        let keep_tokens = percent(room, policy.keep_percent);
        let messages = transcript.messages();
        let (mut kept, mut bytes) = (messages.len(), 0);
        for (index, message) in messages.iter().enumerate().skip(1).rev() {
            bytes += bytes_of_all(std::slice::from_ref(message));
            if message.role == Role::User {
                continue;
            }
            if self.state.context.tokens_of(bytes) > keep_tokens && kept < messages.len() {
                break;
            }
            kept = index;
        }
        kept
    }

    /// No turn can be replaced: all that is left is to fold, the newest results too if need be.
    fn fold_what_there_is(&mut self, transcript: &Transcript, why: &CompactReason, room: u64) {
        let refused = *why == CompactReason::Refused;
        let before = self.state.context.in_window();
        let make = |of: std::ops::Range<usize>| {
            let (fold, _) = fold::choose(transcript, of, u64::MAX);
            self.make(transcript, CompactHow::Folded, why.clone(), None, &fold)
        };
        let helps = |made: &Made| {
            let after = made.event.tokens_after;
            after <= room && (!refused || after < before.saturating_sub(before / 20))
        };
        // As long as it fits, the newest results are worth more than room, and older ones more than
        // nothing.
        let made = [1..1, 1..newest_turn(transcript), 1..transcript.messages().len()];
        let mut made = made.into_iter().map(make);
        let Some(made) = made.find(helps) else {
            let least = make(1..transcript.messages().len());
            return self.too_large(least.event.tokens_after, room);
        };
        let after = made.event.tokens_after;
        if !self.take(made, transcript, room) {
            self.too_large(after, room);
        }
    }

    /// Lets a list of what was called stand for the turns before the boundary.
    fn outline(
        &mut self,
        policy: &ContextPolicy,
        transcript: &Transcript,
        boundary: &Boundary,
        why: &CompactReason,
    ) {
        let task = self.state.started.task.clone();
        let bytes_max = policy.summary_bytes_max;
        let summary = outline::of(transcript, &task, boundary.through, bytes_max);
        let room = self.state.view.room(policy);
        let replaced = self.replaced(policy, boundary, summary);
        let made = self.make_fit(policy, transcript, CompactHow::Outlined, why, &replaced);
        let after = made.event.tokens_after;
        if !self.take(made, transcript, room) {
            self.too_large(after, room);
        }
    }

    fn replaced(&self, policy: &ContextPolicy, boundary: &Boundary, summary: Summary) -> Replaced {
        Replaced {
            through: boundary.through,
            from_seq: boundary.from_seq,
            brief: head::brief(&self.state, policy.summary_bytes_max / 2),
            summary,
        }
    }

    /// Makes a context in which turns are replaced, and folds what is kept as far as it must be.
    fn make_fit(
        &self,
        policy: &ContextPolicy,
        transcript: &Transcript,
        how: CompactHow,
        why: &CompactReason,
        replaced: &Replaced,
    ) -> Made {
        let room = self.state.view.room(policy);
        let target = percent(room, policy.target_percent);
        let make = |fold: &BTreeSet<CallId>| {
            self.make(transcript, how, why.clone(), Some(replaced.clone()), fold)
        };
        let made = make(&BTreeSet::new());
        if made.event.tokens_after <= target {
            return made;
        }
        let about = transcript.about();
        let kept = about.iter().position(|about| about.turn > replaced.through);
        let kept = kept.unwrap_or(about.len());
        let newest = newest_turn(transcript).max(kept);
        let (older, _) = fold::choose(transcript, kept..newest, u64::MAX);
        let made = make(&older);
        if made.event.tokens_after <= room {
            return made;
        }
        let (all, _) = fold::choose(transcript, kept..about.len(), u64::MAX);
        make(&all)
    }

    /// Makes a smaller context. What was folded stays so.
    fn make(
        &self,
        transcript: &Transcript,
        how: CompactHow,
        why: CompactReason,
        replaced: Option<Replaced>,
        fold: &BTreeSet<CallId>,
    ) -> Made {
        let through = replaced.as_ref().map_or(self.state.view.through, |r| r.through);
        let folded = transcript.folded().union(fold).copied();
        let folded: Vec<CallId> = folded.filter(|call| call.turn > through).collect();
        // Who wrote a summary has read all of it.
        let label = if replaced.is_some() {
            transcript.label_of(0..transcript.about().len())
        } else {
            let mut label = self.state.view.label.clone();
            let results = transcript.about().iter().flat_map(|about| &about.results);
            for result in results.filter(|result| folded.contains(&result.call)) {
                label.join(&result.label);
            }
            label
        };
        let mut event = ContextCompacted {
            how,
            why,
            replaced,
            folded,
            label,
            tokens_before: self.state.context.in_window(),
            tokens_after: 0,
            bytes_after: 0,
            checked: Invariant::ALL.to_vec(),
        };
        let mut after = transcript.clone();
        after.absorb(self.state.seq, &Event::ContextCompacted(event.clone()));
        event.bytes_after = self.definition.prompt_bytes() + bytes_of_all(after.messages());
        event.tokens_after = self.state.context.tokens_of(event.bytes_after);
        // Where nothing is put in the place of what goes, less is left, whatever an estimate says.
        if event.replaced.is_none() {
            event.tokens_after = event.tokens_after.min(event.tokens_before);
        }
        Made { event, transcript: after }
    }

    /// Puts a context in the place of the present one, unless it breaks an invariant.
    fn take(&mut self, made: Made, before: &Transcript, room: u64) -> bool {
        let broken = self.broken(&made, before, room);
        if broken.is_empty() {
            self.emit(Event::ContextCompacted(made.event));
        }
        broken.is_empty()
    }

    fn broken(&self, made: &Made, before: &Transcript, room: u64) -> Vec<(Invariant, String)> {
        let Made { event, transcript: after } = made;
        let (definition, state) = (self.definition, &self.state);
        check::broken(&Candidate { definition, state, before, event, after, room })
    }

    fn too_large(&mut self, tokens: u64, room: u64) {
        let prompt = self.state.context.tokens_of(self.definition.prompt_bytes());
        let task = self.state.context.tokens_of(self.state.started.task.len() as u64);
        let ledger = self.state.context.tokens_of(self.state.ledger.bytes());
        let message = format!(
            "what must stay in the context has about {tokens} tokens, and {room} have room: system \
             prompt and tools {prompt}, task {task}, ledger {ledger}; give it a model with a larger \
             window, fewer tools, or a shorter task"
        );
        self.fail(FailReason::ContextFull, message);
    }

    /// Takes in what the model wrote when it was asked for a summary.
    pub(in crate::run) fn summary_answered(
        &mut self,
        turn: Turn,
        attempt: Attempt,
        answer: Answer,
        ms: u64,
    ) {
        let definition = self.definition;
        let Some(policy) = &definition.agent().context else { return };
        let Some(wanted) = self.state.agent_loop().summary.clone() else { return };
        let Some(transcript) = self.transcript_now() else { return };
        let text = text_of(&answer.content);
        let room = self.state.view.room(policy);
        let made = summary::read(&answer, &text, &transcript, policy.summary_bytes_max)
            .and_then(|summary| self.summarized(policy, &transcript, &wanted, summary, room));
        let spec = policy.summary_model.as_ref().unwrap_or(&definition.agent().model);
        let nano_usd = spec.price.map_or(0, |price| price.cost_nano_usd(&answer.usage));
        let kept = usize::try_from(policy.summary_bytes_max).unwrap_or(usize::MAX);
        let kept = text.floor_char_boundary(text.len().min(REFUSED_BYTES_MAX).min(kept));
        let refused = made.as_ref().err().map(|problems| RefusedSummary {
            text: text[..kept].to_owned(),
            problems: problems.clone(),
        });
        self.emit(Event::SummaryAnswered(SummaryAnswered {
            turn,
            attempt,
            usage: answer.usage,
            nano_usd,
            model: answer.model,
            ms,
            refused,
        }));
        match made {
            Ok(made) => self.emit(Event::ContextCompacted(made.event)),
            // It was asked for once more already.
            Err(_) if wanted.refused.is_some() => self.do_without_summary(),
            // What would be sent is longer now, by what was written and what is wrong with it.
            Err(_) => {
                let wanted = self.state.agent_loop().summary.clone();
                if wanted.is_some_and(|wanted| !self.can_ask(policy, &wanted)) {
                    self.do_without_summary();
                }
            }
        }
    }

    /// Returns whether the request for a summary fits into the window, and its answer.
    fn can_ask(&self, policy: &ContextPolicy, wanted: &SummaryWanted) -> bool {
        let asking = summary::bytes_of_asking(wanted, policy.summary_bytes_max);
        let more = self.state.context.tokens_of(asking);
        let answer = summary::tokens_max(policy, self.definition.summarizer());
        let more = more.saturating_add(answer);
        self.state.context.in_window().saturating_add(more) < policy.window_tokens
    }

    fn summarized(
        &self,
        policy: &ContextPolicy,
        transcript: &Transcript,
        wanted: &SummaryWanted,
        summary: Summary,
        room: u64,
    ) -> Result<Made, Vec<String>> {
        let Some(boundary) = boundary_behind(transcript, wanted.through) else {
            return Err(vec!["there are no turns that it could stand for".to_owned()]);
        };
        let replaced = self.replaced(policy, &boundary, summary);
        let (how, why) = (CompactHow::Summarized, wanted.why.clone());
        let made = self.make_fit(policy, transcript, how, &why, &replaced);
        let broken = self.broken(&made, transcript, room);
        let problems = broken.into_iter();
        let problems =
            problems.map(|(invariant, problem)| format!("{}: {problem}", invariant.as_str()));
        let problems = summary::shortened(problems);
        if problems.is_empty() { Ok(made) } else { Err(problems) }
    }

    /// No summary is to be had.
    pub(in crate::run) fn do_without_summary(&mut self) {
        let definition = self.definition;
        let Some(policy) = &definition.agent().context else { return };
        let Some(wanted) = self.state.agent_loop().summary.clone() else { return };
        let Some(transcript) = self.transcript_now() else { return };
        if let Some(boundary) = boundary_behind(&transcript, wanted.through) {
            self.outline(policy, &transcript, &boundary, &wanted.why);
        } else {
            let room = self.state.view.room(policy);
            self.fold_what_there_is(&transcript, &wanted.why, room);
        }
    }

    /// The provider says that the prompt does not fit. True if there is something to be done.
    pub(in crate::run) fn window_was_refused(&self, kind: ModelErrorKind) -> bool {
        kind == ModelErrorKind::ContextFull && self.definition.agent().context.is_some()
    }
}

/// Returns the boundary before a message, if there are turns before it that can be replaced.
fn boundary_at(transcript: &Transcript, kept: usize) -> Option<Boundary> {
    let about = transcript.about().get(kept)?;
    let last = transcript.about().get(kept.checked_sub(1)?)?;
    (kept > 1).then_some(Boundary { through: last.turn, from_seq: about.seq })
}

/// Returns the first message of the newest turn.
fn newest_turn(transcript: &Transcript) -> usize {
    let about = transcript.about();
    let newest = about.last().map(|one| one.turn);
    about.iter().rposition(|one| Some(one.turn) < newest).map_or(0, |index| index + 1)
}

fn boundary_behind(transcript: &Transcript, through: Turn) -> Option<Boundary> {
    let kept = transcript.about().iter().position(|about| about.turn > through)?;
    boundary_at(transcript, kept)
}
