//! Keys that do not exist, and values that are none.

/// Sends an e-mail.
#[prusik::tool(effect = "write", timeout = 5, retries(attempts_max = 2), timeout_ms = 0, colour = "red")]
pub async fn send(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}

/// Sends an e-mail.
#[prusik::tool(effect = "write", retry(attempts = 2), undo(tol = "cancel"), name = "a__b")]
pub async fn send_again(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}
