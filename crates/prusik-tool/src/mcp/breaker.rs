//! The circuit breaker of a server: one that fails again and again is left alone for a while.
//!
//! Calls count in a row: an answer of any kind, a refusal too, shows that the server lives, and calls
//! that were under way side by side count once. After `failures_max` calls without an answer the
//! circuit is open, and calls are turned away at once, with the time after which they are worth
//! trying. Then one call is let through, and those who come meanwhile wait for what becomes of it. If
//! it is answered the circuit is closed; if not, the time begins again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prusik_core::outcome::Reply;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    circuit: Mutex<Circuit>,
    trial_over: Notify,
}

#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    last: String,
    failed_at: Option<Instant>,
    open_until: Option<Instant>,
    trial: bool,
}

/// Leave to make one call. Dropped without a word, the call counts as unanswered.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    began: Instant,
    trial: bool,
    told: bool,
}

/// Why a call is not let through.
#[derive(Debug)]
pub(super) enum TurnedAway {
    Open {
        problem: String,
        wait: Duration,
    },
    /// Nobody waits for the call any more.
    Cancelled,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, circuit: Mutex::default(), trial_over: Notify::new() }
    }

    /// Lets a call through, or says why not and how long to wait.
    pub async fn admit(&self, cancel: &CancellationToken) -> Result<Permit<'_>, TurnedAway> {
        loop {
            // Listened to before the look, so that an end between the two is heard.
            let mut over = std::pin::pin!(self.trial_over.notified());
            over.as_mut().enable();
            if let Some(admitted) = self.look() {
                return admitted;
            }
            tokio::select! {
                () = over => {}
                () = cancel.cancelled() => return Err(TurnedAway::Cancelled),
            }
        }
    }

    /// Decides about a call; none while another one tries the server out.
    fn look(&self) -> Option<Result<Permit<'_>, TurnedAway>> {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let trial = match circuit.open_until {
            None => false,
            Some(_) if circuit.trial => return None,
            Some(until) if until > now => {
                let problem = format!(
                    "it is left alone after {} calls in a row without an answer; the last: {}",
                    circuit.failures, circuit.last
                );
                return Some(Err(TurnedAway::Open { problem, wait: until - now }));
            }
            Some(_) => {
                circuit.trial = true;
                true
            }
        };
        Some(Ok(Permit { breaker: self, began: now, trial, told: false }))
    }

    fn answered(&self) {
        *self.circuit.lock().unwrap_or_else(PoisonError::into_inner) = Circuit::default();
        self.trial_over.notify_waiters();
    }

    fn unanswered(&self, reason: &str, began: Instant, trial: bool) {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone_into(&mut circuit.last);
        // One run that is cancelled with five calls under way says no more than one call does.
        if trial || circuit.failed_at.is_none_or(|failed_at| began >= failed_at) {
            circuit.failures = circuit.failures.saturating_add(1);
            circuit.failed_at = Some(Instant::now());
        }
        circuit.trial &= !trial;
        let max = self.policy.failures_max;
        if max > 0 && circuit.failures >= max && (trial || circuit.open_until.is_none()) {
            let cooldown = Duration::from_millis(self.policy.cooldown_ms);
            circuit.open_until = Some(Instant::now() + cooldown);
        }
        drop(circuit);
        if trial {
            self.trial_over.notify_waiters();
        }
    }
}

impl Permit<'_> {
    /// The server was heard.
    pub fn answered(mut self) {
        self.told = true;
        self.breaker.answered();
    }

    /// Notes what came of the call.
    pub fn note(mut self, reply: &Reply) {
        match reply {
            Reply::Returned(_) | Reply::Unfit { .. } | Reply::Refused(_) => self.answered(),
            Reply::NotSent { reason, .. } | Reply::Lost { reason } => {
                self.told = true;
                self.breaker.unanswered(reason, self.began, self.trial);
            }
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.unanswered("nobody waited for the answer", self.began, self.trial);
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

    async fn admitted(breaker: &Breaker) -> Permit<'_> {
        breaker.admit(&CancellationToken::new()).await.unwrap()
    }

    async fn turned_away(breaker: &Breaker) -> (String, Duration) {
        match breaker.admit(&CancellationToken::new()).await {
            Err(TurnedAway::Open { problem, wait }) => (problem, wait),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_tries_one_call() {
        let breaker = breaker();
        for _ in 0..2 {
            admitted(&breaker).await.note(&lost());
        }
        // A refusal is an answer, so that the count begins anew.
        admitted(&breaker).await.note(&Reply::Refused(Refusal::new("no")));
        for _ in 0..3 {
            admitted(&breaker).await.note(&lost());
        }
        let (problem, wait) = turned_away(&breaker).await;
        assert_eq!(wait, Duration::from_secs(1));
        assert!(
            problem.contains("after 3 calls in a row") && problem.contains("gone"),
            "{problem}"
        );

        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(turned_away(&breaker).await.1, Duration::from_millis(600));
        tokio::time::advance(Duration::from_millis(600)).await;
        admitted(&breaker).await.note(&lost());
        assert_eq!(turned_away(&breaker).await.1, Duration::from_secs(1), "and again");

        tokio::time::advance(Duration::from_secs(1)).await;
        admitted(&breaker).await.note(&Reply::Returned(ToolResult::text("back")));
        let (_first, _second) = (admitted(&breaker).await, admitted(&breaker).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_during_a_trial_waits_for_what_becomes_of_it() {
        let breaker = breaker();
        for _ in 0..3 {
            admitted(&breaker).await.note(&lost());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let trial = admitted(&breaker).await;
        let cancel = CancellationToken::new();
        let waiting = async {
            let (given_up, good) = tokio::join!(breaker.admit(&cancel), admitted(&breaker));
            assert!(matches!(given_up, Err(TurnedAway::Cancelled)));
            good.note(&Reply::Returned(ToolResult::text("fine")));
        };
        let trying = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            cancel.cancel();
            tokio::time::sleep(Duration::from_secs(5)).await;
            trial.note(&Reply::Returned(ToolResult::text("back")));
        };
        tokio::join!(waiting, trying);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_side_by_side_count_once() {
        let breaker = breaker();
        let mut permits = Vec::new();
        for _ in 0..5 {
            permits.push(admitted(&breaker).await);
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        drop(permits);
        admitted(&breaker).await.note(&lost());
        admitted(&breaker).await.note(&lost());
        turned_away(&breaker).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_dropped_does_not_block_the_next() {
        let breaker = breaker();
        for _ in 0..3 {
            drop(admitted(&breaker).await);
        }
        turned_away(&breaker).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(admitted(&breaker).await);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(admitted(&breaker).await);
    }

    #[tokio::test]
    async fn zero_means_never() {
        let breaker = Breaker::new(BreakerPolicy { failures_max: 0, cooldown_ms: 1_000 });
        for _ in 0..100 {
            admitted(&breaker).await.note(&lost());
        }
        admitted(&breaker).await;
    }
}
