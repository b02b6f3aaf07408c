//! What a read does not have.

/// Looks an e-mail up.
#[prusik::tool(
    effect = "read",
    undo(tool = "forget", arguments(id = "=args.id")),
    probe(tool = "find", arguments(id = "=args.id"), landed = "true")
)]
pub async fn look(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}
