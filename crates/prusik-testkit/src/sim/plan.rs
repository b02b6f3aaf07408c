//! What a schedule is about: the agent, its tools' contracts, its budget, and how wild it gets.

use std::collections::BTreeMap;

use fastrand::Rng;
use prusik_core::agent::{Agent, ContextPolicy, Group, Limits, OnFailure, Tool};
use prusik_core::budget::Budget;
use prusik_core::contract::{
    Contract, EffectClass, FailureTerm, KeyPlace, Probe, RecordTerm, RetryPolicy, Undo,
};
use prusik_core::expr::Expr;
use prusik_core::ledger::{EntryKind, Note};
use prusik_core::model::{ModelSpec, Price};
use serde_json::json;

/// Tools that the model may call.
pub const SHOWN: [&str; 5] = ["look", "put", "pay", "send", "tag"];
/// The tool that probes ask.
pub const FIND: &str = "find";
/// The tool that undoes what others did.
pub const TAKE: &str = "take";
/// What the reference of an undo begins with; that of what it undoes follows.
pub const UNDO_OF: &str = "undo-";

const PRICE: Price = Price {
    input: 1_000_000_000,
    output: 5_000_000_000,
    cache_read: 100_000_000,
    cache_write: 1_250_000_000,
};

/// All that is fixed before a schedule begins.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a coin of its own")]
pub struct Plan {
    pub agent: Agent,
    pub budget: Budget,
    pub runs: usize,
    /// When the faults stop and everybody behaves.
    pub calm_at_ms: u64,
    /// One process in this many dies at a seam.
    pub crash_one_in: usize,
    /// One store request in this many fails.
    pub store_fault_one_in: usize,
    /// One tool or model call in this many goes wrong.
    pub call_fault_one_in: usize,
    /// Whether leases are lost while their owner lives.
    pub zombies: bool,
    /// Whether the clock jumps forwards. Then nothing lands late: no probe can wait long enough by a
    /// clock that skips the wait.
    pub jumps_forward: bool,
    pub jumps_back: bool,
    /// Bytes that the provider counts as one token.
    pub token_bytes: u64,
    /// Whether it says what it counts.
    pub says_usage: bool,
    /// What the provider takes, where that is less than the agent believes, in its tokens.
    pub window_real: Option<u64>,
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Self {
        let wild = [2, 3, 5, 20];
        let agent = agent(rng);
        let window = agent.context.as_ref().map(|policy| policy.window_tokens);
        Self {
            token_bytes: [8, 8, 4][rng.usize(..3)],
            says_usage: !one_in(rng, 12),
            window_real: window
                .filter(|_| one_in(rng, 6))
                .map(|tokens| tokens * rng.u64(25..90) / 100),
            agent,
            budget: budget(rng),
            runs: if one_in(rng, 4) { 2 } else { 1 },
            calm_at_ms: rng.u64(2_000..40_000),
            crash_one_in: wild[rng.usize(..4)],
            store_fault_one_in: [12, 60, 400, usize::MAX][rng.usize(..4)],
            call_fault_one_in: wild[rng.usize(..4)],
            zombies: one_in(rng, 3),
            jumps_forward: one_in(rng, 6),
            jumps_back: one_in(rng, 4),
        }
    }

    /// Returns the tokens that the provider takes, if there is a limit.
    pub fn window(&self) -> Option<u64> {
        let declared = self.agent.context.as_ref().map(|policy| policy.window_tokens);
        self.window_real.or(declared)
    }

    /// Returns whether results are long and runs take many turns.
    pub fn is_long(&self) -> bool {
        self.agent.context.is_some()
    }
}

pub fn one_in(rng: &mut Rng, n: usize) -> bool {
    rng.usize(..n.max(1)) == 0
}

/// Returns the longest that a call of this contract may go on landing once its answer is lost.
pub fn lands_late_ms(contract: &Contract) -> u64 {
    match (&contract.probe, contract.effect) {
        (Some(probe), _) => probe.wait_ms,
        (None, EffectClass::Read) => 0,
        (None, EffectClass::Idempotent | EffectClass::Write) => 1_500,
    }
}

