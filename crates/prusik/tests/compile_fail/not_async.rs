//! A function that is not async.

/// Sends an e-mail.
#[prusik::tool(effect = "write")]
pub fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
