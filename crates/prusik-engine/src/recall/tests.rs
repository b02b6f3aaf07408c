//! Recalls from journals that are written by hand.

mod anything;
mod driven;

use prusik_core::budget::Budget;
use prusik_core::event::{CallCompleted, Event, ModelAnswered, PromptReason, Prompted, RunStarted};
use prusik_core::ids::{Attempt, CallId, Digest, Timestamp, Turn};
use prusik_core::message::{Blob, Block, Handle, Image, ToolInput, ToolUse};
use prusik_core::model::{StopReason, Usage};
use prusik_core::outcome::{Failure, Outcome, ReadBy};
use prusik_core::record::{Head, Record};
use prusik_core::run::{RECALL, RECALL_BYTES_MAX};
use prusik_store::{Append, MemoryStore, RunRow};

use super::*;

/// What a run went through, on its way into a store.
struct Past {
    run: RunId,
    head: Head,
    records: Vec<Record>,
    blobs: Vec<Blob>,
    turn: u32,
}

impl Past {
    fn begin() -> Self {
        Self::of("run-a")
    }

    fn of(run: &str) -> Self {
        let run = RunId::new(run);
        let mut past =
            Self { run: run.clone(), head: Head::START, records: vec![], blobs: vec![], turn: 0 };
        past.event(&Event::RunStarted(RunStarted {
            run,
            agent: "a".into(),
            definition: Digest::of(b"agent"),
            task: "Find the order of Müller.".into(),
            budget: Budget::default(),
        }));
        past
    }

    fn event(&mut self, event: &Event) {
        self.records.push(self.head.seal(Timestamp(1), event));
    }

    fn answer(&mut self, text: &str, calls: &[(&str, Value)]) {
        self.turn += 1;
        let uses = calls.iter().enumerate().map(|(i, (name, input))| {
            let input = ToolInput::Json(input.clone());
            Block::ToolUse(ToolUse { id: format!("id{i}"), name: (*name).to_owned(), input })
        });
        let content = std::iter::once(Block::Text(text.to_owned())).chain(uses).collect();
        self.event(&Event::ModelAnswered(ModelAnswered {
            turn: Turn(self.turn),
            attempt: Attempt(1),
            content,
            stop: StopReason::ToolUse,
            usage: Usage::default(),
            nano_usd: 0,
            model: "m".into(),
            ms: 1,
        }));
    }

    fn completed(&mut self, index: u16, outcome: Outcome) {
        let call = CallId::new(Turn(self.turn), index);
        let attempt = Attempt(1);
        self.event(&Event::CallCompleted(CallCompleted {
            call,
            attempt,
            outcome,
            ms: 1,
            undo: None,
            echo: prusik_core::label::Label::trusted(),
        }));
    }

    /// A turn that asks for one call, and what the call returned, within the usual limits.
    fn turn(&mut self, tool: &str, arguments: Value, result: ToolResult) {
        self.answer("I look.", &[(tool, arguments)]);
        let call = ReadBy::Recall(CallId::new(Turn(self.turn), 1));
        let (result, blob) = result.limited(call, 20_000);
        self.blobs.extend(blob);
        self.completed(1, Outcome::Ok(result));
    }

    async fn store(self) -> Shelf {
        self.store_in(Arc::new(MemoryStore::new())).await
    }

    async fn store_in(self, store: Arc<MemoryStore>) -> Shelf {
        let lease = store.acquire(&self.run, Timestamp(1)).await.unwrap();
        let row = RunRow {
            run: self.run.clone(),
            agent: "a".into(),
            task: String::new(),
            status: "running".into(),
            note: String::new(),
            ended: false,
            turns: 0,
            tokens: 0,
            nano_usd: 0,
            created: Timestamp(1),
            updated: Timestamp(1),
        };
        let Self { run, records, blobs, head, .. } = self;
        let step = Append { lease, records, blobs, refs: vec![], row, snapshot: None };
        store.append(step).await.unwrap().unwrap();
        Shelf { store, run, through: head.seq }
    }
}

