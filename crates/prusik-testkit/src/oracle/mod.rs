//! A second opinion on stores: the contract in its plainest form, and random operations that are
//! done to it and to a real store, with every answer compared.

mod ops;
mod plain;

pub use ops::{Kind, Mismatch, compare};
pub use plain::{Owner, Plain};
