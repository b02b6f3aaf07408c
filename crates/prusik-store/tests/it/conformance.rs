//! The contract of `Store`, checked on every implementation.

use std::task::Poll;

use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::ledger::{EntryId, EntryKind, Note};
use prusik_store::{Filter, Signal, Store, StoreError, verify};

use crate::support::{Driver, File, Memory, Place, all_records, blob, land, noise, row};

/// Runs every check on every implementation, each as a test of its own.
macro_rules! conformance {
    ($($check:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $check() { super::$check::<super::File>().await; })+ }
        mod memory { $(#[tokio::test] async fn $check() { super::$check::<super::Memory>().await; })+ }
    };
}

conformance!(
    records_come_back_as_they_were_sealed,
    steps_in_flight_land_in_order,
    a_step_after_a_failed_one_fails,
    a_step_is_all_or_nothing,
    an_old_fence_changes_nothing,
    a_held_run_is_refused,
    a_dead_owner_loses_its_runs,
    a_released_run_can_be_taken,
    a_run_is_not_taken_for_somebody_who_is_gone,
    a_run_that_is_let_go_can_be_taken_with_all_its_steps,
    a_run_without_records_is_unknown,
    snapshots_shorten_loading,
    snapshots_must_stand_at_a_record,
    blobs_come_back_or_are_unknown,
    listings_filter_and_sort,
    signals_are_taken_once,
    too_many_signals_are_refused,
    pruning_keeps_what_is_needed,
    hostile_ids_and_texts_are_only_text,
);

async fn records_come_back_as_they_were_sealed<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    let long = noise(5000, 1);
    let first = driver.steps(&["", "zwei", &long]);
    let second = driver.step(&"so long ".repeat(1000));
    land(&store, first.clone()).await.unwrap();
    land(&store, second.clone()).await.unwrap();

    let run = &driver.lease.run;
    let sealed: Vec<_> = first.records.into_iter().chain(second.records).collect();
    let loaded = store.load(run).await.unwrap();
    assert_eq!((loaded.snapshot, &loaded.records), (None, &sealed));
    assert_eq!(all_records(&store, run).await, sealed);
    assert_eq!(store.records(run, Seq(2), Seq(3)).await.unwrap(), sealed[1..3]);
    assert_eq!(store.records(run, Seq(9), Seq(3)).await.unwrap(), []);
    assert_eq!(verify(&store, run).await.unwrap(), driver.head);
}

async fn steps_in_flight_land_in_order<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    let mut other = Driver::start(&store, "b").await;
    // Most answers are dropped: the steps are on their way all the same.
    for n in 0..200 {
        drop(store.append(driver.step(&format!("step {n}"))));
        drop(store.append(other.step(&format!("other {n}"))));
    }
    driver.append(&store, "last").await.unwrap();
    assert_eq!(all_records(&store, &driver.lease.run).await.len(), 201);
    assert_eq!(verify(&store, &driver.lease.run).await.unwrap(), driver.head);
    assert_eq!(verify(&store, &other.lease.run).await.unwrap(), other.head);
}

async fn a_step_after_a_failed_one_fails<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    let mut bystander = Driver::start(&store, "b").await;
    driver.append(&store, "one").await.unwrap();
    let mut failing = driver.step("two");
    failing.refs = vec![Digest::of(b"never stored")];
    let pending = [
        store.append(failing),
        store.append(driver.step("three")),
        store.append(bystander.step("unharmed")),
        store.append(driver.step("four")),
    ];
    let mut answers = Vec::new();
    for answer in pending {
        answers.push(answer.await.unwrap());
    }
    let out_of_order =
        |got| StoreError::OutOfOrder { run: driver.lease.run.clone(), head: Seq(1), got: Seq(got) };
    assert_eq!(
        answers,
        [
            Err(StoreError::UnknownBlob { digest: Digest::of(b"never stored") }),
            Err(out_of_order(2)),
            Ok(()),
            Err(out_of_order(3)),
        ]
    );
    assert_eq!(all_records(&store, &driver.lease.run).await.len(), 1);
}

