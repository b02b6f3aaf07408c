//! A tool that does not say what it does to the world.

/// Sends an e-mail.
#[prusik::tool(timeout_ms = 500)]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
