//! `json-output.md`: the objects that `--json` prints, made from the types that are printed.

use anyhow::{Result, ensure};
use prusik_core::budget::{Budget, Spent};
use prusik_core::event::{CallsStarted, Ending, Event, ParkReason};
use prusik_core::ids::{CallId, Digest, RunId, Timestamp, Turn};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, Entry, EntryId, EntryKind, Note};
use prusik_core::run::Status;
use prusik_store::RunRow;
use serde_json::{Value, json};

use super::{sentence, table};

/// One kind of object: when it is printed, an example, and what its keys mean.
struct Object {
    when: &'static str,
    example: Value,
    keys: &'static [(&'static str, &'static str)],
}

const RUN: (&str, &str) = ("run", "The run's id");

pub fn page() -> Result<String> {
    let mut text = String::from(
        "# JSON output\n\n\
         With `--json` a command prints one object per line on standard output. Keys may be added; \
         none is renamed, removed or given another meaning. Instants are milliseconds since 1970, \
         UTC; money is in nano-dollars (10⁻⁹ USD). Errors are text on standard error, with an \
         [exit code](exit-codes.md). `new`, `init`, `demo` and `completions` print text in any \
         case, and `schema` a JSON Schema.\n",
    );
    for (command, objects) in commands() {
        text.push_str(&format!("\n## {command}\n"));
        for object in objects {
            text.push_str(&section(&object)?);
        }
    }
    Ok(text)
}

fn section(object: &Object) -> Result<String> {
    let keys = object.example.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let told: Vec<&str> = object.keys.iter().map(|(key, _)| *key).collect();
    for key in keys {
        ensure!(
            told.contains(&key),
            "json_output.rs does not say what `{key}` is: {}",
            object.when
        );
    }
    for key in &told {
        ensure!(!object.example[key].is_null(), "no example has the key `{key}`: {}", object.when);
    }
    let rows: Vec<Vec<String>> = object
        .keys
        .iter()
        .map(|(key, meaning)| vec![format!("`{key}`"), sentence(meaning)])
        .collect();
    Ok(format!(
        "\n{}\n\n```json\n{}\n```\n\n{}",
        sentence(object.when),
        object.example,
        table(&["key", "meaning"], &rows)
    ))
}

fn commands() -> Vec<(&'static str, Vec<Object>)> {
    vec![
        ("`run` and `resume`", driven()),
        ("`events`", journal()),
        ("`runs`", listed()),
        ("`show`", vec![shown()]),
        ("`context`", seen()),
        ("`cancel`, `settle`, `note` and `compact`", done()),
        ("`inbox`, `approve` and `deny`", asked()),
        ("`fork`", vec![forked()]),
        ("`lint` and `check`", reviewed()),
        ("`certify`", certified()),
        ("`lock`", vec![locked()]),
        ("`policy check`", judged()),
        ("`chaos`", vec![disturbed()]),
    ]
}

fn run() -> RunId {
    RunId::new("01a2064d-6edd-73ba-92d2-004c5b741a91")
}

const CALL: CallId = CallId { turn: Turn(3), index: 1 };
const AT: Timestamp = Timestamp(1_795_402_067_740);
const SPENT: Spent = Spent {
    turns: 4,
    tokens: 9_541,
    nano_usd: 14_163_000,
    wall_ms: 5_800,
    tool_calls: 3,
    input_fresh: 541,
    cache_read: 6_800,
    cache_write: 2_000,
    output: 200,
    saved_nano_usd: 16_860_000,
};

fn event() -> Value {
    let event = Event::CallsStarted(CallsStarted { calls: vec![CALL] });
    json!({"run": run(), "seq": 9, "at_ms": AT, "event": event})
}

const EVENT_KEYS: &[(&str, &str)] = &[
    RUN,
    ("seq", "The record's place in the journal, counted from 1"),
    ("at_ms", "When it happened"),
    ("event", "The event: [Events](events.md) has every kind"),
];