async fn a_step_is_all_or_nothing<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    driver.append(&store, "one").await.unwrap();
    let before = driver.clone();

    let mut forged = driver.steps(&["two", "three", "four"]);
    forged.records[2].body.push(b' ');
    forged.blobs = vec![blob("never")];
    forged.row.status = String::from("completed");
    let error = land(&store, forged).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

    let mut false_blob = before.clone().step("two");
    false_blob.blobs = vec![blob("true")];
    false_blob.blobs[0].bytes = b"false".to_vec();
    let error = land(&store, false_blob).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

    assert_eq!(verify(&store, &before.lease.run).await.unwrap(), before.head);
    for text in ["never", "true", "false"] {
        let digest = blob(text).digest;
        assert_eq!(store.blob(&digest).await, Err(StoreError::UnknownBlob { digest }));
    }
    assert_eq!(store.list(&Filter::default()).await.unwrap()[0].status, "running");
    before.clone().append(&store, "two").await.unwrap();
}

async fn an_old_fence_changes_nothing<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut old = Driver::start(&store, "a").await;
    old.append(&store, "one").await.unwrap();
    store.release(&old.lease).await.unwrap();
    let released = old.clone().append(&store, "two").await.unwrap_err();
    assert_eq!(released, StoreError::Fenced { run: old.lease.run.clone() });

    let mut new = old.clone();
    new.lease = store.acquire(&old.lease.run, Timestamp(0)).await.unwrap();
    assert_eq!(new.lease.fence, Fence(2));
    new.append(&store, "new two").await.unwrap();
    let mut step = old.step("old two");
    step.blobs = vec![blob("of the zombie")];
    assert_eq!(land(&store, step).await, Err(StoreError::Fenced { run: old.lease.run.clone() }));
    assert_eq!(
        store.take_signals(&old.lease).await,
        Err(StoreError::Fenced { run: old.lease.run.clone() })
    );
    // An old lease cannot give away what it no longer has.
    store.release(&old.lease).await.unwrap();
    new.append(&store, "new three").await.unwrap();
    assert_eq!(verify(&store, &new.lease.run).await.unwrap(), new.head);
    let digest = blob("of the zombie").digest;
    assert_eq!(store.blob(&digest).await, Err(StoreError::UnknownBlob { digest }));
}

async fn a_held_run_is_refused<P: Place>() {
    let place = P::new();
    let (store, other) = (place.open(), place.open());
    let mut driver = Driver::start(&store, "a").await;
    for asking in [&store, &other] {
        let error = asking.acquire(&driver.lease.run, Timestamp(0)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Leased { .. }), "{error}");
        assert!(error.to_string().contains("process"), "{error}");
    }
    // A lease is worth something only in the hands of its owner.
    let stolen = driver.clone().append(&other, "stolen").await.unwrap_err();
    assert!(matches!(stolen, StoreError::Fenced { .. }), "{stolen}");
    other.release(&driver.lease).await.unwrap();
    driver.append(&store, "mine").await.unwrap();
}

async fn a_dead_owner_loses_its_runs<P: Place>() {
    let place = P::new();
    let (dying, other) = (place.open(), place.open());
    let mut a = Driver::start(&dying, "a").await;
    let mut b = Driver::start(&dying, "b").await;
    a.append(&dying, "one").await.unwrap();
    b.append(&dying, "one").await.unwrap();
    drop(dying);
    for driver in [&mut a, &mut b] {
        let lease = other.acquire(&driver.lease.run, Timestamp(0)).await.unwrap();
        assert!(lease.fence > driver.lease.fence);
        driver.lease = lease;
        driver.append(&other, "two").await.unwrap();
        assert_eq!(verify(&other, &driver.lease.run).await.unwrap(), driver.head);
    }
}

async fn a_run_is_not_taken_for_somebody_who_is_gone<P: Place>() {
    let place = P::new();
    let store = place.open();
    let driver = Driver::start(&store, "a").await;
    let run = driver.lease.run.clone();
    store.release(&driver.lease).await.unwrap();
    for waits in [false, true].repeat(20) {
        let mut taking = store.acquire(&run, Timestamp(0));
        let polled = std::future::poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx))).await;
        if let Poll::Ready(lease) = polled {
            store.let_go(&lease.unwrap());
        } else if waits {
            // What comes behind it is answered, so that its own answer is there as well.
            let signal = Signal::Interrupt;
            store.post(&run, &signal, Timestamp(0)).await.unwrap_err();
        }
        drop(taking);
    }
    let lease = store.acquire(&run, Timestamp(0)).await.unwrap();
    assert!(lease.fence > driver.lease.fence);
}

