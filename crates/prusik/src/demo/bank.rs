//! The demo's bank: an MCP server on standard input and output that books payments in a file.
//!
//! It is honest: two calls of `pay` are two payments, and what `find_payment` says is what stands in
//! the ledger.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ServerHandler, ServiceExt};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::ledger::{Amount, Ledger, LedgerError, Order, Payment};

/// What is in the account before the first payment.
const OPENING_BALANCE: Amount = Amount(2_500_000);
/// The only currency of the account.
const CURRENCY: &str = "EUR";
const REFERENCE_CHARS_MAX: usize = 35;
const RECIPIENT_CHARS_MAX: usize = 140;
/// How long a bank that was just started waits for the last one to end, and how often it looks.
const LEDGER_WAIT: Duration = Duration::from_secs(10);
const LEDGER_LOOK: Duration = Duration::from_millis(20);
/// The longest that the bank is slow on purpose.
const STALL: Duration = Duration::from_mins(1);

/// Failed to serve as a bank.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    #[error("the bank could not begin to speak MCP: {0}")]
    Start(String),
    #[error("the bank stopped in the middle: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Serves the bank on standard input and output until the input ends.
pub async fn serve(ledger: &Path) -> Result<(), BankError> {
    serve_on(ledger, tokio::io::stdin(), tokio::io::stdout()).await
}

async fn serve_on<R, W>(ledger: &Path, input: R, output: W) -> Result<(), BankError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (hung_up, client) = watch::channel(Client::There);
    let bank = Bank { path: ledger.to_owned(), tools: tools(), ledger: Mutex::new(None), client };
    let service = bank.serve((Watched { input, hung_up }, output)).await;
    let service = service.map_err(|error| BankError::Start(error.to_string()))?;
    service.waiting().await?;
    Ok(())
}

/// Returns the file that makes the bank slow: it holds the reference of a payment, which the bank
/// books and then does not answer.
pub fn stall_file(ledger: &Path) -> PathBuf {
    with_suffix(ledger, ".stall")
}

/// Returns what the stall file is renamed to once that payment is booked, so that a bank is slow
/// only once.
pub fn stalled_file(ledger: &Path) -> PathBuf {
    with_suffix(ledger, ".stalled")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether somebody still listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    There,
    Gone,
}

