//! Long work: thousands of turns in a small window, with facts that are needed at the end.

mod drive;
mod kill;
mod survives;