async fn a_run_that_is_let_go_can_be_taken_with_all_its_steps<P: Place>() {
    let place = P::new();
    let (store, other) = (place.open(), place.open());
    let mut driver = Driver::start(&store, "a").await;
    let run = driver.lease.run.clone();
    // Nobody waits for anything, and the order holds.
    drop(store.append(driver.step("one")));
    drop(store.append(driver.step("two")));
    store.let_go(&driver.lease);
    let fenced = store.append(driver.clone().step("three")).await.unwrap().unwrap_err();
    assert_eq!(fenced, StoreError::Fenced { run: run.clone() });
    assert_eq!(all_records(&store, &run).await.len(), 2);
    let taken = other.acquire(&run, Timestamp(0)).await.unwrap();
    assert!(taken.fence > driver.lease.fence);
    // An old lease, or one of another owner, lets nothing go.
    store.let_go(&driver.lease);
    store.let_go(&taken);
    assert!(matches!(store.acquire(&run, Timestamp(0)).await, Err(StoreError::Leased { .. })));
}

async fn a_released_run_can_be_taken<P: Place>() {
    let place = P::new();
    let (store, other) = (place.open(), place.open());
    let mut driver = Driver::start(&store, "a").await;
    // Given back while a step is in flight: the step lands first.
    let pending = store.append(driver.step("one"));
    store.release(&driver.lease).await.unwrap();
    pending.await.unwrap().unwrap();
    driver.lease = other.acquire(&driver.lease.run, Timestamp(0)).await.unwrap();
    driver.append(&other, "two").await.unwrap();
    assert_eq!(verify(&store, &driver.lease.run).await.unwrap(), driver.head);
}

async fn a_run_without_records_is_unknown<P: Place>() {
    let place = P::new();
    let store = place.open();
    let run = RunId::new("a");
    let unknown = StoreError::UnknownRun { run: run.clone() };
    for _ in 0..2 {
        assert_eq!(store.load(&run).await, Err(unknown.clone()));
        assert_eq!(store.records(&run, Seq(1), Seq(9)).await, Err(unknown.clone()));
        assert_eq!(store.post(&run, &Signal::Interrupt, Timestamp(0)).await, Err(unknown.clone()));
        assert_eq!(store.list(&Filter::default()).await.unwrap(), []);
        // The second round: it is held, but nothing was appended.
        let _ = store.acquire(&run, Timestamp(0)).await;
    }
    let bad = store.acquire(&RunId::new(""), Timestamp(0)).await.unwrap_err();
    assert!(matches!(bad, StoreError::Io { .. }), "{bad}");
    let bad = store.acquire(&RunId::new("x".repeat(1000)), Timestamp(0)).await.unwrap_err();
    assert!(matches!(bad, StoreError::Io { .. }), "{bad}");
}

async fn snapshots_shorten_loading<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    let run = driver.lease.run.clone();
    for (text, extra) in [("one", 0), ("two", 2)] {
        let mut step = driver.step(text);
        step.snapshot = Some(driver.snapshot(&text.repeat(1000)));
        land(&store, step).await.unwrap();
        for _ in 0..extra {
            driver.append(&store, "more").await.unwrap();
        }
    }
    let loaded = store.load(&run).await.unwrap();
    let snapshot = loaded.snapshot.unwrap();
    assert_eq!(snapshot.bytes, "two".repeat(1000).into_bytes());
    assert_eq!(snapshot.head.seq, Seq(2));
    assert_eq!(loaded.records.iter().map(|r| r.seq.0).collect::<Vec<_>>(), [3, 4]);

    // A step may bring nothing but a snapshot, of an earlier record too.
    let mut step = driver.steps(&[]);
    step.snapshot = Some(driver.snapshot("four"));
    land(&store, step).await.unwrap();
    assert_eq!(store.load(&run).await.unwrap().records, []);
    let mut step = driver.step("five");
    step.snapshot = Some(snapshot.clone());
    land(&store, step).await.unwrap();
    let loaded = store.load(&run).await.unwrap();
    assert_eq!((loaded.snapshot.unwrap(), loaded.records.len()), (snapshot, 3));
    assert_eq!(all_records(&store, &run).await.len(), 5);
}

