//! What a model was sent is known afterwards from the journal alone, word for word.

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::agent::{Agent, ContextPolicy};
use prusik_core::budget::Budget;
use prusik_core::effect::Action;
use prusik_core::event::Event;
use prusik_core::ids::{Attempt, RunId, Seq, Timestamp, Turn};
use prusik_core::input::{Input, Now};
use prusik_core::ledger::{EntryKind, Note};
use prusik_core::message::{Block, Role};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest, StopReason};
use prusik_core::outcome::{Reply, ToolResult};
use prusik_core::record::Record;
use prusik_core::run::{Definition, Run};
use serde_json::json;

use crate::agents;
use crate::story::{asks, says, stopped};

const NOW: Now = Now { at: Timestamp(2_000), entropy: 7 };

/// A run with its journal and with each request as it was sent, by the attempt that it was.
struct Watched {
    run: Run,
    definition: Arc<Definition>,
    records: Vec<Record>,
    sent: BTreeMap<(Turn, Attempt), ModelRequest>,
}

impl Watched {
    fn start() -> Self {
        let context = Some(ContextPolicy::of_window(100_000, 1_000));
        let definition = Arc::new(Definition::new(Agent { context, ..agents::agent() }));
        let (run, sealed) = Run::start(
            Arc::clone(&definition),
            RunId::new("run-1"),
            "Do the work.".to_owned(),
            Budget { tokens: Some(3_000), ..Budget::default() },
            NOW.at,
        );
        let mut watched = Self { run, definition, records: sealed.records, sent: BTreeMap::new() };
        watched.hand(Input::TimerFired);
        watched
    }

    fn hand(&mut self, input: Input) -> &mut Self {
        let step = self.run.handle(input, NOW).unwrap();
        self.records.extend(self.run.apply(step).records);
        while let Some(effect) = self.run.poll_effect(NOW.at) {
            if let Action::CallModel(request) = effect.action {
                self.sent.insert((request.turn, request.attempt), (*request).clone());
            }
        }
        self
    }

    fn answers(&mut self, answer: Answer) -> &mut Self {
        let (turn, attempt) = *self.sent.keys().next_back().unwrap();
        self.hand(Input::ModelAnswered { turn, attempt, answer, ms: 5 })
    }

    fn looked(&mut self, turn: u32) -> &mut Self {
        let call = format!("{turn}.1").parse().unwrap();
        let reply = Reply::Returned(ToolResult::json(json!({"seen": "word ".repeat(20)})));
        self.hand(Input::CallReplied { call, attempt: Attempt(1), reply, ms: 5 })
    }

    fn noted(&mut self, text: &str) -> &mut Self {
        let note = Note::new(EntryKind::Constraint, text);
        self.hand(Input::Noted { by: "ann".to_owned(), note, supersedes: None })
    }

    /// Compares what was sent with what the records before each answer give.
    fn check(&self) -> usize {
        let mut checked = 0;
        let mut reader = Run::replay(Arc::clone(&self.definition), &self.records[..1]).unwrap();
        for record in &self.records[1..] {
            if let Event::ModelAnswered(answered) = record.event().unwrap() {
                let key = (answered.turn, answered.attempt);
                assert_eq!(reader.request_now().as_ref(), self.sent.get(&key), "{}", record.seq);
                checked += 1;
            }
            reader.follow(std::slice::from_ref(record)).unwrap();
        }
        assert_eq!(reader.transcript(), self.run.transcript(), "replay is not what was live");
        checked
    }
}

fn texts(request: &ModelRequest, role: Role) -> Vec<&str> {
    let of_role = request.messages.iter().filter(|message| message.role == role);
    of_role
        .flat_map(|message| &message.content)
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
        .collect()
}

#[test]
fn a_note_that_comes_while_the_model_is_asked_stands_behind_its_answer() {
    let mut watched = Watched::start();
    watched.answers(asks([("look", json!({}))])).looked(1);
    watched.noted("Pay nothing.").noted("Ask first.");
    watched.answers(asks([("look", json!({}))])).looked(2);
    watched.noted("Third.");
    watched.answers(stopped(says("I begin"), StopReason::MaxTokens)).answers(says("Done."));
    assert_eq!(watched.check(), 4);
    let said_in = |turn: u32| {
        let request = &watched.sent[&(Turn(turn), Attempt(1))];
        texts(request, Role::User).join("\n")
    };
    assert!(!said_in(2).contains("Pay nothing."), "it came later: {}", said_in(2));
    assert!(said_in(3).contains("Pay nothing.") && said_in(3).contains("Ask first."));
    assert!(!said_in(3).contains("Third.") && said_in(4).contains("Third."));
    // Nothing that was sent is changed afterwards: the provider's cache holds it.
    for (before, after) in [(1, 2), (2, 3), (3, 4)] {
        let before = &watched.sent[&(Turn(before), Attempt(1))].messages;
        let after = &watched.sent[&(Turn(after), Attempt(1))].messages;
        assert_eq!(after[..before.len()], before[..]);
    }
}

#[test]
fn a_note_is_shown_to_the_next_attempt_of_a_call_that_failed_or_was_lost() {
    let mut watched = Watched::start();
    watched.noted("First.");
    let error = ModelError::new(ModelErrorKind::BadResponse, "no");
    let (turn, attempt) = (Turn(1), Attempt(1));
    watched.hand(Input::ModelFailed { turn, attempt, error });
    watched.hand(Input::Interrupted).noted("Second.");
    watched.hand(Input::Resumed { by: "ann".to_owned(), message: None });
    watched.answers(says("Done."));
    assert_eq!(watched.check(), 1);
    let last = watched.sent.values().next_back().unwrap();
    let said = texts(last, Role::User).join("\n");
    assert!(said.contains("First.") && said.contains("Second."), "{said}");
}

#[test]
fn the_messages_can_be_read_back_from_a_note_that_stands_behind_an_answer() {
    let mut watched = Watched::start();
    watched.answers(asks([("look", json!({}))])).looked(1);
    watched.noted("Pay nothing.");
    watched.answers(asks([("look", json!({}))])).looked(2);
    let transcript = watched.run.transcript().unwrap();
    let answer = transcript.about().iter().find(|about| about.turn == Turn(2)).unwrap();
    let event = |seq: Seq| watched.records[usize::try_from(seq.0).unwrap() - 1].event().unwrap();
    assert!(matches!(event(answer.seq), Event::EntryRecorded(_)), "it begins with the note");
}

#[test]
fn a_definition_that_is_read_back_sends_the_same_bytes() {
    let mut agent = agents::agent();
    agent.tools[0].input_schema =
        json!({"type": "object", "properties": {"ref": {"type": "string"}, "b": {}, "a": {}}});
    let read_back: Agent = serde_json::from_slice(&agent.to_bytes()).unwrap();
    let sent = |agent: Agent| {
        let definition = Arc::new(Definition::new(agent));
        let (id, task) = (RunId::new("run-1"), "Do.".to_owned());
        let (run, _) = Run::start(definition, id, task, Budget::default(), NOW.at);
        serde_json::to_string(&*run.request_now().unwrap().tools).unwrap()
    };
    assert_eq!(sent(agent), sent(read_back));
}
