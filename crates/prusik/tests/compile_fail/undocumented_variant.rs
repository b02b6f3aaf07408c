//! A kind of failure of which the model would know its name alone.

#[derive(Debug, prusik::Failure)]
pub enum SendError {
    /// Nothing was sent.
    #[failure(retry)]
    Closed,
    Full,
    #[failure(retri)]
    Busy,
    #[failure(uncertain, retry)]
    Broken,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not sent")
    }
}