async fn snapshots_must_stand_at_a_record<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    driver.append(&store, "one").await.unwrap();
    let mut elsewhere = driver.clone();
    elsewhere.step("not appended");
    for head in [elsewhere.head, prusik_core::record::Head::START] {
        let mut step = driver.clone().step("two");
        step.snapshot = Some(prusik_store::Snapshot { head, bytes: Vec::new() });
        let error = land(&store, step).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    assert_eq!(verify(&store, &driver.lease.run).await.unwrap(), driver.head);
}

async fn blobs_come_back_or_are_unknown<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    let texts = [String::new(), "x".repeat(100_000), noise(100_000, 7)];
    let mut step = driver.step("one");
    step.blobs = texts.iter().map(|text| blob(text)).collect();
    land(&store, step).await.unwrap();
    // Twice is no error, in one step or in two.
    let mut step = driver.step("two");
    step.blobs = vec![blob(&texts[1]), blob(&texts[1])];
    step.refs = vec![blob(&texts[2]).digest, blob(&texts[1]).digest];
    land(&store, step).await.unwrap();
    for text in &texts {
        assert_eq!(store.blob(&blob(text).digest).await.unwrap(), text.as_bytes());
    }
    let digest = Digest::of(b"none");
    assert_eq!(store.blob(&digest).await, Err(StoreError::UnknownBlob { digest }));
}

async fn listings_filter_and_sort<P: Place>() {
    let place = P::new();
    let store = place.open();
    for (id, created, status) in
        [("ab-1", 10, "running"), ("ab_2", 30, "parked"), ("b%3", 20, "running")]
    {
        let mut driver = Driver::start(&store, id).await;
        driver.row.created = Timestamp(created);
        driver.row.status = status.to_owned();
        driver.append(&store, "one").await.unwrap();
    }
    let ids = async |filter: Filter| -> Vec<String> {
        let rows = store.list(&filter).await.unwrap();
        rows.iter().map(|row| row.run.to_string()).collect()
    };
    let prefix = |text: &str| Some(text.to_owned());
    assert_eq!(ids(Filter::default()).await, ["ab_2", "b%3", "ab-1"]);
    assert_eq!(ids(Filter { limit: Some(2), ..Filter::default() }).await, ["ab_2", "b%3"]);
    assert_eq!(ids(Filter { limit: Some(0), ..Filter::default() }).await, [""; 0]);
    assert_eq!(
        ids(Filter { id_prefix: prefix("ab"), ..Filter::default() }).await,
        ["ab_2", "ab-1"]
    );
    assert_eq!(ids(Filter { id_prefix: prefix("ab_"), ..Filter::default() }).await, ["ab_2"]);
    assert_eq!(ids(Filter { id_prefix: prefix("b%"), ..Filter::default() }).await, ["b%3"]);
    assert_eq!(ids(Filter { id_prefix: prefix("%"), ..Filter::default() }).await, [""; 0]);
    let running = Filter { status: prefix("running"), ..Filter::default() };
    assert_eq!(ids(running).await, ["b%3", "ab-1"]);

    let rows = store.list(&Filter { id_prefix: prefix("ab-1"), ..Filter::default() }).await;
    let mut expected = row(&RunId::new("ab-1"), "running", false);
    expected.created = Timestamp(10);
    assert_eq!(rows.unwrap(), [expected]);
}

async fn signals_are_taken_once<P: Place>() {
    let place = P::new();
    let (store, other) = (place.open(), place.open());
    let mut driver = Driver::start(&store, "a").await;
    driver.append(&store, "one").await.unwrap();
    let run = &driver.lease.run;
    let cancel = Signal::Cancel { by: "ann".to_owned(), reason: "too \"dear\"\n".to_owned() };
    assert_eq!(store.take_signals(&driver.lease).await.unwrap(), []);
    other.post(run, &Signal::Interrupt, Timestamp(1)).await.unwrap();
    other.post(run, &cancel, Timestamp(0)).await.unwrap();
    assert_eq!(store.take_signals(&driver.lease).await.unwrap(), [Signal::Interrupt, cancel]);
    let text = Note {
        rejected: vec!["cash".to_owned()],
        ..Note::new(EntryKind::Decision, "by transfer\n")
    };
    let (by, supersedes) = ("ann".to_owned(), Some(EntryId(7)));
    let note = Signal::Note { by: by.clone(), note: text, supersedes };
    let compact = Signal::Compact { by };
    other.post(run, &note, Timestamp(2)).await.unwrap();
    other.post(run, &compact, Timestamp(3)).await.unwrap();
    assert_eq!(store.take_signals(&driver.lease).await.unwrap(), [note, compact]);
    assert_eq!(store.take_signals(&driver.lease).await.unwrap(), []);
}