fn driven() -> Vec<Object> {
    let delta = |delta: Value| json!({"run": run(), "delta": delta});
    let delta_keys: &[_] = &[
        RUN,
        (
            "delta",
            "`text` and `thinking` hold the next piece of it, `tool_use` the name of a tool that \
             the model begins to call",
        ),
    ];
    vec![
        Object {
            when: "A record, as soon as it is durable. The records that were there before the \
                   command began to drive the run, `run_started` among them, are not repeated: \
                   `events` prints all",
            example: event(),
            keys: EVENT_KEYS,
        },
        Object {
            when: "A piece of the model's answer, as it comes. The whole answer follows as an event",
            example: delta(json!({"text": "Three tasks "})),
            keys: delta_keys,
        },
        Object {
            when: "The model is asked",
            example: json!({"run": run(), "waiting_for": "model"}),
            keys: &[
                RUN,
                (
                    "waiting_for",
                    "`model`, or `summary` where it is to write what stands for old turns; of a summary \
                     no pieces are printed",
                ),
            ],
        },
        Object {
            when: "A tool is called",
            example: json!({
                "run": run(), "waiting_for": "call", "call": CALL, "tool": "bank__pay",
            }),
            keys: &[
                RUN,
                ("waiting_for", "`call`, or `probe` for the question whether a call landed"),
                ("call", "The call; for a probe the one that is in doubt"),
                ("tool", "The tool's name"),
            ],
        },
        Object {
            when: "A tool tells how far it is",
            example: json!({"run": run(), "progress": {"call": CALL, "text": "2 of 5"}}),
            keys: &[RUN, ("progress", "The `call`, and a `text`")],
        },
        Object {
            when: "Somebody at another process wanted something of the run that it does not take",
            example: json!({"run": run(), "refused": {"by": "ann", "why": "the ledger is full"}}),
            keys: &[RUN, ("refused", "Who, and why not")],
        },
        Object {
            when: "The last line: how the run stands",
            example: json!({
                "run": run(),
                "status": Status::Ended(Ending::Completed {
                    answer: "Done.".into(),
                    output: None,
                    failures: Vec::new(),
                    contained: Vec::new(),
                    label: Label::trusted(),
                    foreign_links: Vec::new(),
                }),
                "spent": SPENT,
                "exit_code": 0,
            }),
            keys: &[
                RUN,
                ("status", STATUS),
                ("spent", SPENT_MEANING),
                ("exit_code", "The process's [exit code](exit-codes.md)"),
            ],
        },
    ]
}

const STATUS: &str = "`\"running\"`, `{\"parked\": REASON}` or `{\"ended\": ENDING}`, with the words of \
                      [Events](events.md#words-inside-of-events)";
const SPENT_MEANING: &str = "What the run has spent so far: the first five in the units of its \
    budget. `input_fresh`, `cache_read`, `cache_write` and `output` are what its tokens were made \
    of, as the providers counted them, and `saved_nano_usd` is what the caches have saved against \
    the full price of the input: below zero while writing to them has cost more than reading \
    brought";

fn journal() -> Vec<Object> {
    vec![
        Object { when: "Each record", example: event(), keys: EVENT_KEYS },
        Object {
            when: "With `--verify`, one object if the journal is intact; otherwise an error that names \
                   the record",
            example: json!({
                "run": run(), "records": 12, "head": Digest::of(b"head"), "ok": true,
            }),
            keys: &[
                RUN,
                ("records", "How many there are"),
                ("head", "The last record's hash, which depends on all of them"),
                ("ok", "`true`"),
            ],
        },
    ]
}

