//! Stands where a project expects its MCP server: connects standard input and output with a process that
//! the zygote forks.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    /// The zygote's socket
    socket: PathBuf,
    /// What `dojo_mcp.py` is called with
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Relays until the other side is done.
pub fn run_relay(args: &Args) -> Result<()> {
    let mut socket = UnixStream::connect(&args.socket)
        .with_context(|| format!("cannot connect to {}", args.socket.display()))?;
    writeln!(socket, "{}", json!(args.arguments))?;
    let mut to_server = socket.try_clone()?;
    // It ends with the process, at the latest: nobody waits for what is typed.
    std::thread::spawn(move || {
        // A side that has closed wants no more; the other loop sees its end.
        drop(io::copy(&mut io::stdin().lock(), &mut to_server));
        drop(to_server.shutdown(Shutdown::Write));
    });
    let mut out = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = io::Read::read(&mut socket, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read])?;
        out.flush()?;
    }
}
