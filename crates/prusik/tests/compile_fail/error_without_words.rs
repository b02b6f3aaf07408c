//! An enum that nothing can be said of when it happens.

#[derive(Debug, prusik::Failure)]
pub enum SendError {
    /// Nothing was sent.
    Closed,
}