fn listed() -> Vec<Object> {
    let row = RunRow {
        run: run(),
        agent: "clerk".to_owned(),
        task: "Pay all open invoices".to_owned(),
        status: "parked".to_owned(),
        note: "in doubt: call 3.1".to_owned(),
        ended: false,
        turns: SPENT.turns,
        tokens: SPENT.tokens,
        nano_usd: SPENT.nano_usd,
        created: AT,
        updated: AT,
    };
    vec![
        Object {
            when: "Each run, newest first",
            example: json!(row),
            keys: &[
                RUN,
                ("agent", "The agent's name"),
                ("task", "The first line of the task, cut"),
                (
                    "status",
                    "`running`, `parked`, `completed`, `completed_with_failures`, `failed`, `cancelled` or \
                     `compensated`",
                ),
                ("note", "Why, in one line; empty where there is nothing to say"),
                ("ended", "Whether the run will never change again"),
                ("turns", "Calls of the model so far"),
                ("tokens", "Tokens so far"),
                ("nano_usd", "Money so far"),
                ("created", "When it began"),
                ("updated", "When its last record was written"),
            ],
        },
        Object {
            when: "`runs prune`, one object",
            example: json!({"dry_run": false, "runs": [run()], "blobs": 2, "bytes": 18_213}),
            keys: &[
                ("dry_run", "Whether nothing was deleted"),
                ("runs", "The runs that were deleted, or would be"),
                ("blobs", "How many blobs nothing else named"),
                ("bytes", "Stored bytes of both"),
            ],
        },
    ]
}

fn shown() -> Object {
    Object {
        when: "One object",
        example: json!({
            "run": run(),
            "agent": "clerk",
            "task": "Pay all open invoices",
            "definition": Digest::of(b"definition"),
            "status": Status::Parked(ParkReason::InDoubt { calls: vec![CALL] }),
            "spent": SPENT,
            "cache_read_percent": SPENT.cache_read_percent(),
            "budget": Budget { turns: Some(20), ..Budget::default() },
            "in_doubt": [CALL],
            "open_calls": [{
                "call": CALL, "tool": "bank__pay", "arguments": {"reference": "2041"},
                "stage": {"in_doubt": {"attempt": 1, "reason": "the process died"}},
            }],
            "compactions": 1,
            "ledger": [Entry {
                id: EntryId(1),
                note: Note::new(EntryKind::Constraint, "Never pay an invoice twice."),
                author: Author::Agent,
                label: Label::trusted(),
                supersedes: None,
            }],
            "records": 12,
            "created_ms": AT,
            "updated_ms": AT,
        }),
        keys: &[
            RUN,
            ("agent", "The agent's name"),
            ("task", "The whole task"),
            ("definition", "The digest of the definition that the run keeps"),
            ("status", STATUS),
            ("spent", SPENT_MEANING),
            (
                "cache_read_percent",
                "How much of what went in was read from a cache; null if no provider counted \
                 anything",
            ),
            ("budget", "The ceilings; one that is left out does not bind"),
            ("in_doubt", "The calls that a person must settle"),
            (
                "open_calls",
                "The calls of the open turn, with their arguments and where each stands",
            ),
            ("compactions", "How often the context was made smaller"),
            ("ledger", "The entries that hold: what each says, who it is from, and its label"),
            ("records", "How many records the journal has"),
            ("created_ms", "When the run began"),
            ("updated_ms", "When its last record was written"),
        ],
    }
}

fn done() -> Vec<Object> {
    vec![
        Object {
            when: "One object",
            example: json!({"run": run(), "done": "settled"}),
            keys: &[
                RUN,
                (
                    "done",
                    "`settled`; `cancelled`; `wanted`, where the context is made smaller before the model is \
                     asked again; or `told`, where another process drives the run and was told what is wanted",
                ),
            ],
        },
        Object {
            when: "By `note`, when the entry is in the ledger",
            example: json!({"run": run(), "done": "noted", "entry": "L3"}),
            keys: &[RUN, ("done", "`noted`"), ("entry", "What the ledger calls it")],
        },
    ]
}

