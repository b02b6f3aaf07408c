//! A clerk that pays invoices from a Rust program: tools with contracts, a model, a store.
//!
//! `cargo run --example payments` pays one. `-- FOLDER` keeps the bank and the run in that folder, so
//! that the program can be killed and started again.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::fs::TryLockError;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use prusik::{Agent, ArgumentKind, ArgumentTerm, Event, Filter, Model, OnFailure, Prusik, Returns};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bank that keeps each booking as a line of a file, as a real one keeps it behind an API.
struct Bank {
    ledger: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Payment {
    /// The bank's number of the payment.
    id: u64,
    /// The reference of the invoice.
    reference: String,
    /// The amount in euro cents.
    amount_cents: u64,
}

/// What the bank knows of a reference.
#[derive(Serialize, JsonSchema)]
struct Found {
    /// The payment, if there is one.
    payment: Option<Payment>,
}

#[derive(Debug, thiserror::Error, prusik::Failure)]
enum BankError {
    /// Nothing was booked. Say in your answer that the amount is above the limit.
    #[error("{amount_cents} cents are above the limit of a payment")]
    AboveLimit { amount_cents: u64 },
    /// Nothing was booked, and the same call may go through in a moment.
    #[failure(retry)]
    #[error("another program writes the ledger")]
    Busy,
    #[failure(uncertain)]
    #[error("the bank did not answer: {0}")]
    NoAnswer(#[from] std::io::Error),
}

/// Pays an invoice from the company's account. The money leaves at once.
#[prusik::tool(
    effect = "write",
    probe(
        tool = "find_payment",
        arguments(reference = "=args.reference"),
        landed = "result.payment != null",
        result = "result.payment",
        wait_ms = 0
    ),
    undo(tool = "cancel_payment", arguments(id = "=result.id"))
)]
async fn pay(
    #[state] bank: &Bank,
    /// The reference that the invoice asks for, such as `RE-2026-17`.
    #[schemars(length(min = 1, max = 35))]
    reference: String,
    /// The amount in euro cents.
    #[schemars(range(min = 1))]
    amount_cents: u64,
) -> Result<Payment, BankError> {
    if amount_cents > 500_000 {
        return Err(BankError::AboveLimit { amount_cents });
    }
    let id = bank.payments()?.len() as u64 + 1;
    let payment = Payment { id, reference, amount_cents };
    bank.book(&payment)?;
    Ok(payment)
}

/// Looks a payment up by the reference of its invoice.
#[prusik::tool(effect = "read")]
async fn find_payment(
    #[state] bank: &Bank,
    /// The reference of the invoice.
    #[schemars(length(min = 1, max = 35))]
    reference: String,
) -> Result<Found, BankError> {
    let payment = bank.payments()?.into_iter().find(|payment| payment.reference == reference);
    Ok(Found { payment })
}

/// Takes a payment back, once and for all, while it is still on its way.
#[prusik::tool(effect = "idempotent", key(call))]
async fn cancel_payment(
    #[state] bank: &Bank,
    /// The bank's number of the payment.
    id: u64,
) -> Result<(), BankError> {
    let kept: Vec<Payment> = bank.payments()?.into_iter().filter(|kept| kept.id != id).collect();
    std::fs::write(&bank.ledger, "")?;
    kept.iter().try_for_each(|payment| bank.book(payment))
}

impl Bank {
    fn payments(&self) -> std::io::Result<Vec<Payment>> {
        match std::fs::read_to_string(&self.ledger) {
            Ok(text) => Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn book(&self, payment: &Payment) -> Result<(), BankError> {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.ledger)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BankError::Busy),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let line = serde_json::to_string(payment).map_err(std::io::Error::from)?;
        Ok(writeln!(file, "{line}")?)
    }
}

/// What the clerk answers.
#[derive(Debug, Deserialize, JsonSchema)]
struct Paid {
    /// The bank's number of the payment.
    payment: u64,
}

/// Answers that a test or a demonstration needs no model for.
const SCRIPT: &str = r#"
turns:
  - call: [{ tool: find_payment, arguments: { reference: RE-17 } }]
  - call: [{ tool: pay, arguments: { reference: RE-17, amount_cents: 12900 } }]
  - say: '="{\"payment\": " + string(results[0].value.id) + "}"'
"#;

/// The clerk, with its tools at this bank.
fn clerk(bank: Arc<Bank>) -> Result<Agent, Box<dyn std::error::Error>> {
    let agent = Agent::builder("clerk")
        .prompt("You pay the invoices that you are given, each once.")
        .model(Model::script(SCRIPT)?)
        .tool(pay(bank.clone()).argument(
            "amount_cents",
            ArgumentTerm { max: Some(50_000.0), ..ArgumentKind::Money.into() },
        ))
        // Nobody from outside writes into this ledger.
        .tool(find_payment(bank.clone()).returns(Returns::Trusted))
        .hidden_tool(cancel_payment(bank))
        .output::<Paid>()
        .on_failure(OnFailure::Compensate);
    Ok(agent.build()?)
}

/// Prints what the tools did.
fn show(event: &Event) {
    if let Event::CallCompleted(completed) = event {
        println!("call {}: {}", completed.call, completed.outcome.word());
    }
}

/// Pays an invoice, or goes on where an earlier process was when it died.
async fn pay_invoice(folder: &Path) -> Result<Paid, Box<dyn std::error::Error>> {
    let bank = Arc::new(Bank { ledger: folder.join("ledger.jsonl") });
    let prusik = Prusik::open(folder.join("runs.db"))?.with(clerk(bank)?);
    let run = match prusik.runs(&Filter::default()).await?.first() {
        None => prusik.start("clerk", "Pay invoice RE-17, 129.00 EUR.").await?,
        Some(row) if row.ended => return Ok(prusik.show(&row.run).await?.output()?),
        Some(row) => prusik.resume(&row.run).await?,
    };
    println!("run {}", run.id());
    let done = run.watch_events(show).drive().await?;
    Ok(done.output::<Paid>()?)
}

fn main() -> ExitCode {
    let temporary = std::env::temp_dir().join(format!("prusik-payments-{}", std::process::id()));
    let folder = std::env::args_os().nth(1).map_or(temporary, PathBuf::from);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let paid = std::fs::create_dir_all(&folder)
        .map_err(Into::into)
        .and_then(|()| runtime.block_on(pay_invoice(&folder)));
    match paid {
        Ok(paid) => {
            println!("paid: payment {}", paid.payment);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
