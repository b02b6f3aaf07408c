//! The `prusik` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    prusik::cli::main(std::env::args_os())
}
