//! Contexts of a program's agents: kept small, written down, looked at.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use prusik_core::event::Event;
use prusik_core::ledger::EntryId;
use prusik_core::message::Block;
use prusik_core::model::Purpose;
use prusik_store::Signal;
use serde_json::json;

use super::bank::{Bank, clerk};
use crate::custom::{Answer, Delta, ModelError, ModelRequest, StopReason, Usage};
use crate::{
    Agent, Budget, EntryKind, Model, Note, Noted, Notice, Observer, Prusik, SegmentKind, Status,
    Which,
};

/// Looks into the archive.
#[crate::tool(effect = "read")]
async fn look(
    /// Which page.
    page: u64,
) -> Result<String, Infallible> {
    Ok(format!("page {page}: {}", "a long line of the archive. ".repeat(40)))
}

/// Writes summaries, and counts them.
#[derive(Default)]
struct Writer {
    asked: AtomicU32,
}

#[async_trait]
impl crate::custom::Model for Writer {
    async fn answer(
        &self,
        request: &ModelRequest,
        _progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        assert_eq!((request.purpose, request.model.model.as_str()), (Purpose::Summary, "writer"));
        self.asked.fetch_add(1, Ordering::Relaxed);
        let text = json!({"asked": "to look", "done": ["some pages were read"]}).to_string();
        Ok(Answer {
            content: vec![Block::Text(text)],
            stop: StopReason::EndTurn,
            usage: Usage { input: 100, output: 10, ..Usage::default() },
            model: "writer".to_owned(),
        })
    }
}

#[tokio::test]
async fn another_model_writes_the_summaries_and_the_ledger_outlives_them() {
    let writer = Arc::new(Writer::default());
    let script = "turns: [{ repeat: 20, call: [{ tool: look, arguments: { page: '=turn' } }] }, { say: done }]";
    let agent = Agent::builder("main")
        .prompt("You look.")
        .model(Model::script(script).unwrap().max_tokens(300).window_tokens(5_000))
        .summary_model(Model::own("writer", writer.clone()).window_tokens(5_000))
        .context(|context| context.compact_at_percent = 70)
        .ledger(Note::new(EntryKind::Constraint, "Leave the archive as it is."))
        .tool(look())
        .build()
        .unwrap();
    let prusik = Prusik::in_memory().unwrap().by("ann").with(agent);
    let ceilings = Budget { turns: Some(4), ..Budget::default() };
    let parked = prusik.start_within("main", "Look.", ceilings).await.unwrap();
    let run = parked.drive().await.unwrap().id().clone();
    let fact = Note { source: Some("Bob".to_owned()), ..Note::new(EntryKind::Fact, "It is wet.") };
    let noted = prusik.note(&run, fact, None).await.unwrap();
    assert_eq!(noted, Noted::Recorded { entry: EntryId(2) });
    let drier = Note::new(EntryKind::Fact, "It is dry.");
    let noted = prusik.note(&run, drier, Some(EntryId(2))).await.unwrap();
    assert_eq!(noted, Noted::Recorded { entry: EntryId(3) });

    let raise = Budget { turns: Some(90), ..Budget::default() };
    let word = crate::Word { raise, message: Some("Be quick.".to_owned()) };
    let done = prusik.resume_with(&run, word).await.unwrap().drive().await.unwrap();
    assert_eq!(done.answer(), Some("done"));
    assert!(writer.asked.load(Ordering::Relaxed) > 0);
    assert!(done.state().view.compactions > 1);
    let summaries = prusik.events(&run).await.unwrap();
    let by = summaries.iter().find_map(|fact| match &fact.event {
        Event::SummaryAnswered(answered) => Some(answered.model.clone()),
        _ => None,
    });
    assert_eq!(by.as_deref(), Some("writer"));

    let view = prusik.context(&run, None).await.unwrap();
    assert!(matches!(view.which, Which::Last(_)), "{:?}", view.which);
    let ledger = view.segments.iter().find(|segment| segment.kind == SegmentKind::Ledger).unwrap();
    for words in ["Leave the archive as it is.", "It is dry.", "Be quick."] {
        assert!(ledger.text.contains(words), "{words}: {}", ledger.text);
    }
    assert!(!ledger.text.contains("It is wet."), "it was superseded: {}", ledger.text);
    assert!(ledger.label.is_trusted());
    assert_eq!(prusik.wire_body(&view).unwrap(), None, "a script is no server");
}

/// What was refused while a run was driven.
#[derive(Default)]
struct Refusals(Mutex<Vec<String>>);

impl Observer for Refusals {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Refused { by, rejected } = notice {
            self.0.lock().unwrap().push(format!("{by}: {rejected}"));
        }
    }
}

#[tokio::test]
async fn what_a_driven_run_does_not_take_is_told_and_the_run_goes_on() {
    let script = "turns: [{ call: [{ tool: look, arguments: { page: 1 } }] }, { say: done }]";
    let agent = Agent::builder("main").prompt("You look.").model(Model::script(script).unwrap());
    let agent = agent.tool(look()).build().unwrap();
    let prusik = Prusik::in_memory().unwrap().with(agent);
    let ceilings = Budget { turns: Some(1), ..Budget::default() };
    let run = prusik.start_within("main", "Look.", ceilings).await.unwrap();
    let id = run.id().clone();
    // As another process would leave them, without having looked at the run.
    let note = |text: &str| {
        let (by, note) = ("ann".to_owned(), Note::new(EntryKind::Fact, text));
        Signal::Note { by, note, supersedes: None }
    };
    for signal in [note(" "), note("It is wet."), Signal::Compact { by: "bob".to_owned() }] {
        prusik.store().post(&id, &signal, prusik_engine::now()).await.unwrap();
    }
    let refusals = Arc::new(Refusals::default());
    let parked = run.watch(refusals.clone()).drive().await.unwrap();
    assert!(matches!(parked.status(), Status::Parked(_)));
    let told = refusals.0.lock().unwrap().join("\n");
    assert!(told.starts_with("ann: the entry is empty") && !told.contains('\n'), "{told}");
    let entries = parked.state().ledger.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].note.text.as_str(), entries[0].author.words()),
        ("It is wet.", "ann".to_owned())
    );
    assert!(prusik.context(&id, None).await.unwrap().due.is_some(), "bob's wish is kept");
}

#[tokio::test]
async fn what_a_contract_wants_kept_is_in_the_ledger() {
    let script = "turns: [{ call: [{ tool: pay, arguments: { to: Ann, cents: 5 } }, { tool: pay, \
                  arguments: { to: Bob, cents: 700 } }] }, { say: done }]";
    let prusik = Prusik::in_memory().unwrap().with(clerk(&Bank::new(), script).build().unwrap());
    let done = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
    let entries = done.state().ledger.entries();
    let texts: Vec<&str> = entries.iter().map(|entry| entry.note.text.as_str()).collect();
    assert_eq!(texts, ["Bob was paid, number 2"]);
    assert_eq!(entries[0].note.source.as_deref(), Some("result of call 1.2 (pay)"));
    assert_eq!(entries[0].label.words(), "untrusted (pay)");
}
