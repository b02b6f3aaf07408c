//! Two thousand turns in a window of twenty thousand tokens, over the wire: what is known at the end,
//! what the providers' caches would have held, and that nothing grows with the number of turns.

use std::collections::BTreeSet;
use std::sync::Arc;

use prusik_core::event::{CompactHow, Event, Invariant};
use prusik_core::ids::{RunId, Seq, Turn};
use prusik_core::ledger::Entry;
use prusik_core::model::ModelRequest;
use prusik_core::run::{Definition, RECORD, Run};
use prusik_model::{KeyRef, ModelConfig, Server};
use prusik_store::{SqliteStore, Store};
use prusik_testkit::account::{Account, SONNET_4_5, analyse, by_cache_rules};
use prusik_testkit::long::{LongModel, Scenario, TURNS, WINDOW, agent, work};
use prusik_testkit::server::log;
use prusik_testkit::{LongWork, Options, ScriptedServer};
use serde_json::Value;

use crate::{ends_with_the_right_answer, events};

/// A run that was driven to its end, and the bodies that the server got.
struct Worked {
    scenario: Scenario,
    records: Vec<prusik_core::record::Record>,
    events: Vec<(Seq, Event)>,
    bodies: Vec<String>,
    account: Account,
    connection: ModelConfig,
}

#[tokio::test]
async fn two_thousand_turns_in_a_small_window() {
    let scenario = Scenario::new(TURNS + 4, 7);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let model = LongModel { window_tokens: Some(WINDOW), ..LongModel::default() };
    let options = Options { log: Some(log.clone()), ..Options::default() };
    let server = ScriptedServer::start(LongWork { scenario, model }, options).await.unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-test").unwrap();
    let connection =
        ModelConfig::Anthropic { server: Server::new(server.url(), Some(KeyRef::File(key))) };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path().join("runs.db")).unwrap());
    let model = connection.connect().unwrap();
    let run: RunId = work(&store, &scenario, model).await.unwrap();

    let records = store.records(&run, Seq(1), Seq(u64::MAX)).await.unwrap();
    let events = events(&store, &run).await;
    let bodies = log::read(&log).unwrap().map(|entry| entry.unwrap().body).collect();
    // The rules of caching work on the bodies alone, and know nothing of us. A turn that takes half a
    // minute still finds the cache of the turn before.
    let mut rules = by_cache_rules(30_000);
    let account = analyse(log::read(&log).unwrap(), &SONNET_4_5, &mut rules).unwrap();
    let worked = Worked { scenario, records, events, bodies, account, connection };
    ends_with_the_right_answer(&scenario, &worked.events);
    let turns = worked.events.iter().filter(|(_, e)| matches!(e, Event::ModelAnswered(_))).count();
    assert!(turns >= usize::try_from(TURNS).unwrap(), "{turns}");
    every_compaction_was_checked(&worked);
    the_cache_holds_nine_tenths(&worked);
    nothing_grows_with_the_turns(&worked);
    the_journal_knows_every_body(&worked);
}

/// What the journal says of each compaction holds in the very next request, by a reader that knows
/// nothing but the wire.
fn every_compaction_was_checked(worked: &Worked) {
    let (mut entries, mut asked, mut compactions): (Vec<Entry>, usize, usize) = Default::default();
    let mut after_compaction = false;
    for (seq, event) in &worked.events {
        match event {
            Event::EntryRecorded(recorded) => {
                entries.retain(|entry| Some(entry.id) != recorded.entry.supersedes);
                entries.push(recorded.entry.clone());
            }
            Event::ContextCompacted(compacted) => {
                assert_eq!(compacted.checked, Invariant::ALL, "at record {seq}");
                assert_eq!(compacted.how, CompactHow::Summarized, "at record {seq}");
                assert!(compacted.label.sources.contains("work"), "at record {seq}");
                compactions += 1;
                after_compaction = true;
            }
            Event::ModelAnswered(_) | Event::SummaryAnswered(_) => {
                let body: Value = serde_json::from_str(&worked.bodies[asked]).unwrap();
                asked += 1;
                if std::mem::take(&mut after_compaction) {
                    holds_what_it_must(&body, &worked.scenario, &entries);
                }
            }
            _ => {}
        }
    }
    assert_eq!(asked, worked.bodies.len());
    assert!(compactions >= 20, "{compactions} compactions");
    assert!(entries.len() >= 2, "a decision and where the table is: {entries:?}");
}

