//! The rules by which providers cache prompts, as they are published, over the bodies of requests.
//! Nothing here knows our own types: it is what our requests are measured by.
//!
//! **A token** is four bytes, here, so that figures can be worked out by hand: see
//! [`anthropic::block_tokens`] and [`openai::prompt_tokens`]. Real vocabularies differ by less than
//! what these rules are about.
//!
//! Requests come one after the other: an entry is there for the next request. The real services
//! have it once the answer has begun.

pub mod anthropic;
pub mod openai;

/// What became of the tokens that went in. The three counts add up to the whole prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub read: u64,
    pub written: u64,
    /// Neither read nor written.
    pub fresh: u64,
    /// The part of `written` that is kept for an hour.
    pub written_for_an_hour: u64,
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.read + self.written + self.fresh
    }
}
