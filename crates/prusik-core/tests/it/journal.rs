//! The journal's format is a promise: golden files for every kind of record, the hash chain, and
//! what is found when somebody touched it.

mod contain;
mod context;
mod samples;

use std::collections::BTreeSet;
use std::path::PathBuf;

use prusik_core::event::Event;
use prusik_core::ids::{Digest, Seq, Timestamp};
use prusik_core::record::{FormatVersion, Head, JournalError, Record, verify};
use serde::de::DeserializeOwned;

/// Returns the names of an enum's variants, as its reader lists them.
fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = match serde_json::from_str::<T>("{\"?\": null}") {
        Ok(_) => panic!("`?` is no variant"),
        Err(error) => error.to_string(),
    };
    let (_, listed) = error.split_once("expected").expect("a list of variants");
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn golden_path(kind: &str) -> PathBuf {
    let file = format!("tests/golden/{kind}.json");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Each file holds a JSON list with one event per line, so that a line is exactly a record's body.
fn golden_lines(kind: &str) -> Vec<String> {
    let path = golden_path(kind);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} is a promise to keep: {error}", path.display()));
    let lines = text.lines().filter(|line| *line != "[" && *line != "]");
    lines.map(|line| line.strip_suffix(',').unwrap_or(line).to_owned()).collect()
}

#[test]
fn every_kind_of_event_reads_as_it_was_written() {
    let kinds = variants::<Event>();
    let sampled: BTreeSet<String> = samples::all().keys().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(kinds, sampled, "each kind of event has samples");
    for (kind, events) in samples::all() {
        let written: Vec<String> =
            events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        if !golden_path(kind).exists() {
            let text = format!("[\n{}\n]\n", written.join(",\n"));
            let proposed = golden_path(kind).with_extension("json.new");
            std::fs::write(&proposed, text).unwrap();
            panic!("a new kind of event: read {}, and rename it", proposed.display());
        }
        let golden = golden_lines(kind);
        assert_eq!(golden, written, "{kind}: the format has changed");
        for (line, event) in golden.iter().zip(&events) {
            let read: Event = serde_json::from_str(line).unwrap();
            assert_eq!(read, *event);
            assert_eq!(serde_json::to_string(&read).unwrap(), *line);
        }
    }
}

#[test]
fn every_variant_inside_of_an_event_is_in_a_golden_file() {
    let all: String = samples::all().keys().flat_map(|kind| golden_lines(kind)).collect();
    for (of, names) in samples::inner_variants() {
        for name in names {
            assert!(all.contains(&format!("\"{name}\"")), "no golden file holds {of} {name}");
        }
    }
}

fn chain() -> Vec<Record> {
    let mut head = Head::START;
    let events = samples::all().into_values().map(|events| events[0].clone());
    let mut events: Vec<Event> = events.collect();
    events.sort_by_key(|event| !matches!(event, Event::RunStarted(_)));
    events.iter().zip(1..).map(|(event, i)| head.seal(Timestamp(1_000 * i), event)).collect()
}

#[test]
fn the_hash_chain_is_fixed() {
    let told: Vec<String> = chain()
        .iter()
        .map(|record| format!("{} {} {}", record.seq, record.at.0, record.hash))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn verify_finds_what_was_touched() {
    let whole = chain();
    let head = verify(&whole).unwrap();
    assert_eq!(head.seq, Seq(whole.len() as u64));

    for i in 0..whole.len() {
        let seq = Seq(i as u64 + 1);
        let mut flipped = whole.clone();
        let place = flipped[i].body.len() / 2;
        flipped[i].body[place] ^= 1;
        assert_eq!(verify(&flipped), Err(JournalError::HashMismatch { seq }));
        let mut later = whole.clone();
        later[i].at = later[i].at.plus_ms(1);
        assert_eq!(verify(&later), Err(JournalError::HashMismatch { seq }));
        let mut forged = whole.clone();
        forged[i].hash = Digest::of(b"x");
        assert_eq!(verify(&forged), Err(JournalError::HashMismatch { seq }));
        let mut missing = whole.clone();
        missing.remove(i);
        if i + 1 < whole.len() {
            let error = JournalError::Gap { expected: seq, found: seq.next() };
            assert_eq!(verify(&missing), Err(error));
        }
    }
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    assert_eq!(verify(&swapped), Err(JournalError::Gap { expected: Seq(3), found: Seq(4) }));
    // Renumbered, the pair still hangs in the wrong place of the chain.
    (swapped[2].seq, swapped[3].seq) = (Seq(3), Seq(4));
    assert_eq!(verify(&swapped), Err(JournalError::HashMismatch { seq: Seq(3) }));
    let error = JournalError::Gap { expected: Seq(1), found: Seq(3) };
    assert_eq!(verify(&whole[2..]), Err(error));
}

#[test]
fn a_newer_format_is_refused_and_an_unknown_kind_is_named() {
    let mut record = chain().remove(0);
    record.version = FormatVersion(FormatVersion::CURRENT.0 + 1);
    let error = record.event().unwrap_err();
    assert_eq!(error, JournalError::NewerFormat { seq: Seq(1), found: record.version });
    assert!(error.to_string().contains("use a newer prusik"), "{error}");

    record.version = FormatVersion::CURRENT;
    record.body = br#"{"run_teleported":{"to":"the moon"}}"#.to_vec();
    let error = record.event().unwrap_err();
    let JournalError::Unreadable { seq: Seq(1), problem } = &error else { panic!("{error:?}") };
    assert!(problem.contains("run_teleported") && problem.contains("run_started"), "{problem}");
    record.body = b"\xff\x00".to_vec();
    assert!(matches!(record.event(), Err(JournalError::Unreadable { .. })));
}