fn holds_what_it_must(body: &Value, scenario: &Scenario, entries: &[Entry]) {
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0]["content"][0]["text"], scenario.task().as_str());
    let head: Vec<&str> = messages[0]["content"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|block| block["text"].as_str())
        .collect();
    for entry in entries {
        let in_head = head.iter().any(|text| text.contains(&entry.note.text));
        let in_call = messages.iter().flat_map(|m| m["content"].as_array().unwrap()).any(|block| {
            block["name"] == RECORD && block["input"]["text"] == entry.note.text.as_str()
        });
        assert!(in_head || in_call, "{} is not there", entry.id);
    }
    let mut due: BTreeSet<&str> = BTreeSet::new();
    for message in messages {
        let blocks = message["content"].as_array().unwrap();
        let ids = |kind: &str, key: &str| -> BTreeSet<&str> {
            let of_kind = blocks.iter().filter(|block| block["type"] == kind);
            of_kind.map(|block| block[key].as_str().unwrap()).collect()
        };
        assert_eq!(ids("tool_result", "tool_use_id"), due);
        due = ids("tool_use", "id");
    }
}

fn the_cache_holds_nine_tenths(worked: &Worked) {
    let Account { sent_tokens, read_tokens, refused, .. } = worked.account;
    assert_eq!(refused, 0, "a prompt was larger than the window");
    let percent = read_tokens * 100 / sent_tokens;
    assert!(percent >= 90, "{percent} % of {sent_tokens} tokens were read from the cache");
}

/// The records of a hundred turns late in the run take no more than those of a hundred early ones.
fn nothing_grows_with_the_turns(worked: &Worked) {
    let bytes_of = |from: u32, to: u32| -> usize {
        let seq_of = |turn: u32| {
            let answer = worked.events.iter().find_map(|(seq, event)| match event {
                Event::ModelAnswered(answered) if answered.turn == Turn(turn) => Some(*seq),
                _ => None,
            });
            answer.unwrap()
        };
        let records = seq_of(from)..seq_of(to);
        let of_those = worked.records.iter().filter(|record| records.contains(&record.seq));
        of_those.map(|record| record.body.len()).sum()
    };
    let (early, late) = (bytes_of(100, 300), bytes_of(1_750, 1_950));
    assert!(late * 10 <= early * 12, "{early} bytes of turns 100 to 300, {late} of 1,750 to 1,950");
    let longest = |of: &[String]| of.iter().map(String::len).max().unwrap();
    let (early, late) = (longest(&worked.bodies[..400]), longest(&worked.bodies[1_600..]));
    assert!(late * 10 <= early * 12, "bodies of {early} bytes early, and {late} late");
}

/// Each body that the server got can be made again from the journal before its answer.
fn the_journal_knows_every_body(worked: &Worked) {
    let definition = Arc::new(Definition::new(agent(&worked.scenario)));
    let mut run = Run::replay(definition, &worked.records[..1]).unwrap();
    let mut bodies = worked.bodies.iter();
    for (record, (seq, event)) in worked.records.iter().zip(&worked.events) {
        if matches!(event, Event::ModelAnswered(_) | Event::SummaryAnswered(_)) {
            let request: ModelRequest = run.request_now().expect("it is being asked");
            let body = worked.connection.wire_body(&request).unwrap().expect("it has a wire");
            let got = bodies.next().expect("the server was asked");
            assert_eq!(String::from_utf8_lossy(&body), *got, "before record {seq}");
        }
        if record.seq > Seq(1) {
            run.follow(std::slice::from_ref(record)).unwrap();
        }
    }
    assert_eq!(bodies.next(), None);
}
