//! How a tool call ends, and what the model is shown of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::contract::{Contract, FailureTerm};
use crate::expr::Expr;
use crate::ids::CallId;
use crate::json;
use crate::message::{Blob, Content, Handle, ToolResultBlock};
use crate::outline::outline;
use crate::run::RECALL;

/// What the driver reports of one attempt, before the contract is applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The tool answered with a result.
    Returned(ToolResult),
    /// The tool answered that it failed.
    Refused(Refusal),
    /// The tool answered, so that the call was made, and its answer is not what it promises.
    Unfit { result: ToolResult, problem: String },
    /// The attempt certainly never reached the tool: no server, no connection, a closed gate.
    NotSent {
        reason: String,
        /// When it is worth trying again at the earliest, in milliseconds from now; 0 if nothing
        /// speaks against trying soon.
        retry_after_ms: u64,
    },
    /// The attempt was on its way when the answer was lost: time-out, crash, cut connection.
    Lost { reason: String },
}

impl Reply {
    /// Returns the reply of an attempt that never reached its tool.
    pub fn not_sent(reason: impl Into<String>) -> Self {
        Self::NotSent { reason: reason.into(), retry_after_ms: 0 }
    }
}

/// A tool's own report of a failure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Refusal {
    /// The kind, where the tool itself names one (a built-in does; MCP servers mostly do not).
    pub kind: Option<String>,
    pub message: String,
    /// The code of a JSON-RPC error, or the HTTP status.
    pub code: Option<i64>,
    /// The structured part.
    pub value: Option<Value>,
    /// When the server said that the same call may succeed, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// Returns a report of a kind that the tool names itself.
    pub fn of_kind(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..Self::new(message) }
    }

    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

/// A tool's result: what a call returned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ToolResult {
    pub content: Vec<Content>,
    /// Set when the whole result was too large for the context: `content` then holds its head and
    /// its tail, and this names the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Handle>,
}

impl ToolResult {
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text(text.into())], whole: None }
    }

    pub fn json(value: Value) -> Self {
        Self { content: vec![Content::Json(value)], whole: None }
    }

    pub fn bytes(&self) -> usize {
        self.content.iter().map(Content::bytes).sum()
    }

    /// Returns whether the result says nothing: no content, or only white space.
    pub fn is_empty(&self) -> bool {
        self.content.iter().all(|content| match content {
            Content::Text(text) => text.trim().is_empty(),
            Content::Json(value) => value.is_null(),
            Content::Image(_) => false,
        })
    }

    /// Returns the result as one value, for expressions: the structured part if there is one,
    /// else the text, parsed if it is JSON.
    pub fn value(&self) -> Value {
        for content in &self.content {
            if let Content::Json(value) = content {
                return value.clone();
            }
        }
        let text = self.plain_text();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// Returns all text of the result, for people and for matching.
    pub fn plain_text(&self) -> String {
        let parts: Vec<String> = self
            .content
            .iter()
            .map(|content| match content {
                Content::Text(text) => text.clone(),
                Content::Json(value) => value.to_string(),
                Content::Image(image) => format!("[image {}]", image.media_type),
            })
            .collect();
        parts.join("\n")
    }

    /// Keeps a result such that its record can be read back: JSON that nests too deep becomes text.
    pub fn readable(mut self) -> Self {
        for content in &mut self.content {
            if let Content::Json(value) = content
                && !json::is_shallow(value)
            {
                *content = Content::Text(value.to_string());
            }
        }
        self
    }

    /// Keeps a result within `bytes_max`: a larger one becomes a blob, and its head and tail stay, with
    /// a note between them that says what is left out and how it is read.
    pub fn limited(self, read_by: ReadBy, bytes_max: u64) -> (Self, Option<Blob>) {
        let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        if self.bytes() <= limit {
            return (self, None);
        }
        let is_text = self.content.iter().all(|content| !matches!(content, Content::Image(_)));
        let whole = if is_text {
            self.plain_text()
        } else {
            serde_json::to_string(&self.content).expect("content serializes: its keys are strings")
        };
        let blob = Blob::new(whole.clone().into_bytes());
        let handle = blob.handle();
        let (head, tail) = ends(&whole, limit);
        let (bytes, left_out) = (whole.len(), whole.len() - head.len() - tail.len());
        let note = match read_by {
            ReadBy::Name => {
                format!("{left_out} of {bytes} bytes left out. All of it: {}", handle.name())
            }
            ReadBy::Recall(call) => {
                let outline = outline(&self.content);
                // What holds images is not shown as the text that was cut here.
                let from = if is_text { head.len() } else { 0 };
                format!(
                    "{left_out} of {bytes} bytes left out. All of it: {outline}. {RECALL} \
                     {{\"handle\":\"{call}\",\"offset\":{from}}} goes on here"
                )
            }
        };
        let content = vec![Content::Text(format!("{head}\n[… {note} …]\n{tail}"))];
        (Self { content, whole: Some(handle) }, Some(blob))
    }
}

