//! The organisation's policy, written in Cedar, behind the seam that the core has for one.
//!
//! A policy can only narrow. What nobody forbids is allowed as far as the policy is concerned, and is
//! still held to the project's rules and to containment; so there is no `permit`. A `forbid` denies,
//! or with `@ask` has a person asked. What cannot be evaluated denies.
//!
//! [`Policies::parse`] reads files, [`Policies::check`] compares them with the tools that there are
//! ([`Vocabulary`]), [`Policies::enforced`] makes of them what the core asks.

mod check;
mod express;
mod finding;
mod parse;
mod shape;
mod split;
#[cfg(test)]
mod tests;
mod verdict;
mod vocabulary;

pub use finding::{Finding, Severity, nearest};
pub use parse::{Policies, PolicyFile};
pub use verdict::Enforced;
pub use vocabulary::{Note, SERVERLESS, Vocabulary};

/// Most policies that are read; each is evaluated for each call.
pub const POLICIES_MAX: usize = 10_000;
/// Longest text that is put into a policy's terms, in bytes. Beyond it a call is denied if a policy
/// looks at the argument.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Most values of one call's arguments that are put into a policy's terms.
pub const VALUES_MAX: usize = 20_000;
