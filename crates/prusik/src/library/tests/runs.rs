//! Runs of a program: driven, watched, stopped, resumed, settled, forked, undone.

use std::sync::{Arc, Mutex};

use prusik_core::event::{Ending, Event, ParkReason};
use prusik_core::ids::Seq;
use prusik_core::outcome::Outcome;
use prusik_core::run::Status;
use schemars::JsonSchema;
use serde::Deserialize;

use super::bank::{Bank, clerk, pay};
use crate::{
    Agent, AgentBuilder, Budget, Cancelled, Error, Filter, Model, OnFailure, OutputError, Prusik,
    Verdict, Word,
};

const PAYS_ANN: &str = "
turns:
  - call: [{ tool: pay, arguments: { to: Ann, cents: 5 } }]
  - say: '=\"{\\\"id\\\": \" + string(results[0].value.id) + \"}\"'
";

/// What the clerk answers.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Paid {
    /// The number of the payment.
    id: u64,
}

fn at(agent: Agent) -> Prusik {
    Prusik::in_memory().unwrap().by("a test").with(agent)
}

fn script(cents: u64) -> String {
    format!(
        "turns: [{{ call: [{{ tool: pay, arguments: {{ to: Ann, cents: {cents} }} }}] }}, {{ say: done }}]"
    )
}

/// How the call of a run ended.
async fn outcome(prusik: &Prusik, run: &crate::RunId) -> Outcome {
    let facts = prusik.events(run).await.unwrap();
    let completed = facts.into_iter().find_map(|fact| match fact.event {
        Event::CallCompleted(completed) => Some(completed.outcome),
        _ => None,
    });
    completed.unwrap()
}

#[tokio::test]
async fn a_run_gives_its_output_as_a_type() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, PAYS_ANN).output::<Paid>().build().unwrap());
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let run = prusik.start("clerk", "Pay Ann.").await.unwrap();
    let done = run.watch_events(move |_| *count.lock().unwrap() += 1).drive().await.unwrap();
    assert!(done.is_success());
    assert_eq!(done.output::<Paid>().unwrap(), Paid { id: 1 });
    assert!(matches!(done.output::<String>(), Err(OutputError::Unfit { .. })));
    let facts = prusik.events(done.id()).await.unwrap();
    // The first fact was durable before anybody could watch.
    assert_eq!(facts.len(), *seen.lock().unwrap() + 1);
    assert_eq!(prusik.show(done.id()).await.unwrap().answer(), done.answer());
    let rows = prusik.runs(&Filter::default()).await.unwrap();
    assert_eq!((rows.len(), rows[0].status.as_str()), (1, "completed"));
    assert!(matches!(prusik.resume(done.id()).await, Err(Error::Ended { .. })));
}

#[tokio::test]
async fn a_failure_that_was_not_made_good_is_listed() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, &script(1000)).build().unwrap());
    let done = prusik.start(None, "Pay.").await.unwrap().drive().await.unwrap();
    assert!(!done.is_success());
    assert_eq!(done.failures()[0].tool, "pay");
    let Outcome::Failed(failure) = outcome(&prusik, done.id()).await else { panic!() };
    assert_eq!(failure.kind, "insufficient_funds");
}

#[tokio::test]
async fn what_may_have_landed_is_asked_about() {
    // 13: the line broke after the bank had booked. 14: the function panicked there.
    for cents in [13, 14] {
        let bank = Bank::new();
        let prusik = at(clerk(&bank, &script(cents)).build().unwrap());
        let done = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
        assert!(done.is_success(), "{:?}", done.status());
        assert_eq!(bank.read().len(), 1);
        let Outcome::Ok(result) = outcome(&prusik, done.id()).await else { panic!() };
        assert_eq!(result.value(), serde_json::json!({"id": 1}));
    }
}

#[tokio::test]
async fn a_retryable_failure_is_tried_again() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, &script(15)).build().unwrap());
    let done = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
    let facts = prusik.events(done.id()).await.unwrap();
    let retried = facts.iter().filter(|fact| matches!(fact.event, Event::CallRetried(_))).count();
    assert_eq!(retried, 1);
    assert_eq!(done.failures().len(), 1);
}