/// How the model reads the whole of a result that was too large for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBy {
    /// It has no way; the note names the bytes, for people.
    Name,
    /// By the tool [`RECALL`], which knows the result by its call.
    Recall(CallId),
}

/// Returns the first three quarters and the last quarter of what `limit` bytes have room for,
/// cut between characters.
fn ends(text: &str, limit: usize) -> (&str, &str) {
    let limit = limit.min(text.len());
    let tail_start = text.ceil_char_boundary(text.len() - limit / 4);
    let head_end = text.floor_char_boundary((limit - limit / 4).min(tail_start));
    (&text[..head_end], &text[tail_start..])
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok(ToolResult),
    Failed(Failure),
    /// A rule of the project forbids the call.
    Denied {
        rule: String,
        message: String,
    },
    /// A person said no.
    Rejected {
        by: String,
        reason: String,
    },
    /// It is not known whether the call landed, and nobody could find out.
    InDoubt {
        reason: String,
    },
    /// It cannot be undone, so it is made when its group is committed, and not before.
    Deferred {
        group: String,
    },
}

/// A call that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A kind that the contract declares, or one of [`kind`].
    pub kind: String,
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether the call took effect all the same, so that it must not be made again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub landed: bool,
    /// What the model is told to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Where in the arguments or their schema the mistake is, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// Set when the message quotes a result that was too large for it: this names all of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Handle>,
}

/// Kinds of failure that the runtime itself reports.
pub mod kind {
    /// The tool reported a failure that its contract does not declare.
    pub const TOOL_ERROR: &str = "tool_error";
    /// The arguments are not JSON, or do not fit the schema.
    pub const INVALID_ARGUMENTS: &str = "invalid_arguments";
    /// The agent holds no tool of that name.
    pub const UNKNOWN_TOOL: &str = "unknown_tool";
    /// The tool could not be reached; the call did not start.
    pub const UNAVAILABLE: &str = "unavailable";
    /// A read gave no answer in time or lost its connection.
    pub const LOST: &str = "lost";
    /// The result does not fit the tool's declared output schema.
    pub const INVALID_RESULT: &str = "invalid_result";
    /// The result says nothing, which the contract calls a failure.
    pub const EMPTY_RESULT: &str = "empty_result";
    /// The server takes no more requests for the moment.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The run was told to stop before the call started.
    pub const NOT_STARTED: &str = "not_started";
    /// The group cannot be committed as it stands, or holds no more calls.
    pub const GROUP_REFUSED: &str = "group_refused";
    /// The ledger has no room for the entry.
    pub const LEDGER_FULL: &str = "ledger_full";
    /// The entry is none that the ledger takes.
    pub const LEDGER_REFUSED: &str = "ledger_refused";
    /// The plan comes too late, or names what the agent has not.
    pub const PLAN_REFUSED: &str = "plan_refused";
    /// The group could not take as a whole; what it did was undone.
    pub const GROUP_UNDONE: &str = "group_undone";

