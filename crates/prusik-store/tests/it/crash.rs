//! A process that is killed while it appends: what it said was durable is there, and no half step.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_store::{SqliteStore, Store, StoreError, verify};

use crate::support::{Driver, File, Place, all_records, blob, noise};

const CHILD: &str = "PRUSIK_STORE_TEST_CHILD";
/// How many steps the child appends before it waits to be killed.
const STEPS: &str = "PRUSIK_STORE_TEST_STEPS";
const STEP_RECORDS: u64 = 3;
const RUN: &str = "a";

/// In a child process, appends until it is killed and prints each acknowledged seq. As an ordinary
/// test it has nothing to do.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let steps = std::env::var(STEPS).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(append_until_killed(Path::new(&path), steps));
}

async fn append_until_killed(path: &Path, steps: u64) {
    let store = SqliteStore::open(path).unwrap();
    let mut driver = Driver::start(&store, RUN).await;
    if let Ok(records) = store.records(&driver.lease.run, Seq(1), Seq(u64::MAX)).await {
        driver.head = prusik_core::record::verify(&records).unwrap();
    }
    say(&format!("fence {}", driver.lease.fence));
    // One step is always on its way when the one before it is answered.
    let mut in_flight = None;
    for _ in 0..steps {
        let n = driver.head.seq.0;
        let mut step = driver.steps(&[&n.to_string(), &noise(3000, n), &"z".repeat(2000)]);
        step.blobs = vec![blob(&noise(50, n))];
        if n.is_multiple_of(7) {
            step.snapshot = Some(driver.snapshot(&noise(10_000, n)));
        }
        let seq = driver.head.seq;
        let pending = store.append(step);
        if let Some((seq, pending)) = in_flight.replace((seq, pending)) {
            let answer: Result<_, _> = pending.await;
            answer.unwrap().unwrap();
            say(&format!("durable {seq}"));
        }
    }
    drop(in_flight.unwrap().1.await.unwrap());
    say("idle 1");
    // Until the parent is gone, if it does not kill this process before.
    let _ = std::io::stdin().read(&mut [0]);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(path: &Path, steps: u64) -> (Killed, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD, path)
        .env(STEPS, steps.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (Killed(child), out)
}

/// Reads the number of the next line that starts with `word`; none when the child is gone.
fn next_number(out: &mut impl BufRead, word: &str) -> Option<u64> {
    out.lines().map_while(Result::ok).find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost() {
    let place = File::new();
    let run = RunId::new(RUN);
    for round in 1..=12_u64 {
        let (mut child, mut out) = spawn(&place.path(), u64::MAX);
        assert_eq!(next_number(&mut out, "fence "), Some(round), "it took the run over");
        // Killed after another number of steps each time, at whatever it does just then.
        let mut durable = None;
        for _ in 0..round * 5 % 23 {
            durable = next_number(&mut out, "durable ");
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        // What it still said before it died.
        while let Some(seq) = next_number(&mut out, "durable ") {
            durable = Some(seq);
        }

        let store = place.open();
        let Some(durable) = durable else { continue };
        let head = verify(&store, &run).await.unwrap();
        assert!(head.seq.0 >= durable, "{durable} was durable, and {} is the last", head.seq);
        assert_eq!(head.seq.0 % STEP_RECORDS, 0, "a part of a step is there");
        for first in (0..head.seq.0).step_by(3) {
            store.blob(&blob(&noise(50, first)).digest).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_its_runs_and_a_stopped_one_does_not() {
    let place = File::new();
    let run = RunId::new(RUN);
    let (mut child, mut out) = spawn(&place.path(), 5);
    next_number(&mut out, "idle ").unwrap();
    let store = place.open();
    let pid = child.0.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };

    let error = store.acquire(&run, Timestamp(0)).await.unwrap_err();
    let StoreError::Leased { owner, .. } = &error else { panic!("{error}") };
    assert_eq!(owner, &format!("process {pid} since 2023-11-14 22:13:20Z"));
    signal("-STOP");
    let error = store.acquire(&run, Timestamp(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Leased { .. }), "{error}");

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let lease = store.acquire(&run, Timestamp(0)).await.unwrap();
    assert_eq!(lease.fence.0, 2);
    let head = verify(&store, &run).await.unwrap();
    assert_eq!(all_records(&store, &run).await.len() as u64, head.seq.0);
    // Of the lock files, only this store's own is left.
    let owners = std::fs::read_dir(place.path().with_file_name("owners")).unwrap();
    assert_eq!(owners.count(), 1);
}
