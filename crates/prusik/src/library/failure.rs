//! What a Rust tool's error enum says: each variant is a kind of failure.

use std::fmt::Display;

use prusik_core::outcome::kind;

/// The ways in which a tool may fail: an enum, each of whose variants is a kind.
///
/// It is derived; the message is the enum's `Display`, which `thiserror` derives:
///
/// ```
/// #[derive(Debug, thiserror::Error, prusik::Failure)]
/// enum BankError {
///     /// Nothing was booked. Ask for a smaller amount.
///     #[error("the account has {missing_cents} cents too few")]
///     InsufficientFunds { missing_cents: u64 },
///     /// Nothing was booked.
///     #[failure(retry)]
///     #[error("the bank is closed")]
///     Closed,
///     #[failure(uncertain)]
///     #[error("the connection broke while the bank was booking")]
///     Broken,
/// }
///
/// let kinds: Vec<&str> =
///     <BankError as prusik::Failure>::KINDS.iter().map(|kind| kind.kind).collect();
/// assert_eq!(kinds, ["insufficient_funds", "closed"]);
/// ```
///
/// A kind that is declared did not land: the call had no effect. For what may have landed all the same
/// there is `#[failure(uncertain)]`; what becomes of such a call is decided by its effect class, as
/// after a crash.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how a tool may fail",
    label = "this is to be an enum with `#[derive(prusik::Failure)]`",
    note = "write `#[derive(Debug, thiserror::Error, prusik::Failure)] enum ToolError {{ … }}` with a \
            variant for each way to fail, and return `Result<_, ToolError>`",
    note = "a tool that cannot fail returns `Result<_, std::convert::Infallible>`"
)]
pub trait Failure: Display + Send + 'static {
    /// The kinds that are declared.
    const KINDS: &'static [FailureKind];

    /// Returns what is reported of this failure.
    fn report(&self) -> Reported;
}

/// A kind of failure, as the contract has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureKind {
    /// The variant's name in `snake_case`.
    pub kind: &'static str,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// What the model is told to make of it.
    pub tell: &'static str,
}

/// What is reported of one failure, beside its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The variant's name in `snake_case`.
    pub kind: &'static str,
    /// Whether the call may have taken effect all the same.
    pub may_have_landed: bool,
    /// When the same call may succeed, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

/// A tool that cannot fail.
impl Failure for std::convert::Infallible {
    const KINDS: &'static [FailureKind] = &[];

    fn report(&self) -> Reported {
        match *self {}
    }
}

/// Returns whether only the runtime reports failures of this kind.
pub const fn is_reserved(name: &str) -> bool {
    let mut index = 0;
    while index < kind::RESERVED.len() {
        if is_same(kind::RESERVED[index], name) {
            return true;
        }
        index += 1;
    }
    false
}

/// Compares byte by byte: `==` is not for constants.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}
