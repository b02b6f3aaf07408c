//! What verification and loading say about journals that were changed behind the store's back.

use prusik_core::ids::{RunId, Seq};
use prusik_core::record::JournalError;
use prusik_store::{SqliteStore, Store, StoreError, VerifyError, verify};

use crate::support::{Driver, File, Place, all_records, blob, land, noise, tamper};

/// Makes a run of 20 records with a snapshot at the tenth, and closes the store.
async fn journal() -> (File, RunId) {
    let place = File::new();
    let store = place.open();
    let mut driver = Driver::start(&store, "a").await;
    for n in 1..=20 {
        let mut step = driver.step(&format!("{n} {}", noise(600, n)));
        if n == 10 {
            step.snapshot = Some(driver.snapshot(&"state ".repeat(100)));
            step.blobs = vec![blob(&"a large result ".repeat(100))];
        }
        land(&store, step).await.unwrap();
    }
    verify(&store, &driver.lease.run).await.unwrap();
    (place, driver.lease.run)
}

/// Tampers with a journal and says what verification finds.
async fn verdict(sql: &str) -> VerifyError {
    let (place, run) = journal().await;
    tamper(&place.path(), sql);
    verify(&place.open(), &run).await.unwrap_err()
}

fn mismatch(seq: u64) -> VerifyError {
    VerifyError::Journal(JournalError::HashMismatch { seq: Seq(seq) })
}

#[tokio::test]
async fn a_changed_body_is_found_where_it_is() {
    let sql = "UPDATE log SET encoding = 0, body = CAST('{}' AS BLOB) WHERE seq = 7";
    assert_eq!(verdict(sql).await, mismatch(7));
}

#[tokio::test]
async fn a_flipped_byte_of_a_packed_body_is_found() {
    // First that bodies of this length are packed at all.
    let (place, run) = journal().await;
    let conn = rusqlite::Connection::open(place.path()).unwrap();
    let packed: Vec<u8> = conn
        .query_row("SELECT body FROM log WHERE seq = 12 AND encoding = 2", [], |row| row.get(0))
        .unwrap();
    for position in [0, 5, packed.len() / 2, packed.len() - 1] {
        let mut flipped = packed.clone();
        flipped[position] ^= 0x10;
        conn.execute("UPDATE log SET body = ?1 WHERE seq = 12", [flipped]).unwrap();
        assert_eq!(verify(&place.open(), &run).await, Err(mismatch(12)), "byte {position}");
    }
    conn.execute("UPDATE log SET body = ?1 WHERE seq = 12", [packed]).unwrap();
    verify(&place.open(), &run).await.unwrap();
}

#[tokio::test]
async fn every_changed_column_is_found() {
    for change in [
        "at = at + 1",
        "version = 2",
        "version = 70000",
        "hash = zeroblob(32)",
        "hash = x'00'",
        "encoding = 9",
        "at = -1",
    ] {
        let sql = format!("UPDATE log SET {change} WHERE seq = 5");
        assert_eq!(verdict(&sql).await, mismatch(5), "{change}");
    }
}

#[tokio::test]
async fn a_missing_record_is_found() {
    let gap = JournalError::Gap { expected: Seq(4), found: Seq(5) };
    assert_eq!(verdict("DELETE FROM log WHERE seq = 4").await, VerifyError::Journal(gap));
    let closed = "DELETE FROM log WHERE seq = 4; UPDATE log SET seq = seq - 1 WHERE seq > 4";
    assert_eq!(verdict(closed).await, mismatch(4));
    let error = verdict("DELETE FROM log").await;
    assert!(error.to_string().contains("record 1 is missing"), "{error}");
}

#[tokio::test]
async fn a_cut_end_is_found() {
    let error = verdict("DELETE FROM log WHERE seq > 18").await;
    assert!(error.to_string().contains("record 19 is missing"), "{error}");
    // Also if the stored head is cut with it, badly.
    let error = verdict("DELETE FROM log WHERE seq > 18; UPDATE runs SET head_seq = 18").await;
    assert!(error.to_string().contains("not the one last appended"), "{error}");
}

#[tokio::test]
async fn reordered_records_are_found() {
    let swap = "UPDATE log SET seq = 100 WHERE seq = 6; UPDATE log SET seq = 6 WHERE seq = 7;
                UPDATE log SET seq = 7 WHERE seq = 100";
    assert_eq!(verdict(swap).await, mismatch(6));
}

#[tokio::test]
async fn records_of_another_run_are_found() {
    let (place, run) = journal().await;
    let store = place.open();
    let mut other = Driver::start(&store, "b").await;
    for n in 1..=20 {
        other.append(&store, &n.to_string()).await.unwrap();
    }
    drop(store);
    let swap = "UPDATE log SET run = 99 WHERE run = 1 AND seq = 3;
                UPDATE log SET run = 1 WHERE run = 2 AND seq = 3";
    tamper(&place.path(), swap);
    assert_eq!(verify(&place.open(), &run).await, Err(mismatch(3)));
}

#[tokio::test]
async fn loading_refuses_a_damaged_tail_and_records_gives_it_back() {
    let (place, run) = journal().await;
    tamper(&place.path(), "UPDATE log SET at = 0 WHERE seq = 15");
    let store = place.open();
    let error = store.load(&run).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("record 15") && error.to_string().contains("--verify"));
    assert_eq!(all_records(&store, &run).await.len(), 20);
}

#[tokio::test]
async fn a_damaged_snapshot_is_not_used() {
    for change in ["bytes = x'1234'", "hash = zeroblob(32)", "seq = 11", "digest = x''", "seq = 0"]
    {
        let (place, run) = journal().await;
        tamper(&place.path(), &format!("UPDATE snapshots SET {change}"));
        let loaded = place.open().load(&run).await.unwrap();
        assert_eq!((loaded.snapshot, loaded.records.len()), (None, 20), "{change}");
    }
}

#[tokio::test]
async fn a_damaged_blob_is_refused() {
    let (place, _) = journal().await;
    let digest = blob(&"a large result ".repeat(100)).digest;
    assert_eq!(place.open().blob(&digest).await.unwrap().len(), 1500);
    for change in ["bytes = x'00'", "encoding = 0", "encoding = 5"] {
        tamper(&place.path(), &format!("UPDATE blobs SET {change}"));
        let error = place.open().blob(&digest).await.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn overwritten_pages_are_an_error_and_no_panic() {
    let (place, run) = journal().await;
    let whole = std::fs::read(place.path()).unwrap();
    let page = 4 << 10;
    let mut complaints = 0;
    for start in (0..whole.len()).step_by(page / 2) {
        let mut bytes = whole.clone();
        let end = (start + 200).min(bytes.len());
        bytes[start..end].fill(0xA5);
        std::fs::write(place.path(), bytes).unwrap();
        let Ok(store) = SqliteStore::open(place.path()) else {
            complaints += 1;
            continue;
        };
        let found = verify(&store, &run).await;
        let listed = store.list(&prusik_store::Filter::default()).await;
        let loaded = store.load(&run).await;
        let lease = store.acquire(&run, prusik_core::ids::Timestamp(0)).await;
        if [found.is_err(), listed.is_err(), loaded.is_err(), lease.is_err()].contains(&true) {
            complaints += 1;
        }
    }
    // The header and the pages of the schema, the runs, the index and the log, at least.
    assert!(complaints >= 5, "only {complaints} places were noticed");
}