#[tokio::test]
async fn a_tool_that_does_not_answer_in_time_is_dropped() {
    let bank = Bank::new();
    let waits = "turns: [{ call: [{ tool: wait }] }, { say: done }]";
    let prusik = at(clerk(&bank, waits).build().unwrap());
    let done = prusik.start("clerk", "Wait.").await.unwrap().drive().await.unwrap();
    let Outcome::Failed(failure) = outcome(&prusik, done.id()).await else { panic!() };
    assert_eq!(failure.kind, "lost");
    assert!(failure.message.contains("20 ms"), "{}", failure.message);
}

#[tokio::test]
async fn what_a_failed_run_did_is_undone() {
    let bank = Bank::new();
    let fails = "
turns:
  - call: [{ tool: pay, arguments: { to: Ann, cents: 5 } }]
  - { say: 'I would rather not.', stop: refusal }
";
    let agent = clerk(&bank, fails).on_failure(OnFailure::Compensate).build().unwrap();
    let prusik = at(agent);
    let done = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
    let Status::Ended(Ending::Compensated { kept, .. }) = done.status() else {
        panic!("{:?}", done.status())
    };
    assert!(kept.is_empty());
    let lines = bank.read();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("take back 1 undone "), "{lines:?}");
}

#[tokio::test]
async fn a_person_undoes_a_run_and_sees_first_what_that_means() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, PAYS_ANN).build().unwrap());
    let done = prusik.start("clerk", "Pay.").await.unwrap().drive().await.unwrap();
    let plan = prusik.undo_plan(done.id()).await.unwrap();
    assert_eq!((plan.undos.len(), plan.undos[0].tool.as_str()), (1, "take_back"));
    assert_eq!(bank.read().len(), 1);
    let undone = prusik.compensate(done.id()).await.unwrap().drive().await.unwrap();
    let Status::Ended(Ending::Compensated { by, .. }) = undone.status() else { panic!() };
    assert_eq!(by, "a test");
    assert_eq!(bank.read().len(), 2);
}

#[tokio::test]
async fn a_parked_run_is_raised_settled_forked_and_cancelled() {
    let bank = Bank::new();
    let budget = Budget { turns: Some(1), ..Budget::default() };
    let prusik = at(clerk(&bank, PAYS_ANN).output::<Paid>().build().unwrap());
    let run = prusik.start_within("clerk", "Pay.", budget).await.unwrap();
    let parked = run.drive().await.unwrap();
    assert!(matches!(parked.status(), Status::Parked(ParkReason::Budget { .. })));
    let error = parked.output::<Paid>().unwrap_err();
    assert!(error.to_string().contains("is parked"), "{error}");
    assert!(matches!(prusik.resume(parked.id()).await, Err(Error::OverBudget { .. })));

    let forked = prusik.fork(parked.id(), Seq(4)).await.unwrap();
    assert_eq!(forked.writes.len(), 1);
    let cancelled = prusik.cancel(&forked.run, "not needed").await.unwrap();
    assert!(matches!(cancelled, Cancelled::Done { unresolved } if unresolved.is_empty()));

    let raise = Budget { turns: Some(5), ..Budget::default() };
    let word = Word { raise, message: None };
    let run = prusik.resume_with(parked.id(), word).await.unwrap();
    assert_eq!(run.drive().await.unwrap().output::<Paid>().unwrap(), Paid { id: 1 });
    assert_eq!(bank.read().len(), 1);
}

#[tokio::test]
async fn a_cancelled_run_undoes_its_open_groups_first() {
    let bank = Bank::new();
    let budget = Budget { turns: Some(1), ..Budget::default() };
    let prusik = at(clerk(&bank, PAYS_ANN).group("all", ["pay"]).build().unwrap());
    let run = prusik.start_within("clerk", "Pay.", budget).await.unwrap();
    let parked = run.drive().await.unwrap();
    assert_eq!(bank.read(), ["pay Ann 5 Invoice"]);
    let cancelled = prusik.cancel(parked.id(), "not needed").await.unwrap();
    let Cancelled::Undoing(run) = cancelled else { panic!("its group is open") };
    let done = run.drive().await.unwrap();
    let Status::Ended(Ending::Cancelled { kept, .. }) = done.status() else {
        panic!("{:?}", done.status())
    };
    assert!(kept.is_empty());
    assert_eq!(bank.read().len(), 2);
}

