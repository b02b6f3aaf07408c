//! Keys that are said twice: one of the two would silently not count.

/// Sends an e-mail.
#[prusik::tool(
    effect = "write",
    effect = "read",
    undo(tool = "cancel", tool = "cancel_all"),
    retry(attempts_max = 2, attempts_max = 3),
    timeout_ms = 5,
    timeout_ms = 5
)]
pub async fn send(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}

/// Sends an e-mail.
#[prusik::tool(effect = "write", undo(tool = "cancel", arguments(id = "=args.id", id = 1)))]
pub async fn send_again(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}

/// Why it was not sent.
#[derive(Debug, prusik::Failure)]
pub enum SendError {
    /// Nothing was sent.
    #[failure(kind = "closed", kind = "open")]
    Closed,
    /// Nothing was sent.
    #[failure(kind = "full")]
    #[failure(kind = "empty")]
    Full,
    /// Nothing was sent.
    Late {
        #[failure(retry_after_ms)]
        soon_ms: u32,
        #[failure(retry_after_ms)]
        late_ms: u32,
    },
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not sent")
    }
}
