//! Reads a stream of server-sent events into an answer, whoever sends them.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use prusik_core::model::{Answer, ModelError, ModelErrorKind};
use sse_stream::Sse;

use crate::Delta;

/// How long to wait for what may follow a complete answer: the counts of tokens.
const TRAILER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the end of the stream after its last event. Reading to the end keeps the
/// connection for the next turn.
const END_TIMEOUT: Duration = Duration::from_millis(50);

/// Turns a provider's events into an answer. It does no I/O.
pub(crate) trait Decode: Send {
    /// Takes the data of one event.
    fn event(
        &mut self,
        data: &str,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, ModelError>;

    /// Returns the answer, or what is missing of it.
    fn finish(self) -> Result<Answer, ModelError>;

    /// Reads an answer that did not come as a stream.
    fn whole(
        self,
        body: &[u8],
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError>;
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More must come.
    Open,
    /// Everything needed is there; counts of tokens may follow.
    Complete,
    /// Nothing more is due.
    Done,
}

/// Reads `events` to their end.
pub(crate) async fn read_events<D: Decode>(
    events: impl Stream<Item = Result<Sse, sse_stream::Error>>,
    mut decoder: D,
    progress: &mut (dyn FnMut(Delta) + Send),
) -> Result<Answer, ModelError> {
    let mut events = pin!(events);
    let mut so_far = Progress::Open;
    loop {
        let next = match so_far {
            Progress::Open => events.next().await.transpose().map_err(stream_error)?,
            // What breaks once the answer is complete does not break the answer.
            Progress::Complete => {
                let next = tokio::time::timeout(TRAILER_TIMEOUT, events.next()).await;
                next.ok().flatten().and_then(Result::ok)
            }
            Progress::Done => {
                let rest = async { while let Some(Ok(_)) = events.next().await {} };
                let _ = tokio::time::timeout(END_TIMEOUT, rest).await;
                None
            }
        };
        match next {
            Some(Sse { data: Some(data), .. }) => so_far = decoder.event(&data, progress)?,
            Some(Sse { data: None, .. }) => {}
            None => return decoder.finish(),
        }
    }
}

fn stream_error(error: sse_stream::Error) -> ModelError {
    match error {
        sse_stream::Error::Body(cause) => match cause.downcast::<ModelError>() {
            Ok(error) => *error,
            Err(other) => ModelError::new(ModelErrorKind::StreamCut, other.to_string()),
        },
        other => ModelError::new(
            ModelErrorKind::BadResponse,
            format!("what came back is not a stream of events: {other}"),
        ),
    }
}

/// Returns the error of data that is not what the protocol says.
pub(crate) fn not_protocol(problem: impl std::fmt::Display) -> ModelError {
    let message = format!("what came back is not the protocol: {problem}");
    ModelError::new(ModelErrorKind::BadResponse, message)
}

/// Returns the error of a stream that ended too early; `missing` says what never came.
pub(crate) fn ended_early(missing: &str) -> ModelError {
    let message = format!("the stream ended before {missing}");
    ModelError::new(ModelErrorKind::StreamCut, message)
}