#[tokio::test]
async fn a_dropped_run_is_taken_up_again_and_its_write_is_asked_about() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, PAYS_ANN).output::<Paid>().build().unwrap());
    let run = prusik.start("clerk", "Pay.").await.unwrap();
    let id = run.id().clone();
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let run = run.watch_events(move |event| {
        if matches!(event, Event::CallsStarted(_)) {
            let _ = said.send(());
        }
    });
    tokio::select! {
        _ = heard.recv() => {}
        _ = run.drive() => panic!("it was to be dropped"),
    }
    let mut again = Vec::new();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        again = prusik.resume_unfinished().await.unwrap();
        if !again.is_empty() {
            break;
        }
    }
    assert_eq!(again[0].0, id);
    let done = again.remove(0).1.unwrap().drive().await.unwrap();
    assert_eq!(done.output::<Paid>().unwrap(), Paid { id: 1 });
    assert_eq!(bank.read().len(), 1);
}

#[tokio::test]
async fn a_run_that_cannot_go_on_stands_in_nobodys_way() {
    let bank = Bank::new();
    let store: Arc<dyn crate::custom::Store> = Arc::new(crate::custom::MemoryStore::new());
    let at = |agent: AgentBuilder| {
        Prusik::with_store(Arc::clone(&store)).unwrap().with(agent.build().unwrap())
    };
    let removed = Agent::builder("gone").prompt("You go.").model(Model::script(PAYS_ANN).unwrap());
    let (gone, kept) = (at(removed), at(clerk(&bank, PAYS_ANN)));
    let lost = gone.start("gone", "Pay.").await.unwrap();
    let lost_id = lost.id().clone();
    lost.abandon().await.unwrap();
    let mut good = Vec::new();
    for _ in 0..2 {
        let run = kept.start("clerk", "Pay.").await.unwrap();
        good.push(run.id().clone());
        run.abandon().await.unwrap();
    }
    let mut resumed = kept.resume_unfinished().await.unwrap();
    assert_eq!(resumed.len(), 3);
    let at = resumed.iter().position(|(id, _)| *id == lost_id).unwrap();
    let error = resumed.remove(at).1.err().unwrap().to_string();
    assert!(error.contains("no agent `gone`"), "{error}");
    // Its lease was not kept.
    gone.resume(&lost_id).await.unwrap().abandon().await.unwrap();
    for (id, run) in resumed {
        assert!(good.contains(&id));
        assert!(run.unwrap().drive().await.unwrap().is_success());
    }
}

#[tokio::test]
async fn a_run_that_was_parked_since_it_was_listed_stays_parked() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, PAYS_ANN).build().unwrap());
    let run = prusik.start("clerk", "Pay.").await.unwrap();
    let id = run.id().clone();
    assert!(prusik.resume_if_unfinished(&id).await.is_none(), "it is driven here");
    run.stopper().interrupt();
    let parked = run.drive().await.unwrap();
    assert!(matches!(parked.status(), Status::Parked(_)), "{:?}", parked.status());
    assert!(prusik.resume_if_unfinished(&id).await.is_none());
    assert!(matches!(prusik.show(&id).await.unwrap().status(), Status::Parked(_)));
    assert!(prusik.resume(&id).await.unwrap().drive().await.unwrap().is_success());
    assert!(prusik.resume_if_unfinished(&id).await.is_none(), "it has ended");
}

