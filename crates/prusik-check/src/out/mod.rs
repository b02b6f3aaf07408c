//! Findings for other programs and for browsers.

mod html;
mod picture;
mod sarif;

pub use html::{escaped, html, page};
pub use sarif::{Checked, sarif};
