//! An effect that does not exist.

/// Sends an e-mail.
#[prusik::tool(effect = "writes")]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