fn asked() -> Vec<Object> {
    vec![
        Object {
            when: "By `inbox`, for each call that waits for a person",
            example: json!({
                "run": run(), "call": CALL, "question": Digest::of(b"question"), "tool": "bank__pay",
                "arguments": {"iban": "GB72EXPL00999912345678"}, "effect": "write", "can_be_undone": true,
                "label": Label::of("read"), "doubts": [{"argument": "iban", "why": "it says who is affected"}],
                "policies": [{"rule": "large", "why": "is this payment expected?"}],
                "expires_ms": AT, "people": 1, "approved_by": [],
                "origins": [{"argument": "iban", "from": "first seen in what read returned (call 2.1)"}],
            }),
            keys: &[
                RUN,
                ("call", "The call"),
                ("question", "What an answer must name"),
                ("tool", "The tool"),
                ("arguments", "Exactly what it would be called with"),
                ("effect", "Its effect: `read`, `idempotent` or `write`"),
                ("can_be_undone", "Whether its contract says how it is undone"),
                ("label", "The untrusted sources that the model had read"),
                ("doubts", "What to look at: an argument, empty for the call itself, and why"),
                ("policies", "What the organisation's policy asks, by its names"),
                ("expires_ms", "When the question is void"),
                ("people", "How many people must say yes"),
                ("approved_by", "Who has said so"),
                ("origins", "Where each argument's values were first seen"),
            ],
        },
        Object {
            when: "By `approve` and `deny`",
            example: json!({"run": run(), "done": "approved", "left": [CALL]}),
            keys: &[
                RUN,
                ("done", "`approved` or `denied`"),
                ("left", "The calls of the run that still wait for a person"),
            ],
        },
    ]
}

fn segment() -> Value {
    json!({
        "kind": "result", "name": "result 3.1 of bank__find", "turn": 3, "call": CALL, "record": 9,
        "bytes": 412, "tokens": 120, "label": ["bank__find"], "why": "nothing has left the context yet",
        "text": "…",
    })
}

const SEGMENTS: &str = "In the order in which the model reads them: what each is (`system`, `tool`, `task`, `ledger`, \
                        `history`, `answer`, `result`, `folded`, `text` or `request`), its `name`, the `turn`, \
                        `call` and `record` that it belongs to or null, its `bytes` and its share of the `tokens`, \
                        its `label` (the untrusted sources that it may draw on), `why` it is there, and its `text`";
const WHICH: &str = "`{\"answered\": SEQ}`, exactly what that record answered; `\"next\"`; `{\"last\": SEQ}`, where \
                     calls are open or the run is over; or `\"unsent\"`";

fn seen() -> Vec<Object> {
    vec![
        Object {
            when: "One object",
            example: json!({
                "run": run(), "agent": "clerk", "which": {"answered": 12}, "turn": 4, "purpose": "turn",
                "model": "claude-sonnet-4-5", "tokens": 5_210, "counted": true, "window_tokens": 200_000,
                "room_tokens": 195_904, "threshold_tokens": 156_723, "compactions": 0, "due": "threshold",
                "segments": [segment()],
            }),
            keys: &[
                RUN,
                ("agent", "The agent's name"),
                ("which", WHICH),
                ("turn", "The turn that the model is asked for"),
                ("purpose", "`turn`, or `summary` where it is to write what stands for old turns"),
                ("model", "The provider's name of the model"),
                ("tokens", "What the request has"),
                ("counted", "Whether the provider counted that; otherwise it is estimated"),
                (
                    "window_tokens",
                    "What the model takes; null for a run whose context is not compacted, as the next two",
                ),
                ("room_tokens", "What a prompt may have of it"),
                ("threshold_tokens", "Beyond it the context is made smaller"),
                ("compactions", "How often that was done"),
                ("due", "Why it is made smaller before it is sent, or null"),
                ("segments", SEGMENTS),
            ],
        },
        Object {
            when: "With `--diff`, one object",
            example: json!({
                "run": run(), "from": {"answered": 9}, "to": {"answered": 12}, "added": [segment()],
                "gone": [segment()], "changed": [{"before": segment(), "after": segment()}], "same": 14,
            }),
            keys: &[
                RUN,
                ("from", "The request that it is compared with, in the words of `which`"),
                ("to", "The request itself"),
                ("added", "Segments that were not there before"),
                ("gone", "Segments that are not there any more"),
                ("changed", "Segments that say something else: `before` and `after`"),
                ("same", "How many are as they were"),
            ],
        },
        Object {
            when: "With `--svg` and `--html`, one object",
            example: json!({"run": run(), "written": ["context.svg"]}),
            keys: &[RUN, ("written", "The files")],
        },
    ]
}

fn forked() -> Object {
    Object {
        when: "One object",
        example: json!({
            "run": "01a20650-1c1f-7d0e-8f3a-5b0f6c2f9e11", "from": run(), "at": 7, "writes": [CALL],
        }),
        keys: &[
            ("run", "The new run's id"),
            ("from", "The run that it begins with"),
            ("at", "The last record that they share"),
            ("writes", "The calls behind the fork that changed the world, or may have"),
        ],
    }
}

