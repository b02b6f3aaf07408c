//! An error of which nobody knows what it means.

/// Sends an e-mail.
#[prusik::tool(effect = "write")]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, String> {
    Ok(to)
}
