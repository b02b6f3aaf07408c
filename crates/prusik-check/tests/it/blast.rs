//! What is predicted of an agent's blast radius is what the run's own state machine lets through.

mod documented;
mod drive;
mod generate;
mod predicted;