    /// What only the runtime says of a call: no contract may give these another meaning.
    pub const RESERVED: [&str; 12] = [
        TOOL_ERROR,
        INVALID_ARGUMENTS,
        UNKNOWN_TOOL,
        LOST,
        INVALID_RESULT,
        EMPTY_RESULT,
        NOT_STARTED,
        GROUP_REFUSED,
        GROUP_UNDONE,
        LEDGER_FULL,
        LEDGER_REFUSED,
        PLAN_REFUSED,
    ];
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Failure {
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            retryable: false,
            landed: false,
            advice: None,
            at: Vec::new(),
            whole: None,
        }
    }

    /// Returns the same failure as one after which the same call may succeed.
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    /// Returns the failure that `contract` makes of a tool's own report.
    pub fn from_refusal(contract: &Contract, refusal: Refusal) -> Self {
        let reply = json!({
            "is_error": true, "message": refusal.message, "code": refusal.code,
            "value": refusal.value,
        });
        let declared =
            contract.failures.iter().find(|(kind, term)| match (&term.when, &refusal.kind) {
                (Some(when), _) => means(when, &reply),
                (None, Some(reported)) => reported == *kind,
                (None, None) => refusal.message.contains(term.matches.as_deref().unwrap_or(kind)),
            });
        match declared {
            Some((kind, term)) => Self::of_term(kind, term, refusal.message),
            None => Self {
                retryable: refusal.retry_after_ms.is_some(),
                ..Self::new(
                    refusal.kind.unwrap_or_else(|| kind::TOOL_ERROR.to_owned()),
                    refusal.message,
                )
            },
        }
    }

    /// Returns the failure that `contract` sees in a result which the tool takes for a success.
    pub fn in_result(contract: &Contract, result: &ToolResult) -> Option<Self> {
        if contract.failures.values().all(|term| term.when.is_none()) {
            return None;
        }
        let (message, value) = (result.plain_text(), result.value());
        let reply = json!({"is_error": false, "message": message, "code": null, "value": value});
        let mut terms = contract.failures.iter();
        let found =
            terms.find(|(_, term)| term.when.as_ref().is_some_and(|when| means(when, &reply)));
        found.map(|(kind, term)| Self::of_term(kind, term, message))
    }

    fn of_term(kind: &str, term: &FailureTerm, message: String) -> Self {
        let advice = term.tell.clone();
        Self { retryable: term.retry, advice, ..Self::new(kind, message) }
    }
}

/// An expression that asks for what is not there means something else.
fn means(when: &Expr, reply: &Value) -> bool {
    when.eval_bool(&[("reply", reply)]).unwrap_or(false)
}

impl Outcome {
    /// Returns the handle of all of what came back, where no more than a part of it is here.
    pub fn whole(&self) -> Option<&Handle> {
        match self {
            Self::Ok(result) => result.whole.as_ref(),
            Self::Failed(failure) => failure.whole.as_ref(),
            Self::Denied { .. }
            | Self::Rejected { .. }
            | Self::InDoubt { .. }
            | Self::Deferred { .. } => None,
        }
    }

    /// Returns one word for logs and tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Failed(_) => "failed",
            Self::Denied { .. } => "denied",
            Self::Rejected { .. } => "rejected",
            Self::InDoubt { .. } => "in doubt",
            Self::Deferred { .. } => "deferred",
        }
    }

    /// Returns what the model is shown: a success as it came, everything else as one structured
    /// result. It is never empty.
    pub fn render(&self, provider_id: &str, tool: &str) -> ToolResultBlock {
        let (content, is_error) = match self {
            Self::Ok(result) if result.is_empty() => {
                let note = "The call succeeded and returned nothing.";
                (vec![Content::Json(json!({"status": "ok", "tool": tool, "note": note}))], false)
            }
            // Providers refuse blank text beside other content, and with it the whole request.
            Self::Ok(result) => {
                let said = result.content.iter().filter(|content| match content {
                    Content::Text(text) => !text.trim().is_empty(),
                    Content::Json(_) | Content::Image(_) => true,
                });
                (said.cloned().collect(), false)
            }
            Self::Failed(failure) => (vec![Content::Json(failure.describe(tool))], true),
            Self::Denied { rule, message } => (
                vec![Content::Json(json!({
                    "status": "denied", "tool": tool, "rule": rule, "message": message,
                    "retryable": false,
                }))],
                true,
            ),
            Self::Rejected { by, reason } => (
                vec![Content::Json(json!({
                    "status": "rejected", "tool": tool, "by": by, "message": reason,
                    "retryable": false,
                }))],
                true,
            ),
            Self::InDoubt { reason } => (
                vec![Content::Json(json!({
                    "status": "in_doubt", "tool": tool, "message": reason, "retryable": false,
                    "advice": "It is not known whether this call took effect. Do not repeat it; \
                               say so in your answer.",
                }))],
                true,
            ),
            Self::Deferred { group } => (
                vec![Content::Json(json!({
                    "status": "deferred", "tool": tool, "group": group,
                    "note": format!(
                        "This call cannot be undone, so nothing has happened yet: it is made when \
                         you call {} for the group.", crate::run::COMMIT_GROUP
                    ),
                }))],
                false,
            ),
        };
        ToolResultBlock { id: provider_id.to_owned(), content, is_error }
    }
}