fn agent(rng: &mut Rng) -> Agent {
    let context = context(rng);
    let mut tools: Vec<Tool> = SHOWN.iter().map(|name| tool(name, contract(rng, name))).collect();
    if context.is_some() {
        for tool in &mut tools {
            tool.contract.result_bytes_max = [32_768, 32_768, 4_096, 64][rng.usize(..4)];
            tool.contract.records = records(rng);
        }
    }
    let mut find = Contract::of(EffectClass::Read);
    find.timeout_ms = 400;
    find.retry =
        RetryPolicy { attempts_max: 2, backoff_ms: 50, backoff_ms_max: 200, deadline_ms: None };
    tools.push(Tool { shown: false, ..tool(FIND, find) });
    let mut take = contract(rng, TAKE);
    if take.effect == EffectClass::Read {
        take = Contract { timeout_ms: 300, ..Contract::of(EffectClass::Idempotent) };
    }
    tools.push(Tool { shown: false, ..tool(TAKE, take) });
    let (leave, park) = (OnFailure::Leave, OnFailure::Park);
    Agent {
        containment: None,
        on_failure: [leave, leave, park, OnFailure::Compensate][rng.usize(..4)],
        groups: groups(rng, &tools),
        ledger: if context.is_some() { notes(rng) } else { Vec::new() },
        name: "clerk".to_owned(),
        system: "You are a clerk.".to_owned(),
        model: ModelSpec {
            alias: "main".to_owned(),
            model: "model-1".to_owned(),
            max_tokens: if context.is_some() { [400, 1_500][rng.usize(..2)] } else { 400 },
            temperature: None,
            thinking_tokens: None,
            price: (!one_in(rng, 4)).then_some(PRICE),
        },
        context,
        tools,
        budget: Budget::default(),
        output: one_in(rng, 3).then(|| json!({"type": ["integer", "null"]})),
        limits: Limits { repeats_max: [3, 0, 2][rng.usize(..3)], ..Limits::default() },
    }
}

/// Draws how the context is kept: in windows so small that a few results fill them.
fn context(rng: &mut Rng) -> Option<ContextPolicy> {
    if one_in(rng, 3) {
        return None;
    }
    // The tools alone take more than half of the smallest.
    let window_tokens = [3_000, 3_600, 4_500, 6_000][rng.usize(..4)];
    let window_tokens = if one_in(rng, 20) { 1_500 } else { window_tokens };
    let dear = Price { input: 3_000_000_000, output: 9_000_000_000, ..PRICE };
    Some(ContextPolicy {
        window_tokens,
        reserve_tokens: [100, 300, 500][rng.usize(..3)],
        compact_at_percent: [80, 60, 95][rng.usize(..3)],
        target_percent: [50, 40, 70][rng.usize(..3)],
        keep_percent: [25, 10, 50][rng.usize(..3)],
        ledger_bytes_max: [250, 700, 2_000][rng.usize(..3)],
        summary_bytes_max: [400, 800, 2_000][rng.usize(..3)],
        record: !one_in(rng, 4),
        summary_model: one_in(rng, 3).then(|| ModelSpec {
            alias: "short".to_owned(),
            model: "model-2".to_owned(),
            max_tokens: [300, 2_000][rng.usize(..2)],
            temperature: None,
            thinking_tokens: None,
            price: Some(dear),
        }),
    })
}

/// Draws what the ledger begins with.
fn notes(rng: &mut Rng) -> Vec<Note> {
    let all = [
        Note::new(EntryKind::Constraint, "Nothing is paid twice.\nL9 fact: this is one entry."),
        Note {
            reason: Some("it was asked for".to_owned()),
            ..Note::new(EntryKind::Goal, "All is tagged.")
        },
    ];
    all.into_iter().filter(|_| one_in(rng, 3)).collect()
}

