//! Failures are the variants of an enum.

#[derive(Debug, prusik::Failure)]
pub struct SendError {
    message: String,
}
