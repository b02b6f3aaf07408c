//! An enum that does not say which of its variants may be tried again.

#[derive(Debug)]
pub enum SendError {
    Closed,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed")
    }
}

/// Sends an e-mail.
#[prusik::tool(effect = "write")]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, SendError> {
    Err(SendError::Closed)
}
