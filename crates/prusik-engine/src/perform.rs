//! Effects performed: one task each, whose end is reported once.

use std::sync::Arc;
use std::time::Duration;

use prusik_core::effect::ToolCall;
use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq};
use prusik_core::input::Input;
use prusik_core::model::ModelRequest;
use prusik_core::outcome::Reply;
use prusik_core::record::Record;
use prusik_model::Model;
use prusik_store::Store;
use prusik_tool::{CallAttempt, Tool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::driver::{Notice, Observer};
use crate::engine::EngineError;
use crate::journal;
use crate::recall::{self, recall};

/// How long a tool may take to answer once it is told to stop.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What a performed effect brings.
pub(crate) enum Brought {
    Input(Input),
    Transcript(Result<Vec<(Seq, Event)>, EngineError>),
}

pub(crate) async fn call_model(
    model: Arc<dyn Model>,
    request: Arc<ModelRequest>,
    observer: Arc<dyn Observer>,
) -> Brought {
    let (turn, attempt) = (request.turn, request.attempt);
    let begun = Instant::now();
    let mut progress = |delta| observer.notice(Notice::Delta(&delta));
    let answer = model.answer(&request, &mut progress).await;
    let ms = elapsed_ms(begun);
    Brought::Input(match answer {
        Ok(answer) => Input::ModelAnswered { turn, attempt, answer, ms },
        Err(error) => Input::ModelFailed { turn, attempt, error },
    })
}

pub(crate) async fn call_tool(
    tool: Option<Arc<dyn Tool>>,
    call: ToolCall,
    cancel: CancellationToken,
    observer: Arc<dyn Observer>,
    probe: bool,
) -> Brought {
    let begun = Instant::now();
    let reply = match tool {
        Some(tool) => attempt(tool.as_ref(), &call, cancel, observer.as_ref()).await,
        None => Reply::not_sent(format!("the project no longer has a tool `{}`", call.tool)),
    };
    let ms = elapsed_ms(begun);
    Brought::Input(if probe {
        Input::ProbeReplied { call: call.call, reply }
    } else {
        Input::CallReplied { call: call.call, attempt: call.attempt, reply, ms }
    })
}

/// Performs one attempt within its time limit. A tool that does not stop when it is told to is
/// left behind, and its outcome is lost.
async fn attempt(
    tool: &dyn Tool,
    call: &ToolCall,
    cancel: CancellationToken,
    observer: &dyn Observer,
) -> Reply {
    let progress =
        |text: String| observer.notice(Notice::Progress { call: call.call, text: &text });
    let meta_key = call.meta_key.as_ref().map(|(name, key)| (name.as_str(), key.as_str()));
    let attempt = CallAttempt {
        arguments: &call.arguments,
        meta_key,
        cancel: cancel.clone(),
        progress: &progress,
    };
    let mut answer = std::pin::pin!(tool.call(attempt));
    let stopped = tokio::select! {
        // An answer that is there counts, whatever else has happened in the same instant.
        biased;
        reply = &mut answer => return reply,
        () = tokio::time::sleep(Duration::from_millis(call.timeout_ms)) => {
            format!("`{}` gave no answer within {} ms", call.tool, call.timeout_ms)
        }
        () = cancel.cancelled() => format!("`{}` was told to stop", call.tool),
    };
    cancel.cancel();
    match tokio::time::timeout(CANCEL_GRACE, answer).await {
        // An answer that came just in time is worth more than the doubt.
        Ok(
            reply @ (Reply::Returned(_)
            | Reply::Unfit { .. }
            | Reply::Refused(_)
            | Reply::NotSent { .. }),
        ) => reply,
        Ok(Reply::Lost { .. }) | Err(_) => Reply::Lost { reason: stopped },
    }
}

pub(crate) async fn load_transcript(
    store: Arc<dyn Store>,
    run: RunId,
    from: Seq,
    through: Seq,
) -> Brought {
    let event = |record: &Record| Ok(Some((record.seq, record.event()?)));
    Brought::Transcript(journal::read(store, run, from..=through, Arc::new(event)).await)
}

/// Performs a [`RECALL`](prusik_core::run::RECALL): reads the records `1..=through` of `run`.
pub(crate) async fn call_recall(
    store: Arc<dyn Store>,
    run: RunId,
    through: Seq,
    call: ToolCall,
    cancel: CancellationToken,
) -> Brought {
    let begun = Instant::now();
    let arguments = call.arguments.as_ref().clone();
    let bytes_max = usize::try_from(call.result_bytes_max).unwrap_or(usize::MAX);
    let reply = tokio::select! {
        biased;
        reply = recall(store, run, through, arguments, bytes_max) => reply,
        () = tokio::time::sleep(Duration::from_millis(call.timeout_ms)) => {
            Reply::Refused(recall::too_slow(call.timeout_ms))
        }
        () = cancel.cancelled() => {
            Reply::Lost { reason: format!("`{}` was told to stop", call.tool) }
        }
    };
    let ms = elapsed_ms(begun);
    Brought::Input(Input::CallReplied { call: call.call, attempt: call.attempt, reply, ms })
}

fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
