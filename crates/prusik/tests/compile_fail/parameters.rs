//! Parameters that no model can fill.

/// What a tool works on.
pub struct Mailbox;

/// Sends an e-mail.
#[prusik::tool(effect = "write")]
pub async fn send(
    #[state] mailbox: &mut Mailbox,
    /// To whom.
    to: &str,
    /// What, and how often.
    (text, times): (String, u32),
) -> Result<String, std::convert::Infallible> {
    Ok(String::new())
}

/// Sends anything.
#[prusik::tool(effect = "write")]
pub async fn send_any<T: Send>(
    /// What.
    what: T,
) -> Result<String, std::convert::Infallible> {
    Ok(String::new())
}
