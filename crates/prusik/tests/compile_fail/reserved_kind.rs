//! A kind that only the runtime reports.

#[derive(Debug, prusik::Failure)]
pub enum SendError {
    /// Nobody knows.
    Lost,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost")
    }
}
