//! A tool on a bad line, or one that says what it should not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::outcome::{Reply, ToolResult};
use prusik_tool::{CallAttempt, Tool, ToolInfo};

use super::{Family, Faults};

/// How late a late answer is at most, in milliseconds.
const LATE_MS: u64 = 40;
/// A result that no window holds, in bytes.
const HUGE_BYTES: usize = 2 * 1024 * 1024;

pub struct FaultyTool {
    inner: Arc<dyn Tool>,
    faults: Faults,
    /// Whether its contract calls it a read.
    read: bool,
    /// How often each call was made, by its arguments.
    made: Mutex<HashMap<String, u64>>,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call does not arrive, and it is known.
    NotSent,
    /// The call does not arrive, or is not looked at, and nobody knows.
    LostBefore,
    /// The call is made, and its answer is lost.
    LostAfter,
    /// The call arrives late.
    Late,
    /// The answer says nothing, too much, or nonsense.
    Empty,
    Huge,
    Garbage,
}

impl FaultyTool {
    pub fn over(inner: Arc<dyn Tool>, faults: Faults, read: bool) -> Arc<dyn Tool> {
        Arc::new(Self { inner, faults, read, made: Mutex::default() })
    }

    fn fault(&self, arguments: &str) -> Option<Fault> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let times = made.entry(arguments.to_owned()).or_default();
        *times += 1;
        let times = times.to_string();
        let what = ["tool", &self.inner.info().name, arguments, &times];
        if !self.faults.strikes(&what) {
            return None;
        }
        let transport = [Fault::NotSent, Fault::LostBefore, Fault::LostAfter, Fault::Late];
        // A write whose answer is changed has landed: what it said is not the model's to know.
        let content = [Fault::Empty, Fault::Huge, Fault::Garbage];
        let among: &[Fault] = match self.faults.family {
            Family::Content if self.read => &content,
            Family::Content | Family::Transport => &transport,
        };
        let drawn = self.faults.draw(&what, among.len() as u64);
        among.get(usize::try_from(drawn).unwrap_or(0)).copied()
    }
}

#[async_trait]
impl Tool for FaultyTool {
    fn info(&self) -> &ToolInfo {
        self.inner.info()
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        let reason = "a fault on demand".to_owned();
        let said = |text: String| Reply::Returned(ToolResult::text(text));
        match self.fault(&attempt.arguments.to_string()) {
            None => self.inner.call(attempt).await,
            Some(Fault::NotSent) => Reply::not_sent(reason),
            Some(Fault::LostBefore) => Reply::Lost { reason },
            Some(Fault::LostAfter) => match self.inner.call(attempt).await {
                reply @ Reply::NotSent { .. } => reply,
                Reply::Returned(_)
                | Reply::Unfit { .. }
                | Reply::Refused(_)
                | Reply::Lost { .. } => Reply::Lost { reason },
            },
            Some(Fault::Late) => {
                let late_ms = self.faults.draw(&["late"], LATE_MS);
                tokio::time::sleep(Duration::from_millis(late_ms)).await;
                self.inner.call(attempt).await
            }
            Some(Fault::Empty) => said(String::new()),
            Some(Fault::Huge) => said("x".repeat(HUGE_BYTES)),
            Some(Fault::Garbage) => said("\u{0}\u{202e}{\"half\": [1, ".to_owned()),
        }
    }
}