/// Whatever future is dropped, and wherever, no lease is kept by it.
#[test]
fn what_is_dropped_keeps_no_lease() {
    let bank = Bank::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let agent = clerk(&bank, PAYS_ANN).build().unwrap();
    let prusik = Prusik::open(folder.path().join("runs.db")).unwrap().with(agent);
    let run = runtime.block_on(prusik.start("clerk", "Pay.")).unwrap();
    let id = run.id().clone();
    let free = |what: &str| {
        let free = async {
            for _ in 0..1_000 {
                match prusik.resume(&id).await {
                    Ok(run) => return run.abandon().await.unwrap(),
                    Err(error) => assert!(error.is_leased(), "{error}"),
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            panic!("{what} keeps the lease");
        };
        runtime.block_on(free);
    };
    // Outside of any runtime.
    drop(run);
    free("a dropped run");
    // In the middle of each step on the way to a run, and before and behind it.
    for polls in 0..60 {
        runtime.block_on(async {
            let mut resuming = Box::pin(prusik.resume(&id));
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(resuming.as_mut().poll(cx).is_ready())
                });
                if polled.await {
                    break;
                }
                tokio::task::yield_now().await;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        free("a resume that is cut off");
    }
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = other.block_on(prusik.resume(&id)).unwrap();
    drop(other);
    drop(run);
    free("a run whose runtime is gone");
}

#[tokio::test]
async fn a_driven_run_is_stopped_from_elsewhere() {
    let bank = Bank::new();
    let prusik = at(clerk(&bank, PAYS_ANN).build().unwrap());
    let run = prusik.start("clerk", "Pay.").await.unwrap();
    run.stopper().cancel("enough");
    let done = run.drive().await.unwrap();
    let Status::Ended(Ending::Cancelled { reason, .. }) = done.status() else {
        panic!("{:?}", done.status())
    };
    assert_eq!(reason, "enough");
}

#[tokio::test]
async fn nobody_can_say_whether_a_call_without_a_probe_landed() {
    /// Sends a letter.
    #[crate::tool(effect = "write")]
    async fn send(
        #[state] bank: &Bank,
        /// To whom.
        to: String,
    ) -> Result<String, super::bank::BankError> {
        bank.lines.lock().unwrap().push(to);
        Err(super::bank::BankError::Broken("no answer"))
    }
    let bank = Bank::new();
    let sends = "turns: [{ call: [{ tool: send, arguments: { to: Ann } }] }, { say: done }]";
    let agent = Agent::builder("clerk").prompt("You send.").tool(send(bank.clone()));
    let prusik = at(agent.model(Model::script(sends).unwrap()).build().unwrap());
    let parked = prusik.start("clerk", "Send.").await.unwrap().drive().await.unwrap();
    assert!(matches!(parked.status(), Status::Parked(ParkReason::InDoubt { .. })));
    let verdict = Verdict::Landed(Some(serde_json::json!("sent")));
    let left = prusik.settle(parked.id(), parked.in_doubt()[0], verdict).await.unwrap();
    assert!(left.is_empty());
    let done = prusik.resume(parked.id()).await.unwrap().drive().await.unwrap();
    assert!(done.is_success());
    assert_eq!(bank.read(), ["Ann"]);
}

#[tokio::test]
async fn agents_are_found_by_their_names() {
    let agent = clerk(&Bank::new(), PAYS_ANN).build().unwrap();
    let prusik = at(agent);
    let unknown = prusik.start("clark", "Pay.").await.err().unwrap().to_string();
    assert!(unknown.contains("no agent `clark`") && unknown.contains("clerk"), "{unknown}");
    let empty = prusik.start("clerk", " ").await.err().unwrap().to_string();
    assert_eq!(empty, "the task is empty");
}

#[tokio::test]
async fn a_project_holds_tools_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "prusik.yaml",
        "models: { default: { provider: scripted, script: script.yaml } }\n\
         tools: { pay: { timeout_ms: 700 } }\n",
    );
    write("agents/main.md", "---\nname: main\ntools: [pay, read]\n---\nYou pay.\n");
    write("script.yaml", PAYS_ANN);
    let bank = Bank::new();
    let lacking = Prusik::project_with(folder.path(), [pay(bank.clone())]).unwrap();
    let error = lacking.start("main", "Pay.").await.err().unwrap().to_string();
    assert!(error.contains("agents/main.md") || error.contains("prusik.yaml"), "{error}");
    assert!(error.contains("there is no tool `find`"), "{error}");
    drop(lacking);

    let tools =
        [pay(bank.clone()), super::bank::find(bank.clone()), super::bank::take_back(bank.clone())];
    let prusik = Prusik::project_with(folder.path(), tools).unwrap();
    let run = prusik.start(None, "Pay.").await.unwrap();
    let definition = Arc::clone(run.core().definition());
    let contract = &definition.agent().tool("pay").unwrap().contract;
    assert_eq!(contract.timeout_ms, 700);
    assert!(contract.probe.is_some() && contract.undo.is_some());
    assert!(run.drive().await.unwrap().is_success());
    assert_eq!(bank.read(), ["pay Ann 5 Invoice"]);
}
