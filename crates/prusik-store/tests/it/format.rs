//! The file: how it is opened, that old ones stay readable, and how large it grows.

use std::path::Path;

use prusik_core::ids::{RunId, Timestamp};
use prusik_store::{Filter, RunRow, SqliteStore, Store, StoreError, verify};

use crate::support::{Driver, File, Place, blob, land, noise, tamper};

/// A store of schema 1 as it was first released, packed.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden-v1.db.zst");

/// Makes what the golden file holds.
async fn golden_content(path: &Path) -> Driver {
    let store = SqliteStore::open(path).unwrap();
    let mut driver = Driver::start(&store, "golden").await;
    driver.append(&store, "short").await.unwrap();
    let mut step = driver.steps(&[&"long and repeated ".repeat(20), "third"]);
    step.blobs = vec![blob("a blob"), blob(&"a packed blob ".repeat(50))];
    step.snapshot = Some(driver.snapshot(&"a snapshot ".repeat(20)));
    land(&store, step).await.unwrap();
    driver.append(&store, "fourth").await.unwrap();
    store.post(&driver.lease.run, &prusik_store::Signal::Interrupt, Timestamp(7)).await.unwrap();
    driver
}

#[tokio::test]
async fn a_store_of_schema_1_stays_readable() {
    let place = File::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    if std::env::var_os("PRUSIK_BLESS").is_some() {
        golden_content(&place.path()).await;
        let bytes = std::fs::read(place.path()).unwrap();
        std::fs::write(GOLDEN, zstd::bulk::compress(&bytes, 19).unwrap()).unwrap();
    }
    let packed = std::fs::read(GOLDEN).unwrap();
    let bytes = zstd::bulk::decompress(&packed, 1 << 20).unwrap();
    std::fs::write(place.path(), bytes).unwrap();

    let expected = golden_content(&File::new().path()).await;
    let store = place.open();
    let run = RunId::new("golden");
    assert_eq!(verify(&store, &run).await.unwrap(), expected.head);
    assert_eq!(store.list(&Filter::default()).await.unwrap(), [expected.row]);
    let loaded = store.load(&run).await.unwrap();
    assert_eq!(loaded.snapshot.unwrap().bytes, "a snapshot ".repeat(20).into_bytes());
    assert_eq!(loaded.records.len(), 1);
    for text in ["a blob".to_owned(), "a packed blob ".repeat(50)] {
        assert_eq!(store.blob(&blob(&text).digest).await.unwrap(), text.as_bytes());
    }
    // The owner of then is gone; the run goes on where it was.
    let lease = store.acquire(&run, Timestamp(0)).await.unwrap();
    let signals = store.take_signals(&lease).await.unwrap();
    assert_eq!(signals, [prusik_store::Signal::Interrupt]);
    let mut driver = Driver { lease, head: expected.head, row: row_of(&store).await };
    driver.append(&store, "fifth").await.unwrap();
}

async fn row_of(store: &SqliteStore) -> RunRow {
    store.list(&Filter::default()).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = File::new();
    drop(place.open());
    tamper(&place.path(), "PRAGMA user_version = 99");
    let error = SqliteStore::open(place.path()).unwrap_err();
    let at = place.path().display().to_string();
    assert_eq!(error, StoreError::NewerSchema { at, found: 99, known: 1 });
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are my notes\n".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).unwrap_err();
    assert!(error.to_string().contains("not a prusik store"), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "these are my notes\n".repeat(100));

    let foreign = folder.path().join("foreign.db");
    tamper(&foreign, "CREATE TABLE mine (x)");
    let before = std::fs::read(&foreign).unwrap();
    let error = SqliteStore::open(&foreign).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let error = SqliteStore::open(text.join("below/a/file.db")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_new_store_can_be_opened_by_many_at_once() {
    let place = File::new();
    std::thread::scope(|scope| {
        let opening: Vec<_> =
            (0..8).map(|_| scope.spawn(|| SqliteStore::open(place.path()))).collect();
        for thread in opening {
            thread.join().unwrap().unwrap();
        }
    });
}

#[tokio::test]
async fn a_reader_sees_what_a_driver_appends() {
    let place = File::new();
    let (driving, looking) = (place.open(), place.open());
    let mut driver = Driver::start(&driving, "a").await;
    for n in 1..=50 {
        driver.append(&driving, &n.to_string()).await.unwrap();
        assert_eq!(verify(&looking, &driver.lease.run).await.unwrap(), driver.head);
    }
    drop(looking);
    // Who only looked has left no lock file.
    let owners = place.path().with_file_name("owners");
    assert_eq!(std::fs::read_dir(&owners).unwrap().count(), 1);
    drop(driving);
    assert_eq!(std::fs::read_dir(&owners).unwrap().count(), 0);
    // And the last to leave has emptied the WAL.
    assert!(!place.path().with_file_name("prusik.db-wal").exists());
}

/// The target: at most 1.3 bytes stored for a byte of payload, here with 256 runs taking turns.
#[tokio::test]
async fn the_file_stays_small() {
    const RUNS: u64 = 256;
    const TURNS: u64 = 10;
    let place = File::new();
    let store = place.open();
    let mut drivers = Vec::new();
    for n in 0..RUNS {
        drivers.push(Driver::start(&store, &format!("0198b2c4-7d11-7000-8000-{n:012}")).await);
    }
    let mut last = Vec::new();
    for turn in 0..TURNS {
        for (n, driver) in (0..).zip(&mut drivers) {
            // About what an answer with a call, and its outcome, carry beside their payload.
            let seed = turn * RUNS + n;
            let answer = format!("{}{}", "{\"turn\":1}".repeat(20), noise(200, seed));
            let result = format!("{}{}", "{\"ms\":1}".repeat(10), noise(1024, seed + 1_000_000));
            store.append(driver.step(&answer));
            last.push(store.append(driver.step(&result)));
        }
        for answer in last.drain(..) {
            answer.await.unwrap().unwrap();
        }
    }
    drop(store);
    #[expect(clippy::cast_precision_loss, reason = "it is a ratio")]
    let ratio = std::fs::metadata(place.path()).unwrap().len() as f64
        / (RUNS * TURNS * (200 + 1024)) as f64;
    println!("stored over payload: {ratio:.3}");
    assert!(ratio < 1.3, "{ratio:.3} bytes are stored for a byte of payload");
}

#[tokio::test]
async fn pruning_gives_the_room_back() {
    let place = File::new();
    let store = place.open();
    for n in 0..4 {
        let mut driver = Driver::start(&store, &n.to_string()).await;
        driver.row.ended = n != 0;
        for turn in 0..50 {
            let mut step = driver.step(&noise(4000, turn * 10 + n));
            step.blobs = vec![blob(&noise(20_000, turn * 10 + n))];
            store.append(step);
        }
        driver.append(&store, "done").await.unwrap();
        store.release(&driver.lease).await.unwrap();
    }
    let pruned = store.prune(Timestamp(u64::MAX), false).await.unwrap();
    assert_eq!((pruned.runs.len(), pruned.blobs), (3, 150));
    assert!(pruned.bytes > 150 * 15_000);
    verify(&store, &RunId::new("0")).await.unwrap();
    drop(store);
    let left = std::fs::metadata(place.path()).unwrap().len();
    assert!(left < 2_000_000, "{left} bytes are left of a quarter of 4.8 MB");
}
