//! Findings for other programs and for browsers.

mod html;
mod sarif;

pub use html::html;
pub use sarif::{Checked, sarif};
