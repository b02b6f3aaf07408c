//! The sandbox: what shell commands try in it to get out, and what becomes of that. Every attempt is made in
//! both cages where the machine has both.

mod cage;
mod files;
mod kernel;
mod limits;
mod network;
mod project;
mod servers;