struct Shelf {
    store: Arc<MemoryStore>,
    run: RunId,
    through: Seq,
}

const BYTES_MAX: usize = 10_000;

impl Shelf {
    async fn ask(&self, arguments: Value) -> Reply {
        let (store, run) = (Arc::clone(&self.store), self.run.clone());
        let reply = recall(store, run, self.through, arguments.clone(), BYTES_MAX).await;
        if let Reply::Returned(result) = &reply {
            assert!(result.bytes() <= BYTES_MAX, "{arguments}: {} bytes", result.bytes());
        }
        reply
    }

    /// Returns what an answer says of itself, and the text beside it.
    async fn answer(&self, arguments: Value) -> (Value, String) {
        let reply = self.ask(arguments.clone()).await;
        let Reply::Returned(result) = reply else { panic!("{arguments}: {reply:?}") };
        let mut content = result.content.into_iter();
        let Some(Content::Json(head)) = content.next() else { panic!("no head") };
        let text = match content.next() {
            Some(Content::Text(text)) => text,
            None => String::new(),
            other => panic!("{other:?}"),
        };
        (head, text)
    }

    async fn head(&self, arguments: Value) -> Value {
        self.answer(arguments).await.0
    }

    async fn refusal(&self, arguments: Value) -> (String, String) {
        match self.ask(arguments.clone()).await {
            Reply::Refused(Refusal { kind: Some(kind), message, .. }) => (kind, message),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    /// Follows `next` to the end and returns all answers.
    async fn all(&self, arguments: Value) -> Vec<(Value, String)> {
        let mut all = vec![self.answer(arguments).await];
        while let Some(next) = all.last().unwrap().0.get("next").cloned() {
            all.push(self.answer(next).await);
            assert!(all.len() < 1_000, "it goes on for ever");
        }
        all
    }
}

fn rows(n: usize) -> Vec<Value> {
    (0..n).map(|id| json!({"id": id, "name": format!("Ä{id}"), "open": id % 7 == 0})).collect()
}

#[tokio::test]
async fn pages_put_together_are_the_whole() {
    let mut past = Past::begin();
    let lines: Vec<String> = (0..4_000).map(|n| format!("line {n}: äöü €\n")).collect();
    let lines = lines.concat();
    let rows = json!({"rows": rows(4_000)});
    past.turn("logs", json!({"of": "web"}), ToolResult::text(lines.clone()));
    past.turn("list", json!({}), ToolResult::json(rows.clone()));
    past.turn("short", json!({}), ToolResult::text("short"));
    past.turn("nothing", json!({}), ToolResult::text(""));
    let shelf = past.store().await;
    for (handle, whole) in [("1.1", lines), ("2.1", rows.to_string()), ("3.1", "short".into())] {
        let pages = shelf.all(json!({"handle": handle})).await;
        let text: String = pages.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(text, whole, "{handle}");
        let mut at = 0;
        for (head, text) in &pages {
            assert_eq!((&head["offset"], &head["bytes"]), (&json!(at), &json!(whole.len())));
            at += text.len();
            assert_eq!(head["left_out"].as_u64().unwrap_or(0), (whole.len() - at) as u64);
        }
    }
    let (head, text) = shelf.answer(json!({"handle": "1.1"})).await;
    assert_eq!(head["what"], "result of logs {\"of\":\"web\"}");
    assert_eq!(
        head["is"],
        "text, 4000 lines, begins \"line 0: äöü € line 1: äöü € line 2: äöü € line 3: äöü € line…\""
    );
    assert!(text.ends_with('\n'), "a page ends with a line");
    let head = shelf.head(json!({"handle": "2.1"})).await;
    assert_eq!(head["is"], "JSON object with key rows (array of 4000)");
    assert!(shelf.head(json!({"handle": "3.1"})).await.get("is").is_none());
    // An empty result was shown as a note that says so.
    assert!(shelf.answer(json!({"handle": "4.1"})).await.1.contains("returned nothing"));
    // Also from the middle of a character.
    let (head, text) = shelf.answer(json!({"handle": "1.1", "offset": 9})).await;
    assert_eq!(head["offset"], 8);
    assert!(text.starts_with("äöü"), "{text}");
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_a_way_out() {
    let store = Arc::new(MemoryStore::new());
    let mut other = Past::of("run-b");
    for _ in 0..3 {
        other.turn("read", json!({}), ToolResult::text("secret\n".repeat(9_000)));
    }
    let secret = other.blobs[0].handle().name();
    let other = other.store_in(Arc::clone(&store)).await;
    assert!(other.answer(json!({"handle": secret})).await.1.starts_with("secret"));
    let mut past = Past::begin();
    past.turn("read", json!({}), ToolResult::text("five!"));
    // What a tool or a model says is a blob's name makes it no blob of this run.
    past.turn("read", json!({}), ToolResult::text(format!("All of it: {secret}")));
    past.answer(&format!("I read {secret}."), &[(RECALL, json!({"query": "x"}))]);
    let shelf = past.store_in(store).await;
    for (arguments, kind, words) in [
        (json!({"handle": "99.1"}), "not_found", "got to turn 3"),
        (json!({"handle": "1.2"}), "not_found", "no 1.2 in this run"),
        (json!({"handle": "turn 9"}), "not_found", "no turn 9"),
        (json!({"handle": secret}), "not_found", "other runs"),
        (json!({"handle": "3.1"}), "not_found", "itself a recall"),
        (json!({"handle": "3.2"}), "not_found", "no result yet"),
        (json!({"handle": "12"}), "not_found", "no handle"),
        (json!({"handle": "blob:12"}), "not_found", "no handle"),
        (json!({"handle": "x\n\u{1b}".repeat(1_000)}), "not_found", "no handle"),
        (json!({"handle": ""}), "not_found", "no handle"),
        (json!({"handle": "1.1", "offset": 5}), "bad_offset", "has 5 bytes"),
        (json!({"handle": "1.1", "offset": u64::MAX}), "bad_offset", "beyond"),
        (json!({"handle": "1.1", "regex": "e", "offset": 6}), "bad_offset", "has 5 bytes"),
        (json!({"query": "five", "offset": 1}), "bad_offset", "There are 1 finds"),
        (json!({"regex": "five", "offset": 7}), "bad_offset", "There are 1 finds"),
        (json!({"handle": "1.1", "regex": "(a"}), "bad_pattern", "unclosed group"),
        (json!({"regex": "(?=a)"}), "bad_pattern", "no look-around"),
        (json!({"regex": "(\\w{90}){90}"}), "bad_pattern", "size limit"),
        (json!({"handle": "1.1", "path": "rows"}), "bad_path", "RFC 9535"),
        (json!({"handle": "1.1", "path": "$.a"}), "not_json", "begins \"five!\""),
        (json!({"query": "…"}), "invalid_arguments", "no word"),
        (json!({}), "invalid_arguments", "Say what to read"),
        (json!({"path": "$"}), "invalid_arguments", "Say what to read"),
        (json!({"query": "a", "regex": "a"}), "invalid_arguments", "Only one of"),
        (json!({"handle": "1.1", "query": "a"}), "invalid_arguments", "leave out `handle`"),
        (json!({"handle": 1.1}), "invalid_arguments", "string"),
        (json!({"what": "1.1"}), "invalid_arguments", "unknown field"),
        (json!([]), "invalid_arguments", "The arguments"),
        (json!({"query": "a".repeat(5_000)}), "invalid_arguments", "shorten it"),
    ] {
        let (is, message) = shelf.refusal(arguments.clone()).await;
        assert_eq!(is, kind, "{arguments}: {message}");
        assert!(message.contains(words), "{arguments}: {message}");
        assert!(message.len() < 1_000, "{arguments}: {message}");
    }
}

#[tokio::test]
async fn a_word_is_found_among_a_thousand_turns() {
    let mut past = Past::begin();
    for n in 1..=1_000 {
        let order = if n == 12 { "KESTREL-7261".to_owned() } else { format!("SPARROW-{n}") };
        let result = json!({"order": order, "customer": "Jörg Groß", "note": "注文番号を確認"});
        past.turn("order", json!({"page": n}), ToolResult::json(result));
        if n == 500 {
            let text = "Mind the invoices of Ångström.".to_owned();
            past.event(&Event::Prompted(Prompted { text, why: PromptReason::Person }));
        }
    }
    past.answer("Where was KESTREL-7261?", &[(RECALL, json!({"query": "KESTREL-7261"}))]);
    let shelf = past.store().await;
    for query in ["KESTREL-7261", "kestrel", "7261", "which order was Kestrel 7261, please?"] {
        let head = shelf.head(json!({"query": query})).await;
        let hit = &head["hits"][0];
        assert_eq!(hit["handle"], "12.1", "{query}: {head}");
        assert_eq!(hit["what"], "result of order {\"page\":12}");
        assert!(hit["excerpt"].as_str().unwrap().contains("KESTREL-7261"), "{hit}");
    }
    // Neither the answer that asks nor the question itself is found.
    assert_eq!(shelf.head(json!({"query": "KESTREL-7261"})).await["found"], 1);
    let head = shelf.head(json!({"query": "angstrom invoice"})).await;
    assert_eq!(head["hits"][0]["handle"], "turn 500");
    let head = shelf.head(json!({"query": "muller"})).await;
    assert_eq!(
        (&head["hits"][0]["handle"], &head["hits"][0]["what"]),
        (&json!("task"), &json!("the task"))
    );
    // What all have is found in all of them, the newest first.
    let head = shelf.head(json!({"query": "番号 groß"})).await;
    assert_eq!((&head["found"], &head["hits"][0]["handle"]), (&json!(1_000), &json!("1000.1")));
    let head = shelf.head(json!({"query": "pelican"})).await;
    assert_eq!((&head["found"], &head["hits"]), (&json!(0), &json!([])));
    assert!(head["note"].as_str().unwrap().contains("Nothing matches"));
}

#[tokio::test]
async fn all_that_a_question_finds_can_be_reached() {
    let mut past = Past::begin();
    for n in 1..=45 {
        past.turn("order", json!({"page": n}), ToolResult::text(format!("order {n} of Jörg Groß")));
    }
    let shelf = past.store().await;
    let mut handles = Vec::new();
    for (head, _) in shelf.all(json!({"query": "jorg gross"})).await {
        assert_eq!(head["found"], 45);
        let hits = head["hits"].as_array().unwrap().clone();
        handles.extend(hits.into_iter().map(|hit| hit["handle"].as_str().unwrap().to_owned()));
    }
    let newest_first: Vec<String> = (1..=45).rev().map(|n| format!("{n}.1")).collect();
    assert_eq!(handles, newest_first);
}

#[tokio::test]
async fn lines_that_match_are_shown_with_their_neighbours_and_places() {
    let mut past = Past::begin();
    let log: String = (1..=2_000)
        .map(|n| if n % 100 == 0 { format!("ERROR {n} ä\r\n") } else { format!("ok {n}\r\n") })
        .collect();
    past.turn("logs", json!({}), ToolResult::text(log.clone()));
    let long = format!("{{\"a\":\"{}KESTREL-7261{}\"}}", "x".repeat(90_000), "y".repeat(90_000));
    past.turn("get", json!({}), ToolResult::text(long.clone()));
    past.answer("Then.", &[]);
    let shelf = past.store().await;
    let head = shelf.head(json!({"handle": "1.1", "regex": "(?i)^error \\d+ ä$"})).await;
    assert_eq!(head["found"], 20);
    let second = &head["matches"][1];
    assert_eq!(
        (&second["line"], &second["text"]),
        (&json!(200), &json!("ok 199 \nERROR 200 ä\nok 201 "))
    );
    // A match says where it is.
    let offset = usize::try_from(second["offset"].as_u64().unwrap()).unwrap();
    assert!(log[offset..].starts_with("ERROR 200"));
    // What does not fit is reached by `next`, each line once.
    let mut lines = Vec::new();
    for (head, _) in shelf.all(json!({"handle": "1.1", "regex": "k \\d+"})).await {
        let matches = head["matches"].as_array().unwrap().clone();
        lines.extend(matches.into_iter().map(|found| found["line"].as_u64().unwrap()));
    }
    assert_eq!(lines, (1..=2_000).filter(|n| n % 100 != 0).collect::<Vec<_>>());
    // Of a line without end the place is shown.
    let head = shelf.head(json!({"handle": "2.1", "regex": "KESTREL-\\d+"})).await;
    let found = &head["matches"][0];
    assert_eq!(found["offset"], long.find("KESTREL").unwrap());
    let shown = found["text"].as_str().unwrap();
    assert!(shown.contains("xKESTREL-7261y") && shown.len() < 400, "{shown}");
    // In all of the run.
    let head = shelf.head(json!({"regex": "KESTREL-\\d+|ERROR 300|Müller"})).await;
    let handles: Vec<&Value> =
        head["matches"].as_array().unwrap().iter().map(|found| &found["handle"]).collect();
    assert_eq!(handles, ["task", "1.1", "2.1"]);
    let all = shelf.all(json!({"regex": "^(ok|ERROR)"})).await;
    let shown: usize = all.iter().map(|(head, _)| head["matches"].as_array().unwrap().len()).sum();
    assert_eq!((shown, &all[0].0["found"]), (2_000, &json!(2_000)));
}

#[tokio::test]
async fn parts_of_json_are_named_by_a_path() {
    let mut past = Past::begin();
    let value = json!({"rows": rows(3_000), "next": null});
    past.turn("list", json!({}), ToolResult::json(value.clone()));
    past.turn("small", json!({}), ToolResult::text("{\"id\": 7}"));
    let both = vec![Content::Text("3000 rows".into()), Content::Json(value)];
    past.turn("both", json!({}), ToolResult { content: both, whole: None });
    let shelf = past.store().await;
    for handle in ["1.1", "3.1"] {
        let path = "$.rows[?@.open == true && @.id > 2980].id";
        let head = shelf.head(json!({"handle": handle, "path": path})).await;
        assert_eq!((&head["found"], &head["values"]), (&json!(3), &json!([2982, 2989, 2996])));
    }
    assert_eq!(shelf.head(json!({"handle": "2.1", "path": "$.id"})).await["values"], json!([7]));
    let none = shelf.head(json!({"handle": "2.1", "path": "$.no"})).await;
    assert_eq!((&none["found"], &none["values"]), (&json!(0), &json!([])));
    // A part that is too large is told by its shape and its place.
    let head = shelf.head(json!({"handle": "1.1", "path": "$['rows', 'next']"})).await;
    let too_large = json!({
        "too_large": "$['rows']", "is": "JSON array of 3000 objects with keys id, name, open",
    });
    assert_eq!(head["values"], json!([too_large, null]));
    // Many parts come one answer after the other.
    let mut ids = Vec::new();
    for (head, _) in shelf.all(json!({"handle": "1.1", "path": "$..id"})).await {
        ids.extend(head["values"].as_array().unwrap().clone());
    }
    assert_eq!(ids, (0..3_000).map(|id| json!(id)).collect::<Vec<_>>());
    let (kind, _) = shelf.refusal(json!({"handle": "2.1", "path": "$.id", "offset": 1})).await;
    assert_eq!(kind, "bad_offset");
    let (kind, _) =
        shelf.refusal(json!({"handle": "1.1", "path": "$[0,0][0,0]..*..*..*..*..*"})).await;
    assert_eq!(kind, "bad_path");
}

#[tokio::test]
async fn images_come_back_as_images_if_they_fit() {
    let image = |data: String| Content::Image(Image { media_type: "image/png".into(), data });
    let mut past = Past::begin();
    let small = vec![Content::Text("The door.".into()), image("AAAA".repeat(100))];
    past.turn("look", json!({}), ToolResult { content: small.clone(), whole: None });
    let large = vec![Content::Text("The house.".into()), image("%no base64\u{0}%".repeat(900))];
    past.turn("look", json!({}), ToolResult { content: large, whole: None });
    let huge = vec![Content::Text("The street.".into()), image("AAAA".repeat(90_000))];
    past.turn("look", json!({}), ToolResult { content: huge, whole: None });
    past.turn("look", json!({}), ToolResult::text(format!("{:60000}", "[{\"image\":{\"no\":1}}]")));
    past.answer("So.", &[]);
    let shelf = past.store().await;
    let Reply::Returned(result) = shelf.ask(json!({"handle": "1.1"})).await else { panic!() };
    assert_eq!(result.content[1..], small);
    for (handle, words) in [("2.1", "The house."), ("3.1", "The street.")] {
        let (head, text) = shelf.answer(json!({"handle": handle})).await;
        assert_eq!(text, format!("{words}\n[image image/png]"));
        assert!(head["images"].as_str().unwrap().contains("image image/png, "), "{head}");
    }
    assert!(shelf.answer(json!({"handle": "4.1"})).await.1.starts_with("[{\"image\":{\"no\":1}}]"));
    assert_eq!(shelf.head(json!({"query": "street"})).await["hits"][0]["handle"], "3.1");
}

#[tokio::test]
async fn bytes_that_are_gone_or_no_text_are_told_of() {
    let mut past = Past::begin();
    past.turn("logs", json!({}), ToolResult::text("a line\n".repeat(9_000)));
    past.answer("More.", &[("fetch", json!({})), ("check", json!({}))]);
    let binary = Blob::new(vec![0xff; 30_000]);
    let gone = Handle { digest: Digest::of(b"gone"), bytes: 90_000 };
    let cut = |whole| ToolResult { whole: Some(whole), ..ToolResult::text("…") };
    past.completed(1, Outcome::Ok(cut(binary.handle())));
    past.completed(2, Outcome::Ok(cut(gone)));
    past.blobs.push(binary);
    past.answer("So.", &[]);
    let shelf = past.store().await;
    assert_eq!(shelf.answer(json!({"handle": "2.1"})).await.1, "[30000 bytes that are not text]");
    let (kind, message) = shelf.refusal(json!({"handle": "2.2"})).await;
    assert_eq!(kind, "gone");
    assert!(message.contains("2.2") && message.contains("make that call again"), "{message}");
    for arguments in [json!({"query": "line"}), json!({"regex": "line$"})] {
        let head = shelf.head(arguments).await;
        assert_eq!(head["not_searched"], "2.2: too large, or no longer stored");
        assert!(head["found"].as_u64().unwrap() > 0);
    }
}

#[tokio::test]
async fn answers_and_failures_can_be_read_back_too() {
    let mut past = Past::begin();
    past.answer("I try both.", &[("pay", json!({"cents": 5})), ("ship", json!({}))]);
    past.completed(1, Outcome::Failed(Failure::new("declined", "The card was declined.")));
    past.completed(2, Outcome::Denied { rule: "r".into(), message: "Not on Sundays.".into() });
    let text = "Try cash.".to_owned();
    past.event(&Event::Prompted(Prompted { text, why: PromptReason::Person }));
    past.answer("I quote.", &[("check", json!({}))]);
    let whole = Blob::new("never ending ".repeat(9_000).into_bytes());
    let failure = Failure::new("invalid_result", "It is no object. It was: never");
    past.completed(1, Outcome::Failed(Failure { whole: Some(whole.handle()), ..failure }));
    let named = whole.handle().name();
    past.blobs.push(whole);
    past.answer("So.", &[]);
    let shelf = past.store().await;
    let (head, text) = shelf.answer(json!({"handle": "1.1"})).await;
    assert_eq!(head["what"], "failed (declined): pay {\"cents\":5}");
    assert!(text.contains("The card was declined."), "{text}");
    assert_eq!(shelf.head(json!({"handle": "1.2"})).await["what"], "denied: ship {}");
    let (_, text) = shelf.answer(json!({"handle": "turn 1"})).await;
    assert_eq!(text, "I try both.\n1.1 pay {\"cents\":5}\n1.2 ship {}\n[told] Try cash.");
    assert_eq!(shelf.answer(json!({"handle": "task"})).await.1, "Find the order of Müller.");
    for handle in ["2.1", &named] {
        let pages = shelf.all(json!({"handle": handle})).await;
        assert_eq!(pages[0].0["handle"], "2.1");
        let text: String = pages.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(text, "never ending ".repeat(9_000));
    }
}

#[tokio::test]
async fn a_run_that_has_seen_nothing_has_its_task() {
    let shelf = Past::begin().store().await;
    assert_eq!(shelf.head(json!({"query": "order"})).await["hits"][0]["handle"], "task");
    assert_eq!(shelf.head(json!({"regex": "x{9}"})).await["found"], 0);
    let (kind, message) = shelf.refusal(json!({"handle": "1.1"})).await;
    assert_eq!((kind.as_str(), message.contains("no turn yet")), ("not_found", true));
    // A run that the store does not know.
    let nobody = Shelf { run: RunId::new("nobody"), ..shelf };
    assert_eq!(nobody.refusal(json!({"handle": "1.1"})).await.0, "unreadable");
}

#[tokio::test]
async fn what_a_hostile_model_or_tool_writes_is_answered_in_time() {
    let mut past = Past::begin();
    let noise = "ab\u{0}\u{1b}[2J\"\\".repeat(20_000);
    past.turn("noise", json!({"x": "\u{7}\"".repeat(5_000)}), ToolResult::text(noise));
    past.turn("lines", json!({}), ToolResult::text("\n".repeat(100_000)));
    past.turn("one", json!({}), ToolResult::text("a".repeat(300_000)));
    past.answer("So.", &[]);
    let shelf = past.store().await;
    let quotes = "\"".repeat(300);
    for arguments in [
        json!({"handle": "1.1"}),
        json!({"handle": "1.1", "regex": "b"}),
        json!({"handle": "1.1", "regex": format!("b|{quotes}")}),
        json!({"regex": ""}),
        json!({"regex": "^$|x*"}),
        json!({"regex": "(a|aa)+$"}),
        json!({"handle": "3.1", "regex": "(a?){40}a{40}b"}),
        json!({"query": format!("ab {quotes}")}),
        json!({"query": "a b c d e f g h i j k l m n o p q r s t u v w x y z".repeat(8)}),
    ] {
        let head = shelf.head(arguments.clone()).await;
        if head["left_out"].as_u64().unwrap_or(0) > 0 {
            let next = &head["next"];
            assert!(next["offset"].as_u64().unwrap() > 0, "{arguments}: it goes on");
        }
    }
}

#[tokio::test]
async fn the_limit_of_the_core_is_kept() {
    let mut past = Past::begin();
    let rows = json!(rows(9_000));
    past.turn("list", json!({}), ToolResult::json(rows));
    let Shelf { store, run, through } = past.store().await;
    let bytes_max = usize::try_from(RECALL_BYTES_MAX).unwrap();
    for arguments in [
        json!({"handle": "1.1"}),
        json!({"handle": "1.1", "path": "$[*]"}),
        json!({"handle": "1.1", "regex": "id"}),
        json!({"query": "id"}),
    ] {
        let store: Arc<dyn Store> = Arc::clone(&store) as _;
        let reply = recall(store, run.clone(), through, arguments, bytes_max).await;
        let Reply::Returned(result) = reply else { panic!("{reply:?}") };
        assert!(result.bytes() <= bytes_max);
    }
    assert!(too_slow(20_000).message.contains("20000 ms"));
}
