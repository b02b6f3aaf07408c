//! A bank in memory, with tools of every kind.

use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Agent, AgentBuilder, ArgumentKind, Call, Model};

/// What was done, in order.
#[derive(Default)]
pub struct Bank {
    pub lines: Mutex<Vec<String>>,
}

impl Bank {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn write(&self, line: String) -> u64 {
        let mut lines = self.lines.lock().unwrap();
        lines.push(line);
        lines.len() as u64
    }

    pub fn read(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    /// The bank's number of the payment.
    pub id: u64,
}

/// What a payment is for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Invoice,
    Salary,
}

#[derive(Debug, thiserror::Error, crate::Failure)]
pub enum BankError {
    /// Nothing was booked. Ask for a smaller amount.
    #[error("the account has {missing_cents} cents too few")]
    InsufficientFunds { missing_cents: u64 },
    /// Nothing was booked.
    #[failure(retry, kind = "closed")]
    #[error("the bank is closed")]
    BankClosed {
        #[failure(retry_after_ms)]
        opens_in_ms: u32,
    },
    #[failure(uncertain)]
    #[error("the line broke: {0}")]
    Broken(&'static str),
}

/// Pays somebody. Above 900 cents the account has too little, 13 breaks the line, 14 panics.
#[crate::tool(
    effect = "write",
    probe(
        tool = "find",
        arguments(to = "=args.to"),
        landed = "result.id != null",
        result = "{'id': result.id}",
        wait_ms = 0
    ),
    undo(tool = "take_back", arguments(id = "=result.id", why = "undone")),
    record(
        kind = "fact",
        text = "args.to + ' was paid, number ' + string(result.id)",
        when = "args.cents > 500"
    ),
    timeout_ms = 5_000,
    retry(attempts_max = 2, backoff_ms = 1)
)]
pub async fn pay(
    #[state] bank: &Bank,
    /// The name of the payee.
    to: String,
    /// The amount in euro cents.
    #[schemars(range(min = 1))]
    cents: u64,
    /// What the payment is for; an invoice if nothing is said.
    purpose: Option<Purpose>,
) -> Result<Payment, BankError> {
    if cents > 900 {
        return Err(BankError::InsufficientFunds { missing_cents: cents - 900 });
    }
    if cents == 15 {
        return Err(BankError::BankClosed { opens_in_ms: 1 });
    }
    let purpose = purpose.unwrap_or(Purpose::Invoice);
    let id = bank.write(format!("pay {to} {cents} {purpose:?}"));
    match cents {
        13 => Err(BankError::Broken("the receiver hung up")),
        14 => panic!("fourteen"),
        _ => Ok(Payment { id }),
    }
}

/// What the bank knows of a payee.
#[derive(Serialize, JsonSchema)]
pub struct Found {
    /// The number of the payment, if there is one.
    pub id: Option<u64>,
}

/// Looks for a payment to somebody.
#[crate::tool(effect = "read")]
pub async fn find(
    #[state] bank: &Bank,
    /// The name of the payee.
    to: String,
) -> Result<Found, std::convert::Infallible> {
    let lines = bank.read();
    let at = lines.iter().position(|line| line.starts_with(&format!("pay {to} ")));
    Ok(Found { id: at.map(|at| at as u64 + 1) })
}

/// Takes a payment back.
#[crate::tool(effect = "idempotent", key(argument = "request"))]
pub async fn take_back(
    #[state] bank: Arc<Bank>,
    #[context] call: &Call<'_>,
    /// The bank's number of the payment.
    id: u64,
    /// Why it is taken back.
    why: String,
    /// The key under which the bank knows a repeated request.
    request: String,
) -> Result<(), BankError> {
    call.progress("asking the bank");
    let line = format!("take back {id} {why} {request}");
    if !bank.read().contains(&line) {
        bank.write(line);
    }
    Ok(())
}

/// Waits for an hour.
#[crate::tool(effect = "read", timeout_ms = 20, retry(attempts_max = 1))]
pub async fn wait() -> Result<String, std::convert::Infallible> {
    tokio::time::sleep(std::time::Duration::from_hours(1)).await;
    Ok("waited".to_owned())
}

/// Begins an agent with all of these tools, whose model answers from a script.
pub fn clerk(bank: &Arc<Bank>, script: &str) -> AgentBuilder {
    Agent::builder("clerk")
        .prompt("You pay.")
        .model(Model::script(script).unwrap())
        .tool(pay(Arc::clone(bank)).argument("purpose", ArgumentKind::Closed))
        .tool(wait())
        .hidden_tool(find(Arc::clone(bank)))
        .hidden_tool(take_back(Arc::clone(bank)))
}
