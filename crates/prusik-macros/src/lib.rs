//! What makes a Rust function a tool: the attribute [`macro@tool`], and the derive for its failures.
//!
//! They are used by way of the crate `prusik`, which re-exports both and documents them with what
//! they lead to. Nothing here runs with an agent.

mod attribute;
mod failure;
mod function;
mod text;

use proc_macro::TokenStream;

/// Makes an async function a tool: its arguments, result and failures are its contract.
///
/// The function becomes a constructor of the tool. It takes what is marked `#[state]`, and returns a
/// `prusik::RustTool`.
///
/// - `effect = "…"`, which must be there: `read` changes nothing, `idempotent` may be repeated with its
///   key, `write` must not be repeated.
/// - `key(argument = "…")` or `key(call)`, for `idempotent`: the parameter that the runtime fills with
///   the key, or the same arguments are the same call.
/// - `probe(tool = "…", arguments(…), landed = "…", result = "…", wait_ms = …)`: the read that tells
///   whether a call whose answer was lost has landed.
/// - `undo(tool = "…", arguments(…))`: the call that reverses this one.
/// - `timeout_ms = …`, `result_bytes_max = …`: limits.
/// - `retry(attempts_max = …, backoff_ms = …, backoff_ms_max = …, deadline_ms = …)`: how often and how
///   soon a failed try is repeated, where that is safe.
/// - `empty = "error"`: a result that says nothing is a failure.
/// - `parallel`: calls may run beside others of the same turn; reads always may.
/// - `name = "…"`: the name that the model sees, if not the function's.
///
/// Each parameter has a doc comment, and may have attributes of `serde` and `schemars`; one of type
/// `Option<…>` may be left out by the model. `#[state]` marks what the tool works on, as `&T` (the
/// constructor takes a `T` or an `Arc<T>`) or as a `T` that is cloned for each call; `#[context]`
/// marks a `&prusik::Call<'_>`, which tells of the call itself.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(attribute.into(), &item.into()).into()
}

/// Makes an enum the failures of a tool: each variant is a kind, named like it in `snake_case`.
///
/// The enum implements `Display`: that is the message. A variant's doc comment is what the model is
/// told about the kind. `#[failure(…)]` on a variant takes
///
/// | key | what it says |
/// |---|---|
/// | `retry` | the same call may succeed later |
/// | `tell = "…"` | what the model is told instead of the doc comment |
/// | `kind = "…"` | the kind's name, if not the variant's |
/// | `uncertain` | the call may have landed all the same: what becomes of it is decided as after a crash |
///
/// and on a field of whole milliseconds `retry_after_ms`: when the same call may succeed.
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(item: TokenStream) -> TokenStream {
    failure::expand(item.into()).into()
}