fn locked() -> Object {
    Object {
        when: "One object",
        example: json!({
            "lock": "prusik.lock", "tools": 12, "added": ["bank__pay"], "changed": ["bank__find"],
            "removed": ["bank__send"], "written": true,
        }),
        keys: &[
            ("lock", "The file, in the project's folder"),
            ("tools", "How many tools the servers have"),
            ("added", "Tools that the lock did not have"),
            ("changed", "Tools of which the servers say something else than the lock does"),
            ("removed", "Tools that the lock has and no server any more"),
            ("written", "Whether the lock was written: not with `--check`, nor if nothing changed"),
        ],
    }
}

fn judged() -> Vec<Object> {
    vec![
        Object {
            when: "For each mistake in a policy",
            example: json!({"finding": {
                "severity": "error", "file": "policy/pay.cedar", "line": 2, "column": 30, "policy": "limit",
                "text": "Action::\"bank__pya\"", "message": "there is no tool `bank__pya`",
                "help": "did you mean `bank__pay`?",
            }}),
            keys: &[(
                "finding",
                "Where it stands, in which policy, which words are meant, what is wrong with them, and the way \
                 out; `severity` is `error` or `warning`, and nothing begins under an error",
            )],
        },
        Object {
            when: "One object at the end",
            example: json!({"policies": 12, "findings": 1}),
            keys: &[
                ("policies", "How many policies there are, none if a file of them cannot be read"),
                ("findings", "How many mistakes were told"),
            ],
        },
    ]
}

fn disturbed() -> Object {
    Object {
        when: "One object, when all runs are over",
        example: json!({
            "schedules": 200, "processes": 371, "kills": 118,
            "ends": {"as undisturbed": 171, "waiting for a person": 28, "failed, and says so": 1},
            "violations": [{"seed": 17, "violations": ["ledger.jsonl: a line twice"]}],
            "left_traces": true,
            "notes": [{"seed": 4, "end": "waiting for a person", "note": "call 3.4 in doubt: settle it"}],
        }),
        keys: &[
            ("schedules", "How many runs there were"),
            ("processes", "How many processes they took"),
            ("kills", "How many of these were killed"),
            ("ends", "How many runs ended how"),
            ("violations", "The runs that did what they must not: the seed, and what it was"),
            (
                "left_traces",
                "Whether the undisturbed run left anything in the project's folder that could be there twice",
            ),
            ("notes", "The runs that did not complete: the seed, how they ended, and why"),
        ],
    }
}

fn reviewed() -> Vec<Object> {
    let finding = json!({
        "rule": "probe-missing", "severity": "warning", "tool": "bank__pay", "others": [],
        "at": "/contract/effect", "place": {"file": "prusik.yaml", "line": 12, "column": 5},
        "message": "…", "help": "…",
    });
    vec![
        Object {
            when: "A finding",
            example: json!({"finding": finding}),
            keys: &[(
                "finding",
                "The `rule`, its `severity`, the `tool` or the `agent`, `others` that are part of it, \
                 `at` (a JSON pointer into what the tool says), the `place` in a file, the `message`, \
                 and as `help` the way out. What does not apply is left out",
            )],
        },
        Object {
            when: "A finding that the project accepts",
            example: json!({"accepted": finding, "reason": "the bank has no such call"}),
            keys: &[("accepted", "The finding"), ("reason", "Why it is accepted")],
        },
        Object {
            when: "By `lint --explain` only: the page of a rule",
            example: json!({
                "rule": "probe-missing", "severity": "warning",
                "title": "A write that nobody can ask about", "page": "lints/probe-missing.md",
                "text": "# A write that nobody can ask about …",
            }),
            keys: &[
                ("rule", "The rule"),
                ("severity", "How much its findings weigh: `error`, `warning` or `note`"),
                ("title", "What it finds, in a few words"),
                ("page", "Where its page is in the book"),
                ("text", "The page, in Markdown"),
            ],
        },
        Object {
            when: "By `check` only: what is known of a tool that an agent holds",
            example: json!({
                "question": "failure", "agent": "clerk",
                "tool": {"tool": "bank__pay", "effect": "write", "shown": true, "needs_person": false,
                         "facts": [{"about": "after a crash", "text": "made again"}]},
            }),
            keys: &[
                ("question", "The question that is answered: `failure`"),
                ("agent", "The agent's name"),
                (
                    "tool",
                    "The tool, its effect, whether the model is shown it, whether a crash may need a \
                     person, and the answers as `facts`",
                ),
            ],
        },
        Object {
            when: "By `check` only: what is known of an agent as a whole",
            example: json!({
                "question": "context", "agent": "clerk",
                "facts": [{"about": "window", "text": "20000 tokens, of which 1000 are kept for the answer"}],
            }),
            keys: &[
                ("question", "The question that is answered: `context` or `confirmation`"),
                ("agent", "The agent's name"),
                ("facts", "The answers"),
            ],
        },
        blast(),
    ]
}