impl Failure {
    fn describe(&self, tool: &str) -> Value {
        let mut value = json!({
            "status": "failed", "tool": tool, "kind": self.kind, "message": self.message,
            "retryable": self.retryable,
        });
        if self.landed {
            value["took_effect"] = json!(true);
        }
        if let Some(advice) = &self.advice {
            value["advice"] = json!(advice);
        }
        if !self.at.is_empty() {
            value["at"] = json!(self.at);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{EffectClass, FailureTerm};

    #[test]
    fn a_large_result_keeps_head_tail_and_handle() {
        let text = "ä".repeat(5_000);
        let (short, blob) = ToolResult::text(text.clone()).limited(ReadBy::Name, 101);
        let blob = blob.expect("over the limit");
        assert_eq!(blob.bytes, text.as_bytes());
        let shown = short.plain_text();
        assert!(shown.starts_with("ää") && shown.ends_with("ää"), "{shown}");
        assert!(shown.contains(&blob.handle().name()), "{shown}");
        assert!(shown.len() < 101 + 160, "{}", shown.len());
        assert_eq!(short.whole, Some(blob.handle()));
    }

    #[test]
    fn a_result_within_the_limit_is_left_alone() {
        let result = ToolResult::text("x".repeat(100));
        let recall = ReadBy::Recall("1.1".parse().unwrap());
        assert_eq!(result.clone().limited(recall, 100), (result, None));
    }

    #[test]
    fn a_model_that_can_recall_is_told_what_is_left_out_and_where_it_goes_on() {
        let rows: Vec<_> = (0..500).map(|id| json!({"id": id, "name": "Ä"})).collect();
        let recall = ReadBy::Recall("12.1".parse().unwrap());
        let (short, blob) = ToolResult::json(json!(rows)).limited(recall, 1000);
        let (shown, whole) = (short.plain_text(), blob.expect("over the limit").bytes);
        let (head, rest) = shown.split_once("\n[… ").unwrap();
        let (note, tail) = rest.split_once(" …]\n").unwrap();
        let (bytes, left_out) = (whole.len(), whole.len() - head.len() - tail.len());
        let told = format!(
            "{left_out} of {bytes} bytes left out. All of it: JSON array of 500 objects with keys \
             id, name. recall {{\"handle\":\"12.1\",\"offset\":{}}} goes on here",
            head.len()
        );
        assert_eq!(note, told);
        assert!(whole.starts_with(head.as_bytes()) && whole.ends_with(tail.as_bytes()));
        assert!(head.len() + tail.len() <= 1000);
    }

    #[test]
    fn an_empty_success_says_so() {
        let block = Outcome::Ok(ToolResult::text(" \n")).render("id", "pay");
        assert!(!block.is_error);
        let Content::Json(value) = &block.content[0] else { panic!("{block:?}") };
        assert_eq!(value["status"], "ok");
        assert_eq!(value["tool"], "pay");
    }

    #[test]
    fn a_declared_failure_takes_its_terms_from_the_contract() {
        let mut contract = Contract::of(EffectClass::Write);
        let term = FailureTerm {
            retry: true,
            tell: Some("Wait for the next banking day.".into()),
            matches: Some("closed".into()),
            when: None,
        };
        contract.failures.insert("bank_closed".into(), term);
        let refusal = Refusal::new("we are closed");
        let failure = Failure::from_refusal(&contract, refusal);
        assert_eq!((failure.kind.as_str(), failure.retryable), ("bank_closed", true));
        let refusal = Refusal::new("boom");
        let failure = Failure::from_refusal(&contract, refusal);
        assert_eq!((failure.kind.as_str(), failure.retryable), (kind::TOOL_ERROR, false));
    }

    #[test]
    fn an_expression_finds_a_kind_in_an_error_and_in_a_result() {
        let mut contract = Contract::of(EffectClass::Write);
        for (kind, when) in [
            ("busy", "reply.is_error && reply.code == 503"),
            ("declined", "!reply.is_error && reply.value.status == 'declined'"),
        ] {
            let when = Some(Expr::parse(when).unwrap());
            contract.failures.insert(kind.into(), FailureTerm { when, ..FailureTerm::default() });
        }
        let busy = Refusal { code: Some(503), ..Refusal::new("come back") };
        assert_eq!(Failure::from_refusal(&contract, busy).kind, "busy");
        let other = Refusal { code: Some(500), ..Refusal::new("busy") };
        assert_eq!(Failure::from_refusal(&contract, other).kind, kind::TOOL_ERROR);
        let declined = ToolResult::json(json!({"status": "declined"}));
        assert_eq!(Failure::in_result(&contract, &declined).unwrap().kind, "declined");
        // What an expression asks for and is not there is not a failure.
        assert_eq!(Failure::in_result(&contract, &ToolResult::text("fine")), None);
    }
}
