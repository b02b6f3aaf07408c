//! A key for which there is no parameter, and one on what may not be repeated.

/// Sends an e-mail once.
#[prusik::tool(effect = "idempotent", key(argument = "request_id"))]
pub async fn send_once(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}

/// Sends an e-mail.
#[prusik::tool(effect = "write", key(call))]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
