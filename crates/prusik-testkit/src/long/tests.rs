//! What the model of long work knows, what it forgets, and how it fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use prusik_core::ids::{Attempt, Turn};
use prusik_core::message::{Block, Content, Message, Role, ToolInput, ToolResultBlock, ToolUse};
use prusik_core::model::{Answer, ModelErrorKind, ModelRequest, ModelSpec, StopReason, ToolDecl};
use prusik_core::outcome::Reply;
use prusik_core::run::{RECALL, RECORD};
use prusik_tool::{CallAttempt, Tool};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::faults::WORDS;
use super::*;

const TURNS: u32 = 300;

fn scenario() -> Scenario {
    Scenario::new(TURNS, 7)
}

fn decl(name: &str) -> ToolDecl {
    ToolDecl {
        name: name.to_owned(),
        description: String::new(),
        input_schema: json!({"type": "object"}),
    }
}

/// Asks with these messages, and with these tools besides the one that works.
fn request(messages: Vec<Message>, more: &[&str]) -> ModelRequest {
    let scenario = scenario();
    let spec = ModelSpec {
        alias: "main".to_owned(),
        model: "long".to_owned(),
        max_tokens: 4_000,
        temperature: None,
        thinking_tokens: None,
        price: None,
    };
    let mut tools = vec![scenario.tool()];
    tools.extend(more.iter().map(|name| decl(name)));
    ModelRequest {
        turn: Turn(1),
        attempt: Attempt(1),
        purpose: prusik_core::model::Purpose::Turn,
        model: Arc::new(spec),
        max_tokens: 4_000,
        system: scenario.system().into(),
        tools: tools.into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    }
}

fn calls(answer: &Answer) -> Vec<&ToolUse> {
    let calls = answer.content.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    });
    calls.collect()
}

fn arguments(call: &ToolUse) -> &Value {
    match &call.input {
        ToolInput::Json(value) => value,
        ToolInput::Malformed(text) => panic!("{text}"),
    }
}