fn blast() -> Object {
    Object {
        when: "By `check` only: what an injected instruction can cause",
        example: json!({
            "question": "injection", "agent": "clerk",
            "facts": [{"about": "held to", "text": "nothing: it is not contained"}],
            "blast": {
                "hold": "nothing", "reads": [],
                "sources": [{"tool": "read", "says": "anything"}],
                "sinks": [{
                    "tool": "bank__pay", "effect": "write", "leaves": false, "level": "open", "rules": [],
                    "people": 1,
                    "cells": [{"argument": "iban", "shape": "word", "way": "loose", "verdict": "made",
                               "stop": "nothing"}],
                    "witness": {"source": "read", "tool": "bank__pay", "arguments": ["iban"],
                                "verdict": "made"},
                }],
            },
        }),
        keys: &[
            ("question", "The question that is answered: `context`, `injection` or `confirmation`"),
            ("agent", "The agent's name"),
            ("facts", "The answers"),
            (
                "blast",
                "What the agent is held to, what it reads from outside, and for \
                 each tool what becomes of a call (`made`, `asked`, `never`) with a value of each \
                 shape in each argument, without a plan, where one foresees it, and beside one",
            ),
        ],
    }
}

const TOOL: (&str, &str) = ("tool", "The tool's name");
const CLAIM: (&str, &str) =
    ("claim", "What is claimed of it, such as `repeat-lands-once` or `probe-sees-lost`");
const VERDICT: (&str, &str) =
    ("verdict", "`holds`, `lie`, or `untested` where it could not be tried");
const SAYS: (&str, &str) =
    ("says", "What was seen; where it could not be tried, why, and the way out");
const EVIDENCE: (&str, &str) = ("evidence", "The calls that were made, with what came back, cut");

fn certified() -> Vec<Object> {
    vec![
        Object {
            when: "A claim of a tool",
            example: json!({
                "tool": "bank__pay", "claim": "probe-sees-landed", "verdict": "holds",
                "says": "it says that the call landed", "evidence": ["bank__pay {} → {}"],
            }),
            keys: &[TOOL, CLAIM, VERDICT, SAYS, EVIDENCE],
        },
        Object {
            when: "A claim about one kind of failure",
            example: json!({
                "tool": "bank__pay", "claim": "failure-as-declared", "kind": "unknown_account",
                "verdict": "lie", "says": "it is reported as a success",
                "evidence": ["bank__pay {} → {}"],
            }),
            keys: &[TOOL, CLAIM, ("kind", "The kind of failure"), VERDICT, SAYS, EVIDENCE],
        },
        Object {
            when: "The last line: how many",
            example: json!({
                "tools": 4, "holds": 35, "lies": 1, "untested": 2, "seed": 1, "exit_code": 1,
            }),
            keys: &[
                ("tools", "Tools that were tried"),
                ("holds", "Claims that held"),
                ("lies", "Claims that were broken"),
                ("untested", "Claims that could not be tried"),
                ("seed", "What the keys of calls were made from"),
                ("exit_code", "The process's [exit code](exit-codes.md)"),
            ],
        },
    ]
}
