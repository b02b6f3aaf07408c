//! A call that may be repeated, and nobody says how the repeated one is known.

/// Sends an e-mail once.
#[prusik::tool(effect = "idempotent")]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
