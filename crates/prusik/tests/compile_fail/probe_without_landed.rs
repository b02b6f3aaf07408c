//! A probe whose result nobody reads, with an argument that the call does not have.

/// Sends an e-mail.
#[prusik::tool(effect = "write", probe(tool = "find", arguments(id = "=args.number")))]
pub async fn send(
    /// The number of the e-mail.
    id: u64,
) -> Result<u64, std::convert::Infallible> {
    Ok(id)
}
