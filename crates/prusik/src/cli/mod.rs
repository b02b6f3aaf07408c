//! The command line: arguments in, the engine's work out, an exit code for the caller.

mod args;
mod commands;
mod complete;
mod exit;
mod jsonl;
pub(crate) mod live;
mod page;
pub(crate) mod text;
mod timeline;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use prusik_tool::sandbox;

pub use args::Cli;
pub use exit::{Exit, Stopped};
pub(crate) use timeline::park_reason;

use crate::cli::args::Command;

/// Runs the command that `arguments` name and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes.
            let exit = if error.use_stderr() { Exit::Misuse } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    if let Command::Cage { arguments } = &cli.command {
        // It becomes another program, and has no threads until then.
        return sandbox::cage(arguments);
    }
    sandbox::this_program_is_the_helper();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            live::complain(&format!("error: no threads could be started: {error}"));
            return Exit::Unavailable.into();
        }
    };
    let exit = runtime.block_on(dispatch(cli)).unwrap_or_else(|stopped| {
        live::complain(&format!("error: {}", text::printable(&stopped.message)));
        stopped.exit
    });
    // A tool that does not stop must not keep us.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    exit.into()
}

async fn dispatch(cli: Cli) -> Result<Exit, Stopped> {
    let place = commands::Place { directory: cli.directory, json: cli.json };
    match cli.command {
        Command::New { dir, model } => commands::make::new(&dir, model),
        Command::Init { dir, model } => commands::make::init(&dir, model),
        Command::Run(args) => commands::run::run(&place, args).await,
        Command::Resume(args) => Box::pin(commands::run::resume(&place, args)).await,
        Command::Runs(args) => commands::look::runs(&place, args).await,
        Command::Show { run } => commands::look::show(&place, &run).await,
        Command::Events(args) => commands::look::events(&place, args).await,
        Command::Context(args) => commands::context::context(&place, args).await,
        Command::Cancel { run, reason } => commands::change::cancel(&place, &run, reason).await,
        Command::Inbox { run } => commands::inbox::inbox(&place, run.as_deref()).await,
        Command::Approve(args) => commands::inbox::approve(&place, args).await,
        Command::Deny(args) => commands::inbox::deny(&place, args).await,
        Command::Settle(args) => commands::change::settle(&place, args).await,
        Command::Note(args) => commands::change::note(&place, args).await,
        Command::Compact { run } => commands::change::compact(&place, &run).await,
        Command::Compensate { run, dry_run } => {
            commands::run::compensate(&place, &run, dry_run).await
        }
        Command::Fork { run, at } => commands::change::fork(&place, &run, at).await,
        Command::Lint(args) => commands::review::lint(&place, &args).await,
        Command::Check(args) => commands::review::check(&place, &args).await,
        Command::Lock(args) => commands::lock::lock(&place, &args).await,
        Command::Policy { command } => commands::policy::policy(&place, &command),
        Command::Chaos(args) => commands::chaos::chaos(&place, args).await,
        Command::Certify(args) => commands::certify::certify(&place, args).await,
        Command::Demo(args) => commands::demo::demo(args).await,
        Command::Schema { of } => Ok(commands::make::schema(of)),
        Command::Completions { shell } => Ok(commands::make::completions(shell)),
        Command::DemoBank { ledger } => commands::demo::bank(&ledger).await,
        Command::Cage { .. } => unreachable!("it has been entered before there were threads"),
        Command::CertifyRelay { folder, command } => {
            commands::certify::relay(&folder, &command).await
        }
    }
}

/// Logs go to standard error, and only when `PRUSIK_LOG` asks for them.
fn start_log() {
    let Ok(filter) = std::env::var("PRUSIK_LOG") else { return };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
