//! A tool that cannot say that it failed.

/// Counts the e-mails of a folder.
#[prusik::tool(effect = "read")]
pub async fn count(
    /// The name of the folder.
    folder: String,
) -> usize {
    folder.len()
}
