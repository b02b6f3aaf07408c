//! A tool without a doc comment.

#[prusik::tool(effect = "write")]
pub async fn send(
    /// To whom.
    to: String,
) -> Result<String, std::convert::Infallible> {
    Ok(to)
}