async fn too_many_signals_are_refused<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    driver.append(&store, "one").await.unwrap();
    let run = &driver.lease.run;
    let huge = Signal::Cancel { by: String::new(), reason: "x".repeat(1 << 20) };
    assert!(matches!(store.post(run, &huge, Timestamp(0)).await, Err(StoreError::Io { .. })));
    // Posted at once, they share commits.
    let posts = (0..1001).map(|_| store.post(run, &Signal::Interrupt, Timestamp(0)));
    let mut refused = 0;
    for answer in join_all(posts).await {
        if let Err(error) = answer {
            assert!(error.to_string().contains("1000 messages"), "{error}");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(store.take_signals(&driver.lease).await.unwrap().len(), 1000);
    store.post(run, &Signal::Interrupt, Timestamp(0)).await.unwrap();
}

/// Polls all futures together.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        let mut ready = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if !ready {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(
            waiting.iter_mut().map(|(_, output)| output.take().unwrap()).collect(),
        )
    })
    .await
}

async fn pruning_keeps_what_is_needed<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut step;
    let mut old = Driver::start(&store, "old").await;
    (old.row.ended, old.row.status) = (true, "completed".to_owned());
    step = old.steps(&["one", "two"]);
    step.blobs = vec![blob("only old"), blob("shared")];
    step.snapshot = Some(old.snapshot("at two"));
    land(&store, step).await.unwrap();
    store.release(&old.lease).await.unwrap();

    let mut going_on = Driver::start(&store, "going on").await;
    step = going_on.step("one");
    step.refs = vec![blob("shared").digest];
    land(&store, step).await.unwrap();

    let mut young = Driver::start(&store, "young").await;
    young.row.ended = true;
    young.head.seq = Seq(0);
    let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    step = young.steps(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    land(&store, step).await.unwrap();

    // Records are at 1000, 1001, …: the second of `old` is at 1001.
    let none = store.prune(Timestamp(1001), false).await.unwrap();
    assert_eq!(none, prusik_store::Pruned::default());
    let planned = store.prune(Timestamp(1002), true).await.unwrap();
    assert_eq!((&planned.runs[..], planned.blobs), (&[RunId::new("old")][..], 1));
    assert!(planned.bytes > 0);
    assert_eq!(all_records(&store, &RunId::new("old")).await.len(), 2);

    assert_eq!(store.prune(Timestamp(1002), false).await.unwrap(), planned);
    let unknown = StoreError::UnknownRun { run: RunId::new("old") };
    assert_eq!(store.load(&RunId::new("old")).await, Err(unknown));
    let digest = blob("only old").digest;
    assert_eq!(store.blob(&digest).await, Err(StoreError::UnknownBlob { digest }));
    assert_eq!(store.blob(&blob("shared").digest).await.unwrap(), b"shared");
    assert_eq!(verify(&store, &going_on.lease.run).await.unwrap(), going_on.head);
    assert_eq!(verify(&store, &young.lease.run).await.unwrap(), young.head);
    // What is gone is gone for its last driver too; the name can be used again.
    let error = old.clone().append(&store, "three").await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
    Driver::start(&store, "old").await.append(&store, "anew").await.unwrap();
}

async fn hostile_ids_and_texts_are_only_text<P: Place>() {
    let place = P::new();
    let store = place.open();
    let ids = ["'; DROP TABLE runs; --", "../../etc/passwd", "\u{202e}\0\n", "🧗", "%"];
    for id in ids {
        let mut driver = Driver::start(&store, id).await;
        driver.row.task = format!("{id}\0{id}");
        driver.append(&store, id).await.unwrap();
        assert_eq!(verify(&store, &driver.lease.run).await.unwrap(), driver.head);
    }
    let rows = store.list(&Filter::default()).await.unwrap();
    assert_eq!(rows.len(), ids.len());
    assert!(rows.iter().all(|row| row.task == format!("{0}\0{0}", row.run)));
}