struct Bank {
    path: PathBuf,
    tools: Vec<Tool>,
    /// Held from the first call that needs it until the bank ends.
    ledger: Mutex<Option<Ledger>>,
    client: watch::Receiver<Client>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PayArguments {
    /// What the payment is for: the invoice's reference.
    #[schemars(length(min = 1, max = REFERENCE_CHARS_MAX))]
    reference: String,
    /// Who is paid.
    #[schemars(length(min = 1, max = RECIPIENT_CHARS_MAX))]
    recipient: String,
    /// The recipient's account, without spaces.
    #[schemars(regex(pattern = r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"))]
    iban: String,
    /// How much, with two decimals: 1260.50.
    amount: Amount,
    /// Always EUR.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    currency: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FindArguments {
    /// The reference that was paid with.
    #[schemars(length(min = 1, max = REFERENCE_CHARS_MAX))]
    reference: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelArguments {
    /// The bank's number of the payment, as `pay` returned it.
    payment_id: String,
    /// The reference that it was paid with.
    #[schemars(length(min = 1, max = REFERENCE_CHARS_MAX))]
    reference: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// Whether there is at least one.
    found: bool,
    /// All payments with the reference, oldest first.
    payments: Vec<Payment>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Cancelled {
    /// Whether there was such a payment; it is not booked any more in either case.
    was_booked: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Balance {
    balance: Amount,
    currency: &'static str,
    /// How many payments are booked.
    payments: usize,
}

/// A call that did not take place: a kind, which the contract may declare, and a message.
struct Refusal {
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        let kind = match &error {
            LedgerError::Busy { .. } => "ledger_busy",
            LedgerError::Io { .. }
            | LedgerError::TooLarge { .. }
            | LedgerError::Malformed { .. } => "ledger_broken",
        };
        Self::new(kind, error.to_string())
    }
}

impl Bank {
    async fn call(&self, name: &str, arguments: JsonObject) -> Option<Result<Value, Refusal>> {
        Some(match name {
            "pay" => self.pay(arguments).await.map(value),
            "cancel_payment" => self.cancel_payment(arguments).await.map(value),
            "find_payment" => self.find_payment(arguments).await.map(value),
            "balance" => self.balance(arguments).await.map(value),
            _ => return None,
        })
    }

    async fn pay(&self, arguments: JsonObject) -> Result<Payment, Refusal> {
        let order = checked(parse(arguments)?)?;
        let mut guard = self.ledger().await?;
        let ledger = guard.as_mut().expect("the ledger is held from here on");
        let left = left(&ledger.payments()?);
        if order.amount > left {
            let message = format!("{} {CURRENCY} are left, not {}", left, order.amount);
            return Err(Refusal::new("insufficient_funds", message));
        }
        let payment = ledger.book(order)?;
        self.stall_on_demand(&payment.reference).await;
        Ok(payment)
    }

    async fn cancel_payment(&self, arguments: JsonObject) -> Result<Cancelled, Refusal> {
        let CancelArguments { payment_id, reference } = parse(arguments)?;
        printable("reference", &reference, REFERENCE_CHARS_MAX)?;
        let mut guard = self.ledger().await?;
        let ledger = guard.as_mut().expect("the ledger is held from here on");
        Ok(Cancelled { was_booked: ledger.cancel(&payment_id, &reference)? })
    }

    async fn find_payment(&self, arguments: JsonObject) -> Result<Found, Refusal> {
        let FindArguments { reference } = parse(arguments)?;
        printable("reference", &reference, REFERENCE_CHARS_MAX)?;
        let mut payments = self.payments().await?;
        payments.retain(|payment| payment.reference == reference);
        Ok(Found { found: !payments.is_empty(), payments })
    }

    async fn balance(&self, arguments: JsonObject) -> Result<Balance, Refusal> {
        let NoArguments {} = parse(arguments)?;
        let payments = self.payments().await?;
        Ok(Balance { balance: left(&payments), currency: CURRENCY, payments: payments.len() })
    }

    async fn payments(&self) -> Result<Vec<Payment>, Refusal> {
        let mut guard = self.ledger().await?;
        Ok(guard.as_mut().expect("the ledger is held from here on").payments()?)
    }

    /// Takes hold of the ledger, which the bank of a run that was killed may still have for a moment.
    async fn ledger(&self) -> Result<MutexGuard<'_, Option<Ledger>>, Refusal> {
        let mut guard = self.ledger.lock().await;
        let give_up = tokio::time::Instant::now() + LEDGER_WAIT;
        while guard.is_none() {
            match Ledger::hold(&self.path) {
                Ok(ledger) => *guard = Some(ledger),
                Err(LedgerError::Busy { .. }) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(LEDGER_LOOK).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(guard)
    }

    /// Does not answer for a while, if the stall file asks for it: until the client is gone.
    async fn stall_on_demand(&self, reference: &str) {
        let file = stall_file(&self.path);
        let asked = std::fs::read_to_string(&file).is_ok_and(|text| text.trim() == reference);
        if asked && std::fs::rename(&file, stalled_file(&self.path)).is_ok() {
            let mut client = self.client.clone();
            let gone = client.wait_for(|client| *client == Client::Gone);
            let _ = tokio::time::timeout(STALL, gone).await;
        }
    }
}

fn left(payments: &[Payment]) -> Amount {
    let spent = payments.iter().fold(0u64, |sum, payment| sum.saturating_add(payment.amount.0));
    Amount(OPENING_BALANCE.0.saturating_sub(spent))
}

/// Checks what the schema says once more, since nobody has to read it, and what it cannot say.
fn checked(arguments: PayArguments) -> Result<Order, Refusal> {
    let PayArguments { reference, recipient, iban, amount, currency } = arguments;
    printable("reference", &reference, REFERENCE_CHARS_MAX)?;
    printable("recipient", &recipient, RECIPIENT_CHARS_MAX)?;
    if amount == Amount(0) {
        return Err(Refusal::new("invalid_arguments", "`amount` is more than 0.00"));
    }
    if !is_iban(&iban) {
        let message = "the check digits of `iban` are wrong, so there is no such account";
        return Err(Refusal::new("unknown_account", message));
    }
    if currency != CURRENCY {
        let message = format!("the account is in {CURRENCY}, and nothing else is paid from it");
        return Err(Refusal::new("wrong_currency", message));
    }
    Ok(Order { reference, recipient, iban, amount, currency })
}

fn printable(name: &str, text: &str, chars_max: usize) -> Result<(), Refusal> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > chars_max || text.chars().any(char::is_control) {
        let message = format!("`{name}` has 1 to {chars_max} printable characters");
        return Err(Refusal::new("invalid_arguments", message));
    }
    Ok(())
}

/// Returns whether the check digits of an IBAN fit: the remainder by 97 is 1 (ISO 13616).
fn is_iban(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    if !(15..=34).contains(&text.len()) || !text.bytes().all(fits) {
        return false;
    }
    let (head, tail) = text.split_at(4);
    let remainder = tail.chars().chain(head.chars()).fold(0, |remainder, char| {
        let value = char.to_digit(36).expect("digits and capital letters are digits of base 36");
        (if value < 10 { remainder * 10 + value } else { remainder * 100 + value }) % 97
    });
    remainder == 1
}

fn parse<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Refusal::new("invalid_arguments", error.to_string()))
}

fn value(result: impl Serialize) -> Value {
    serde_json::to_value(result).expect("results are text, numbers and booleans")
}

fn tools() -> Vec<Tool> {
    let tool = |name: &'static str, description: &'static str| {
        Tool::new(name, Cow::Borrowed(description), JsonObject::new())
    };
    vec![
        tool(
            "pay",
            "Books a payment from the company's account. Each call is a payment of its own: calling \
             twice pays twice. Returns the booked payment.",
        )
        .with_input_schema::<PayArguments>()
        .with_output_schema::<Payment>()
        .with_annotations(ToolAnnotations::new().read_only(false).idempotent(false)),
        tool(
            "cancel_payment",
            "Strikes a booked payment before it is carried out, as if it had never been booked. \
             Cancelling it again changes nothing.",
        )
        .with_input_schema::<CancelArguments>()
        .with_output_schema::<Cancelled>()
        .with_annotations(ToolAnnotations::new().read_only(false).idempotent(true)),
        tool("find_payment", "Returns the payments that were booked with a reference, if any.")
            .with_input_schema::<FindArguments>()
            .with_output_schema::<Found>()
            .with_annotations(ToolAnnotations::new().read_only(true)),
        tool("balance", "Returns what is left in the company's account.")
            .with_input_schema::<NoArguments>()
            .with_output_schema::<Balance>()
            .with_annotations(ToolAnnotations::new().read_only(true)),
    ]
}

impl ServerHandler for Bank {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("prusik-demo-bank", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult { tools: self.tools.clone(), ..ListToolsResult::default() })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match self.call(&request.name, arguments).await {
            Some(Ok(value)) => CallToolResult::structured(value),
            Some(Err(Refusal { kind, message })) => {
                CallToolResult::error(vec![ContentBlock::text(format!("{kind}: {message}"))])
            }
            None => {
                let message = format!("the bank has no tool {:?}", request.name);
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(result.into())
    }
}

/// The input, which tells when it has ended: the library itself waits for calls under way first.
struct Watched<R> {
    input: R,
    hung_up: watch::Sender<Client>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.input).poll_read(context, buffer);
        let ended = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.hung_up.send_replace(Client::Gone);
        }
        polled
    }
}

#[cfg(test)]
#[path = "bank_tests.rs"]
mod tests;