fn said(answer: &Answer) -> String {
    let text = |block: &Block| match block {
        Block::Text(text) => Some(text.clone()),
        Block::ToolUse(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    };
    answer.content.iter().filter_map(text).collect()
}

fn user(text: &str) -> Message {
    Message::user_text(text)
}

/// A framework that loses nothing, and keeps what it was asked to record.
#[derive(Default)]
struct Loop {
    messages: Vec<Message>,
    recorded: Vec<Value>,
    recalled: Vec<Value>,
}

impl Loop {
    fn start() -> Self {
        Self { messages: vec![user(&scenario().task())], ..Self::default() }
    }

    /// Asks for a turn, and performs its calls; none once there is a report.
    fn turn(&mut self, more: &[&str], recall: &dyn Fn(&Value) -> String) -> Option<String> {
        let answer = LongModel::default().answer(&request(self.messages.clone(), more)).unwrap();
        let mut results = Vec::new();
        for call in calls(&answer) {
            let input = arguments(call);
            let text = match call.name.as_str() {
                RECORD => {
                    self.recorded.push(input.clone());
                    json!({"status": "ok", "entry": format!("L{}", self.recorded.len())})
                        .to_string()
                }
                RECALL | "grep" | "read_file" => {
                    self.recalled.push(input.clone());
                    recall(input)
                }
                _ => {
                    let step = u32::try_from(input["step"].as_u64().unwrap()).unwrap();
                    scenario().result(step).unwrap().into_text()
                }
            };
            let content = vec![Content::Text(text)];
            let id = call.id.clone();
            results.push(Block::ToolResult(ToolResultBlock { id, content, is_error: false }));
        }
        if results.is_empty() {
            return Some(said(&answer));
        }
        self.messages.push(Message { role: Role::Assistant, content: answer.content });
        self.messages.push(Message { role: Role::User, content: results });
        None
    }

    fn until_the_report(&mut self, more: &[&str], recall: &dyn Fn(&Value) -> String) -> String {
        (0..=TURNS).find_map(|_| self.turn(more, recall)).expect("it ends in its turns")
    }

    /// Takes as many turns; none of them reports.
    fn turns(&mut self, turns: u32, more: &[&str]) {
        for _ in 0..turns {
            assert_eq!(self.turn(more, &|_| String::new()), None);
        }
    }
}

fn found_nothing(_: &Value) -> String {
    json!({"hits": []}).to_string()
}

#[test]
fn a_scenario_is_the_same_every_time_and_another_for_another_seed() {
    let steps = 1..=scenario().steps();
    let all = |scenario: Scenario| -> Vec<Outcome> {
        steps.clone().map(|step| scenario.result(step).unwrap()).collect()
    };
    assert_eq!(all(scenario()), all(scenario()));
    let (one, other) = (all(scenario()), all(Scenario::new(TURNS, 8)));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    assert_ne!(scenario().expected(), Scenario::new(TURNS, 8).expected());
    let different: BTreeSet<String> = one.iter().map(|out| out.clone().into_text()).collect();
    assert_eq!(different.len(), one.len(), "no two results are one");
    assert_eq!(scenario().result(0), None);
    assert_eq!(scenario().result(scenario().steps() + 1), None);
}

#[test]
fn results_are_of_the_size_that_is_said() {
    let scenario = Scenario::new(super::TURNS, 1);
    for step in 1..=scenario.steps() {
        let bytes = scenario.result(step).unwrap().into_text().len();
        let range = if step == scenario.table_step() { 36_000..44_000 } else { 520..800 };
        assert!(range.contains(&bytes), "step {step}: {bytes} bytes");
    }
    assert_eq!(
        (scenario.decision_step(), scenario.value_step(), scenario.table_step()),
        (12, 400, 900)
    );
}

#[test]
fn with_the_whole_history_the_report_is_right() {
    let mut run = Loop::start();
    let report = run.until_the_report(&[], &found_nothing);
    assert_eq!(report, json!(scenario().expected()).to_string());
    let right = Marks {
        constraint: Mark::Right,
        decision: Mark::Right,
        row: Mark::Right,
        value: Mark::Right,
    };
    assert_eq!(scenario().mark(&report), right);
    // One turn for each step; with the report there is one more.
    assert_eq!(run.messages.len(), 1 + 2 * scenario().steps() as usize);
    assert!(run.recorded.is_empty() && run.recalled.is_empty());
}

#[test]
fn what_was_cut_off_is_reported_as_unknown() {
    let mut run = Loop::start();
    run.turns(scenario().steps(), &[]);
    let answer = |messages: &[Message]| {
        said(&LongModel::default().answer(&request(messages.to_vec(), &[])).unwrap())
    };
    // The task and the newest turns, as a window that slides leaves them.
    let tail = run.messages.len() - 20;
    let mut kept = vec![run.messages[0].clone()];
    kept.extend_from_slice(&run.messages[tail - 1..]);
    let report = answer(&kept);
    let amount = scenario().expected().constraint;
    let known = Facts { constraint: amount, ..Facts::default() };
    assert_eq!(report, json!(known).to_string());
    // Without the task the constraint is lost, too. Such a history begins with an answer, which no
    // provider takes, but some servers do.
    assert_eq!(answer(&run.messages[tail - 1..]), json!(Facts::default()).to_string());
}

#[test]
fn with_every_step_cut_off_it_goes_by_the_summary_and_without_one_it_begins_again() {
    let step = |text: &str| {
        let answer = LongModel::default().answer(&request(vec![user(text)], &[])).unwrap();
        arguments(calls(&answer)[0])["step"].as_u64()
    };
    assert_eq!(step(&format!("{} {}", scenario().task(), words::done(41, 296))), Some(42));
    assert_eq!(step(&scenario().task()), Some(1));
}

#[test]
fn what_matters_is_recorded_once_with_the_handle_it_came_under() {
    let mut run = Loop::start();
    run.until_the_report(&[RECORD], &found_nothing);
    let carrier = scenario().expected().decision.unwrap();
    let [decision, table] = &run.recorded[..] else { panic!("{:?}", run.recorded) };
    assert_eq!(decision["kind"], "decision");
    assert_eq!(decision["text"], format!("Decision D1: carrier {carrier}"));
    assert_eq!(decision["source"], "12.1");
    assert_eq!(decision["rejected"].as_array().map(Vec::len), Some(1));
    assert!(decision["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let step = scenario().table_step();
    assert_eq!(table["kind"], "artefact");
    assert_eq!(table["text"], format!("Stock table of step {step}, handle {step}.1."));
}

#[test]
fn handles_count_the_turns_that_the_head_stands_for() {
    let mut run = Loop::start();
    run.turns(12, &[]);
    let head = Message {
        role: Role::User,
        content: vec![
            Block::Text(scenario().task()),
            Block::Text("[history: turns 1 to 8]\nEight steps were done.".to_owned()),
        ],
    };
    let mut kept = vec![head];
    kept.extend_from_slice(&run.messages[17..]);
    let answer = LongModel::default().answer(&request(kept, &[RECORD])).unwrap();
    let made = calls(&answer);
    assert_eq!(arguments(made[0]), &json!({"step": 13}));
    assert_eq!((made[1].name.as_str(), &arguments(made[1])["source"]), (RECORD, &json!("12.1")));
}

/// Answers as a history does that holds everything and is asked in the ways that `recall` knows.
fn whole_history(input: &Value) -> String {
    let scenario = scenario();
    if let Some(path) = input["path"].as_str() {
        assert_eq!(input["handle"], format!("{}.1", scenario.table_step()));
        let Outcome::Table(table) = scenario.result(scenario.table_step()).unwrap() else {
            panic!()
        };
        let row =
            table["rows"].as_array().unwrap().iter().find(|row| {
                path == format!("$.rows[?@.part == '{}']", row["part"].as_str().unwrap())
            });
        return json!({"matches": [row.expect("the path names a row")]}).to_string();
    }
    let query = input["query"].as_str().expect("the first look is by words");
    if query == format!("Seal of step {}", scenario.value_step()) {
        let text = scenario.result(scenario.value_step()).unwrap().into_text();
        return json!({"hits": [{"handle": "60.1", "excerpt": text}]}).to_string();
    }
    found_nothing(input)
}

#[test]
fn what_it_does_not_see_it_recalls() {
    let mut run = Loop::start();
    run.turns(scenario().steps(), &[RECORD]);
    // What a compaction leaves: the task, the ledger with the two entries, and the newest turns.
    let ledger = run.recorded.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let head = vec![Block::Text(scenario().task()), Block::Text(ledger)];
    let tail = run.messages.len() - 9;
    let mut messages = vec![Message { role: Role::User, content: head }];
    messages.extend_from_slice(&run.messages[tail - 1..]);
    run.messages = messages;
    let report = run.until_the_report(&[RECORD, RECALL], &whole_history);
    assert_eq!(report, json!(scenario().expected()).to_string());
    assert_eq!(run.recalled.len(), 2, "the row and the value: {:?}", run.recalled);
}

#[test]
fn it_gives_up_what_cannot_be_found() {
    let mut run = Loop::start();
    run.turns(scenario().steps(), &[]);
    let mut messages = vec![run.messages[0].clone()];
    messages.extend_from_slice(&run.messages[run.messages.len() - 10..]);
    run.messages = messages;
    let report = run.until_the_report(&[RECALL], &found_nothing);
    let marks = scenario().mark(&report);
    assert_eq!((marks.constraint, marks.decision), (Mark::Right, Mark::Unknown));
    assert_eq!((marks.row, marks.value), (Mark::Unknown, Mark::Unknown));
    assert!(run.recalled[0].get("query").is_some() && run.recalled.len() == 9);
}

#[test]
fn where_files_hold_the_history_it_searches_them() {
    let mut run = Loop::start();
    run.turns(scenario().steps(), &[]);
    let mut kept = vec![run.messages[0].clone()];
    kept.extend_from_slice(&run.messages[run.messages.len() - 10..]);
    let answer = LongModel::default().answer(&request(kept, &["grep"])).unwrap();
    let patterns: Vec<&Value> =
        calls(&answer).into_iter().map(|call| &arguments(call)["pattern"]).collect();
    let seal = words::before_seal(scenario().value_step());
    assert_eq!(patterns[..2], [&json!("Decision D1: carrier "), &json!(seal)]);
    assert!(patterns[2].as_str().unwrap().starts_with("P-"), "{patterns:?}");
    // What lies in a line that is too long to be shown is looked for in its file, once.
    run.messages = vec![run.messages[0].clone()];
    run.turns(scenario().steps(), &["grep", "read_file"]);
    let mut kept = vec![run.messages[0].clone()];
    kept.extend_from_slice(&run.messages[run.messages.len() - 10..]);
    run.messages = kept;
    let hit = "saved at /large_tool_results/toolu_b\n1  /large_tool_results/toolu_a:\n2    1: {";
    let reply =
        |input: &Value| if input.get("pattern").is_some() { hit.to_owned() } else { String::new() };
    let report = run.until_the_report(&["grep", "read_file"], &reply);
    assert_eq!(scenario().mark(&report).row, Mark::Unknown);
    let read: Vec<&Value> =
        run.recalled.iter().filter_map(|input| input.get("file_path")).collect();
    assert_eq!(read, [&json!("/large_tool_results/toolu_a")]);
}

#[test]
fn a_wrong_report_is_marked_wrong() {
    let mut facts = scenario().expected();
    facts.row = Some("K-000000".to_owned());
    assert_eq!(scenario().mark(&json!(facts).to_string()).row, Mark::Wrong);
    for none in ["", "done", "{}", "{\"row\": 7}", "{\"other\": null}"] {
        assert_eq!(scenario().mark(none).constraint, Mark::Unknown, "{none}");
    }
}

/// Returns a request for a summary of the first turns, the hostile result among them.
fn asked(turns: u32) -> ModelRequest {
    let mut run = Loop::start();
    run.turns(turns, &[RECORD]);
    let block = Block::Text("[compaction]\nSum up what happened, as JSON.".to_owned());
    run.messages.last_mut().unwrap().content.push(block);
    request(run.messages, &[RECORD, RECALL])
}

/// Returns the document if it is one: the keys that are asked for, and what they hold.
fn parse(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let object = value.as_object()?;
    let keys: Vec<&str> = object.keys().map(String::as_str).collect();
    let fits = keys == ["asked", "done", "learned", "decided", "open", "files", "handles"]
        && value["asked"].is_string()
        && ["done", "learned", "decided", "open", "files"]
            .iter()
            .all(|key| value[key].as_array().is_some_and(|list| list.iter().all(Value::is_string)))
        && value["handles"]
            .as_array()?
            .iter()
            .all(|named| named["handle"].is_string() && named["what"].is_string());
    fits.then_some(value)
}

#[test]
fn summaries_are_documents_of_what_was_shown() {
    let turns = scenario().table_step() + 3;
    let answer = LongModel::default().answer(&asked(turns)).unwrap();
    assert_eq!(answer.stop, StopReason::EndTurn);
    let document = parse(&said(&answer)).expect("it is a document");
    let facts = scenario().expected();
    let text = document.to_string();
    assert!(text.contains(&words::rule(&facts.constraint.unwrap())), "{text}");
    assert!(document["decided"][0].as_str().unwrap().contains(&facts.decision.unwrap()), "{text}");
    assert_eq!(document["done"][0], words::done(turns, scenario().steps()));
    assert_eq!(document["handles"][0]["handle"], format!("{}.1", scenario().table_step()));
    // Nobody knows yet what will be asked for, and hostile text is no summary.
    assert!(!text.contains(&facts.row.unwrap()) && !text.contains(&facts.value.unwrap()), "{text}");
    assert!(!text.contains(words::INJECTION), "{text}");
    // Early on there is less to say.
    let early = LongModel::default().answer(&asked(3)).unwrap();
    let early = parse(&said(&early)).unwrap();
    assert_eq!((&early["decided"], &early["handles"]), (&json!([]), &json!([])));
}

#[test]
fn a_summary_of_a_summary_keeps_what_the_first_one_says_and_a_forgetful_one_does_not() {
    let first = said(&LongModel::default().answer(&asked(20)).unwrap());
    let head = vec![
        Block::Text("Go on.".to_owned()),
        Block::Text(format!("[history: turns 1 to 20]\n{first}")),
        Block::Text("[compaction]\nSum up.".to_owned()),
    ];
    let again = request(vec![Message { role: Role::User, content: head }], &[]);
    let kept = parse(&said(&LongModel::default().answer(&again).unwrap())).unwrap();
    assert_eq!(kept["decided"].as_array().unwrap().len(), 1);
    assert_eq!(kept["done"][0], words::done(20, scenario().steps()));
    let forgetful = LongModel { fault: Some(Fault::Forgets), ..LongModel::default() };
    let lost = parse(&said(&forgetful.answer(&again).unwrap())).unwrap();
    assert_eq!((&lost["decided"], &lost["done"]), (&json!([]), &json!([])));
}

#[test]
fn another_framework_gets_its_summaries_in_words() {
    let carrier = scenario().expected().decision.unwrap();
    let rejected = "Ostkurier-0".to_owned();
    let decision = words::Decision { carrier: carrier.clone(), rejected };
    // LangChain quotes the conversation, an earlier summary at its head.
    let quoted = |earlier: &str, step: u32| {
        format!(
            "Your sole objective in this task is to extract the highest quality/most relevant \
             context from the conversation history below.\n<message type=\"human\">{earlier}\
             </message>\n<message type=\"ai\">{}</message>\n<message type=\"tool\">{}</message>",
            if step == 20 { decision.sentence() } else { String::new() },
            scenario().result(step).unwrap().into_text()
        )
    };
    let ask = |fault, text: String| {
        let model = LongModel { fault, ..LongModel::default() };
        said(&model.answer(&request(vec![user(&text)], &[])).unwrap())
    };
    let summary = ask(None, quoted(&scenario().task(), 20));
    assert!(summary.contains(&carrier) && summary.contains("Steps 1 to 20 of"), "{summary}");
    let earlier = format!("Here is a summary of the conversation to date:\n\n{summary}");
    let next = ask(None, quoted(&earlier, 21));
    assert!(next.contains(&carrier) && next.contains("Steps 1 to 21 of"), "{next}");
    let forgot = ask(Some(Fault::Forgets), quoted(&earlier, 21));
    assert!(!forgot.contains(&carrier) && forgot.contains("Steps 1 to 21 of"), "{forgot}");
}

#[test]
fn every_planted_fault_deviates_and_mends_when_it_should() {
    let request = asked(30);
    let honest = LongModel::default().answer(&request).unwrap();
    for (word, fault) in WORDS {
        assert_eq!(word.parse::<Fault>(), Ok(fault));
        let model = LongModel { fault: Some(fault), ..LongModel::default() };
        let answer = model.answer(&request);
        match fault {
            Fault::Fails(kind) => assert_eq!(answer.unwrap_err().kind, kind, "{word}"),
            // It has no earlier summary to forget here.
            Fault::Forgets => assert_eq!(answer.unwrap(), honest),
            Fault::Empty => assert!(answer.unwrap().content.is_empty()),
            Fault::Refuses => assert_eq!(answer.unwrap().stop, StopReason::Refusal),
            Fault::CallsTool => assert_eq!(calls(&answer.unwrap()).len(), 1),
            Fault::Truncated => {
                let answer = answer.unwrap();
                assert_eq!(answer.stop, StopReason::MaxTokens);
                assert_eq!(parse(&said(&answer)), None);
            }
            Fault::Prose => assert_eq!(parse(&said(&answer.unwrap())), None),
            Fault::TooLong => {
                let text = said(&answer.unwrap());
                assert!(parse(&text).is_some() && text.len() > 200_000);
            }
            Fault::InventsHandles => {
                let document = parse(&said(&answer.unwrap())).unwrap();
                assert!(document["handles"].to_string().contains("99999.7"));
            }
            Fault::CopiesInstruction => {
                let document = parse(&said(&answer.unwrap())).unwrap();
                assert!(document["open"].to_string().contains(words::INJECTION));
            }
        }
    }
    assert_eq!("good".parse::<Fault>().unwrap_err().to_string().matches("too-long").count(), 1);
}

#[test]
fn a_summarizer_may_do_better_when_it_is_asked_again() {
    let first = asked(30);
    let mut messages: Vec<Message> = first.messages.iter().map(|m| (**m).clone()).collect();
    messages.push(Message {
        role: Role::Assistant,
        content: vec![Block::Text("Sure, here it is.".to_owned())],
    });
    messages.push(user("[compaction]\nThat was no JSON."));
    let again = request(messages, &[]);
    for (correction, is_document) in
        [(Correction::WhenAskedAgain, true), (Correction::Never, false)]
    {
        let model = LongModel { fault: Some(Fault::Prose), correction, ..LongModel::default() };
        assert_eq!(parse(&said(&model.answer(&first).unwrap())), None);
        assert_eq!(parse(&said(&model.answer(&again).unwrap())).is_some(), is_document);
    }
}

#[test]
fn equal_requests_get_equal_answers_and_no_two_calls_have_one_id() {
    let mut run = Loop::start();
    let mut ids = BTreeSet::new();
    for _ in 0..30 {
        let request = request(run.messages.clone(), &[RECORD]);
        let one = LongModel::default().answer(&request).unwrap();
        let mut later = request.clone();
        later.attempt = Attempt(5);
        assert_eq!(LongModel::default().answer(&later).unwrap(), one);
        assert!(calls(&one).iter().all(|call| ids.insert(call.id.clone())));
        assert_eq!(one.usage.input, request_tokens(&request));
        run.turns(1, &[RECORD]);
    }
}

#[test]
fn a_request_beyond_the_window_is_refused() {
    let request = asked(30);
    let tokens = request_tokens(&request);
    let model = |window| LongModel { window_tokens: Some(window), ..LongModel::default() };
    assert!(model(tokens).answer(&request).is_ok());
    let refused = model(tokens - 1).answer(&request).unwrap_err();
    assert_eq!(refused.kind, ModelErrorKind::ContextFull);
}

#[test]
fn a_step_that_failed_is_asked_for_again() {
    let mut run = Loop::start();
    run.turns(5, &[]);
    let Block::ToolResult(result) = &mut run.messages.last_mut().unwrap().content[0] else {
        panic!()
    };
    result.is_error = true;
    result.content = vec![Content::Text("no connection".to_owned())];
    let answer = LongModel::default().answer(&request(run.messages, &[])).unwrap();
    assert_eq!(arguments(calls(&answer)[0]), &json!({"step": 5}));
}

#[tokio::test]
async fn the_tool_hands_over_the_bytes_of_the_scenario() {
    let tool = WorkTool::new(scenario());
    let call = async |arguments: Value| {
        let (cancel, progress) = (CancellationToken::new(), |_| {});
        let attempt =
            CallAttempt { arguments: &arguments, meta_key: None, cancel, progress: &progress };
        tool.call(attempt).await
    };
    for step in [1, scenario().table_step()] {
        let Reply::Returned(result) = call(json!({"step": step})).await else { panic!() };
        assert_eq!(result.plain_text(), scenario().result(step).unwrap().into_text());
    }
    for wrong in [json!({"step": 0}), json!({"step": "one"}), json!(null)] {
        assert!(matches!(call(wrong.clone()).await, Reply::Refused(_)), "{wrong}");
    }
}
