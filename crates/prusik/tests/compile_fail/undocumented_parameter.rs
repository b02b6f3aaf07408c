//! A parameter of which the model would know its name alone.

/// Sends an e-mail.
#[prusik::tool(effect = "write")]
pub async fn send(
    /// To whom.
    to: String,
    text: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to + &text)
}
