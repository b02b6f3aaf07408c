//! A tool on a bad line, or one that says what it should not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::contract::EffectClass;
use prusik_core::outcome::{Reply, ToolResult};
use prusik_tool::{CallAttempt, Children, Tool, ToolInfo};

use super::{Family, Faults};

/// How late a late answer is at most, in milliseconds.
const LATE_MS: u64 = 40;
/// How long a call hangs at most, in milliseconds, if its own time limit is not over before.
const HANG_MS: u64 = 1_000;
/// A result that no window holds, in bytes.
const HUGE_BYTES: usize = 2 * 1024 * 1024;

pub struct FaultyTool {
    inner: Arc<dyn Tool>,
    faults: Faults,
    effect: EffectClass,
    /// The processes of the servers, to be killed.
    children: Option<Children>,
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
    /// The call is made twice, as a line that repeats itself would; not for writes.
    Twice,
    /// The call does not arrive, and no answer comes until nobody waits any more.
    Hang,
    /// The servers are killed while the call is under way.
    Crash,
    /// The answer says nothing, too much, or nonsense.
    Empty,
    Huge,
    Garbage,
}

impl FaultyTool {
    pub fn over(
        inner: Arc<dyn Tool>,
        faults: Faults,
        effect: EffectClass,
        children: Option<Children>,
    ) -> Arc<dyn Tool> {
        Arc::new(Self { inner, faults, effect, children, made: Mutex::default() })
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
        let all = [
            Fault::NotSent,
            Fault::LostBefore,
            Fault::LostAfter,
            Fault::Late,
            Fault::Hang,
            Fault::Crash,
            Fault::Twice,
        ];
        let is_write = self.effect == EffectClass::Write;
        let transport: Vec<Fault> =
            all.into_iter().filter(|fault| !(is_write && *fault == Fault::Twice)).collect();
        // A write whose answer is changed has landed: what it said is not the model's to know.
        let content = [Fault::Empty, Fault::Huge, Fault::Garbage];
        let among: &[Fault] = match self.faults.family {
            Family::Content if self.effect == EffectClass::Read => &content,
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
            Some(Fault::Twice) => {
                let CallAttempt { arguments, meta_key, progress, .. } = attempt;
                let cancel = attempt.cancel.clone();
                self.inner.call(CallAttempt { arguments, meta_key, cancel, progress }).await;
                self.inner.call(attempt).await
            }
            Some(Fault::Hang) => {
                let hang = Duration::from_millis(HANG_MS);
                let _ = tokio::time::timeout(hang, attempt.cancel.cancelled()).await;
                Reply::Lost { reason }
            }
            Some(Fault::Crash) => {
                let in_ms = self.faults.draw(&["crash"], LATE_MS / 4);
                let children = self.children.as_ref();
                let killed = async {
                    tokio::time::sleep(Duration::from_millis(in_ms)).await;
                    // What has ended already need not be killed.
                    let _ = children.map(Children::kill);
                };
                tokio::join!(self.inner.call(attempt), killed).0
            }
            Some(Fault::Empty) => said(String::new()),
            Some(Fault::Huge) => said("x".repeat(HUGE_BYTES)),
            Some(Fault::Garbage) => said("\u{0}\u{202e}{\"half\": [1, ".to_owned()),
        }
    }
}