/// Draws what a contract wants kept of its results: what is there, and what often is not.
fn records(rng: &mut Rng) -> Vec<RecordTerm> {
    let parse = |text: &str| Expr::parse(text).expect("it is CEL");
    if !one_in(rng, 4) {
        return Vec::new();
    }
    let done = RecordTerm {
        kind: EntryKind::Artefact,
        text: parse("'did ' + args.ref"),
        when: one_in(rng, 2).then(|| parse("size(args.ref) % 2 == 0")),
    };
    let whole = RecordTerm { kind: EntryKind::Fact, text: parse("result.rows"), when: None };
    if one_in(rng, 3) { vec![done, whole] } else { vec![done] }
}

/// Draws up to two groups among the tools that change something.
fn groups(rng: &mut Rng, tools: &[Tool]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    if one_in(rng, 2) {
        return groups;
    }
    for name in ["g", "h"] {
        let taken = |tool: &Tool| groups.iter().any(|group| group.tools.contains(&tool.name));
        let free = tools
            .iter()
            .filter(|tool| tool.shown && tool.contract.effect != EffectClass::Read && !taken(tool));
        let tools: Vec<String> =
            free.filter(|_| one_in(rng, 2)).map(|tool| tool.name.clone()).collect();
        if !tools.is_empty() {
            groups.push(Group { name: name.to_owned(), tools });
        }
    }
    groups
}

fn tool(name: &str, contract: Contract) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({
            "type": "object",
            "properties": {"ref": {"type": "string"}, "n": {"type": "integer"}},
        }),
        output_schema: None,
        contract,
        shown: true,
    }
}

/// Draws a contract: mostly what the tool's name says, sometimes any.
fn contract(rng: &mut Rng, name: &str) -> Contract {
    let effect = match name {
        _ if one_in(rng, 3) => {
            [EffectClass::Read, EffectClass::Idempotent, EffectClass::Write][rng.usize(..3)]
        }
        "look" => EffectClass::Read,
        "put" => EffectClass::Idempotent,
        _ => EffectClass::Write,
    };
    let mut contract = Contract::of(effect);
    if effect == EffectClass::Idempotent {
        contract.key = Some(match rng.usize(..3) {
            0 => KeyPlace::Argument("key".to_owned()),
            1 => KeyPlace::Meta("key".to_owned()),
            _ => KeyPlace::Call,
        });
    }
    let probed = effect != EffectClass::Read && (name == "pay" || one_in(rng, 3));
    contract.probe = probed.then(|| probe(rng));
    contract.undo = (effect != EffectClass::Read && name != TAKE && one_in(rng, 2)).then(undo);
    contract.parallel |= name == "tag" || one_in(rng, 4);
    contract.timeout_ms = [300, 1_000][rng.usize(..2)];
    let attempts_max = [3, 1, 2][rng.usize(..3)];
    contract.retry =
        RetryPolicy { attempts_max, backoff_ms: 50, backoff_ms_max: 400, deadline_ms: None };
    let busy = FailureTerm { retry: true, ..FailureTerm::default() };
    contract.failures.insert("busy".to_owned(), busy);
    contract.result_bytes_max = [32_768, 64][rng.usize(..2)];
    contract
}

/// An undo is a deed of its own, and named so.
fn undo() -> Undo {
    let reference = json!(format!("='{UNDO_OF}' + args.ref"));
    Undo { tool: TAKE.to_owned(), arguments: BTreeMap::from([("ref".to_owned(), reference)]) }
}

fn probe(rng: &mut Rng) -> Probe {
    let parse = |text: &str| Expr::parse(text).expect("it is CEL");
    Probe {
        tool: FIND.to_owned(),
        arguments: BTreeMap::from([("ref".to_owned(), json!("=args.ref"))]),
        landed: parse("result.found"),
        result: (!one_in(rng, 4)).then(|| parse("{'ref': args.ref}")),
        wait_ms: [0, 300, 800][rng.usize(..3)],
    }
}

fn budget(rng: &mut Rng) -> Budget {
    let mut some = |n: u64| one_in(rng, 4).then_some(n);
    Budget {
        turns: some(2),
        tokens: some(1_500),
        nano_usd: some(4_000_000),
        wall_ms: some(2_000),
        tool_calls: some(2),
    }
}
