//! The circuit breaker of a server: one that fails again and again is left alone for a while.
//!
//! Calls count in a row: an answer of any kind, a refusal too, shows that the server lives. After
//! `failures_max` calls without one the circuit is open, and calls are turned away at once, with the
//! time after which they are worth trying. Then one call is let through. If it is answered the
//! circuit is closed; if not, the wait begins again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prusik_core::outcome::Reply;
use tokio::time::Instant;

/// How long those wait who come while one call tries the server out.
const TRIAL_WAIT: Duration = Duration::from_millis(500);

/// When a server is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Calls in a row without an answer; 0 if the server is never left alone.
    pub failures_max: u32,
    pub cooldown_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures_max: 5, cooldown_ms: 10_000 }
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    last: String,
    open_until: Option<Instant>,
    trial: bool,
}

/// Leave to make one call. Dropped without a word, the call counts as unanswered.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    trial: bool,
    told: bool,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: Mutex::default() }
    }

    /// Lets a call through, or says why not and how long to wait.
    pub fn admit(&self) -> Result<Permit<'_>, (String, Duration)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let trial = match state.open_until {
            None => false,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() || state.trial {
                    let problem = format!(
                        "it is left alone after {} calls in a row without an answer; the last: {}",
                        state.failures, state.last
                    );
                    return Err((problem, left.max(TRIAL_WAIT)));
                }
                state.trial = true;
                true
            }
        };
        Ok(Permit { breaker: self, trial, told: false })
    }

    fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
    }

    fn unanswered(&self, reason: &str, trial: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        reason.clone_into(&mut state.last);
        if trial {
            state.trial = false;
        }
        let max = self.policy.failures_max;
        if max > 0 && state.failures >= max {
            let cooldown = Duration::from_millis(self.policy.cooldown_ms);
            state.open_until = Some(Instant::now() + cooldown);
        }
    }
}

impl Permit<'_> {
    /// Notes what came of the call.
    pub fn note(mut self, reply: &Reply) {
        self.told = true;
        match reply {
            Reply::Returned(_) | Reply::Unfit { .. } | Reply::Refused(_) => self.breaker.answered(),
            Reply::NotSent { reason, .. } | Reply::Lost { reason } => {
                self.breaker.unanswered(reason, self.trial);
            }
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.unanswered("nobody waited for the answer", self.trial);
        }
    }
}

#[cfg(test)]
mod tests {
    use prusik_core::outcome::{Refusal, ToolResult};

    use super::*;

    fn lost() -> Reply {
        Reply::Lost { reason: "gone".to_owned() }
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerPolicy { failures_max: 3, cooldown_ms: 1_000 })
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_tries_one_call() {
        let breaker = breaker();
        for _ in 0..2 {
            breaker.admit().unwrap().note(&lost());
        }
        // A refusal is an answer, so that the count begins anew.
        breaker.admit().unwrap().note(&Reply::Refused(Refusal::new("no")));
        for _ in 0..3 {
            breaker.admit().unwrap().note(&lost());
        }
        let (problem, wait) = breaker.admit().unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        assert!(
            problem.contains("after 3 calls in a row") && problem.contains("gone"),
            "{problem}"
        );

        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(breaker.admit().unwrap_err().1, Duration::from_millis(600));
        tokio::time::advance(Duration::from_millis(600)).await;
        let trial = breaker.admit().unwrap();
        assert_eq!(breaker.admit().unwrap_err().1, TRIAL_WAIT, "one at a time");
        trial.note(&lost());
        assert_eq!(breaker.admit().unwrap_err().1, Duration::from_secs(1), "and again");

        tokio::time::advance(Duration::from_secs(1)).await;
        breaker.admit().unwrap().note(&Reply::Returned(ToolResult::text("back")));
        let (first, second) = (breaker.admit(), breaker.admit());
        assert!(first.is_ok() && second.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_dropped_does_not_block_the_next() {
        let breaker = breaker();
        for _ in 0..3 {
            drop(breaker.admit().unwrap());
        }
        assert!(breaker.admit().is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(breaker.admit().unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(breaker.admit().is_ok());
    }

    #[test]
    fn zero_means_never() {
        let breaker = Breaker::new(BreakerPolicy { failures_max: 0, cooldown_ms: 1_000 });
        for _ in 0..100 {
            breaker.admit().unwrap().note(&lost());
        }
        assert!(breaker.admit().is_ok());
    }
}
