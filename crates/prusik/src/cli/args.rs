//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::complete;
use crate::scaffold::StartModel;

/// A durable, contained runtime for AI agents.
///
/// An agent can be killed at any instant and goes on without doing anything twice.
#[derive(Debug, Parser)]
#[command(name = "prusik", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Use the project in this folder instead of the current one
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// Print one JSON object per line instead of text
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 the run failed or a finding was made, 2 misuse, 3 parked, 4 store, server or network.
RUN is an id, its beginning or its end, or `last`.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a working project in a new folder
    New {
        /// The folder to make
        dir: PathBuf,
        /// What answers at first; the others stand beside it, commented out
        #[arg(long, value_enum, default_value_t)]
        model: StartModel,
    },
    /// Make a project of an existing folder; nothing is overwritten
    Init {
        /// The folder to adopt
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// What answers at first; the others stand beside it, commented out
        #[arg(long, value_enum, default_value_t)]
        model: StartModel,
    },
    /// Run an agent on a task
    Run(RunArgs),
    /// Go on with a run that is parked or was killed
    Resume(ResumeArgs),
    /// List runs, or delete old ones
    Runs(RunsArgs),
    /// Show what happened in a run, and what to do next
    Show {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
    },
    /// Print a run's journal
    Events(EventsArgs),
    /// Show what the model saw, or will see next, piece by piece
    Context(ContextArgs),
    /// End a run for good
    Cancel {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
        /// Why, for the journal
        #[arg(long, default_value = "cancelled at the command line")]
        reason: String,
    },
    /// Show the calls that wait for a person's word
    Inbox {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: Option<String>,
    },
    /// Let a call be made that `inbox` shows
    Approve(ApproveArgs),
    /// Refuse a call that `inbox` shows
    Deny(DenyArgs),
    /// Say whether a call in doubt took effect
    Settle(SettleArgs),
    /// Keep something in a run's ledger, whatever is summarized
    Note(NoteArgs),
    /// Make a run's context smaller before its model is asked again
    Compact {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
    },
    /// Undo what a parked or ended run did, newest first, as far as its contracts say how
    Compensate {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
        /// Show what would be undone and what would stay, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Begin a new run from a point of another
    Fork {
        #[arg(add = ArgValueCandidates::new(complete::runs))]
        run: String,
        /// The last record that the new run shares
        #[arg(long, value_name = "SEQ")]
        at: u64,
    },
    /// Review the tools: vague, overlapping, incomplete, hostile
    Lint(LintArgs),
    /// Answer, before anything runs, what can fail, be forgotten, be injected, and where people must confirm
    Check(CheckArgs),
    /// Write down what the servers say of their tools, for a review in a pull request
    Lock(LockArgs),
    /// Look at the organisation's policy, `policy/*.cedar`
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Run a project many times under faults and compare each run with an undisturbed one
    Chaos(ChaosArgs),
    /// Find out whether a tool server tells the truth about its effects
    Certify(CertifyArgs),
    /// Show the whole promise in a minute: no key, no network
    Demo(DemoArgs),
    /// Print the JSON Schema of a project's files, for editors
    Schema {
        #[arg(value_enum, default_value_t = SchemaKind::Project)]
        of: SchemaKind,
    },
    /// Print the line that turns on completion in a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// The demo's bank: an MCP server on standard input and output
    #[command(hide = true)]
    DemoBank {
        /// The file that payments are booked in
        #[arg(long)]
        ledger: PathBuf,
    },
    /// What a sandbox is entered through
    #[command(hide = true)]
    Cage {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Relays between `certify` and a server, and loses what it is told to lose
    #[command(hide = true)]
    CertifyRelay {
        /// Where faults are laid and told
        folder: PathBuf,
        /// The server's command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// [AGENT] TASK: the agent may be left out if there is only one; the task `-` is read from
    /// standard input
    #[arg(required = true, num_args = 1..=2, value_name = "[AGENT] TASK")]
    pub words: Vec<String>,
    /// Set a ceiling for this run: turns, tokens, usd, wall (30m) or `tool_calls`
    #[arg(long, value_name = "KIND=LIMIT")]
    pub budget: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// Raise a ceiling: turns, tokens, usd, wall (30m) or `tool_calls`
    #[arg(long, value_name = "KIND=LIMIT")]
    pub raise: Vec<String>,
    /// Say something to the model before it goes on
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// Only runs with this status
    #[arg(long, value_enum)]
    pub status: Option<RunStatus>,
    /// At most this many, newest first
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Delete runs that ended long ago, with what only they hold
    Prune {
        /// How long ago, such as 30d, 12h or 0s
        #[arg(long, value_name = "AGE")]
        older_than: String,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunStatus {
    Running,
    Parked,
    Completed,
    Failed,
    Cancelled,
    CompletedWithFailures,
    Compensated,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// Check every record against the chain of hashes
    #[arg(long)]
    pub verify: bool,
}

#[derive(Debug, Args)]
pub struct ContextArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// By this record: what it answered if it is an answer, otherwise what came next; the last one
    /// when it is left out
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
    /// Show what is other than it was by this record
    #[arg(long, value_name = "SEQ")]
    pub diff: Option<u64>,
    /// Print each piece's text, too
    #[arg(long, conflicts_with_all = ["json", "diff"])]
    pub text: bool,
    /// Print the request's body as it goes to the provider, byte for byte
    #[arg(long, conflicts_with_all = ["json", "text", "diff"])]
    pub wire: bool,
    /// Draw how the window filled into this file, as SVG
    #[arg(long, value_name = "FILE", conflicts_with_all = ["at", "diff", "text", "wire"])]
    pub svg: Option<PathBuf>,
    /// Write the picture and what each compaction did into this file, as a page
    #[arg(long, value_name = "FILE", conflicts_with_all = ["at", "diff", "text", "wire"])]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// The task, or the agent and the task
    #[arg(required = true, num_args = 1..=2, value_names = ["AGENT", "TASK"])]
    pub words: Vec<String>,
    /// How many runs
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub schedules: u64,
    /// The first run's seed; each further run has the next
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the folders of runs that did what they must not, to be looked at
    #[arg(long)]
    pub keep: bool,
    /// Run servers, too, whose calls have effects outside of a copy of the project's folder
    #[arg(long)]
    pub live_effects: bool,
}

#[derive(Debug, Args)]
pub struct CertifyArgs {
    /// Servers, or tools as `server__tool`; no other tool is called
    #[arg(required = true, value_name = "SERVER")]
    pub names: Vec<String>,
    /// Write the report as Markdown into this file, too
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Leave what changes at or below this path of the project out of account, such as a log
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// What the keys of calls are made from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Try servers, too, whose calls have effects outside of a copy of the project's folder
    #[arg(long)]
    pub live_effects: bool,
    /// Take claims for broken that could not be tested, so that the exit code is 1
    #[arg(long, value_name = "VERDICT")]
    pub deny: Option<DeniedVerdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeniedVerdict {
    Untested,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// The call, as `prusik inbox` names it, such as 3.1
    pub call: String,
    /// The question, as `prusik inbox` shows it: the answer holds for that and nothing else
    #[arg(long, value_name = "DIGEST")]
    pub question: String,
    /// Other arguments, as JSON
    #[arg(long, value_name = "JSON")]
    pub arguments: Option<String>,
    /// Ask no more about these values in this run
    #[arg(long)]
    pub endorse: bool,
}

#[derive(Debug, Args)]
pub struct DenyArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// The call, as `prusik inbox` names it, such as 3.1
    pub call: String,
    /// The question, as `prusik inbox` shows it
    #[arg(long, value_name = "DIGEST")]
    pub question: String,
    /// What the model is told
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct SettleArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// The call, as `prusik show` names it, such as 3.1
    pub call: String,
    #[command(flatten)]
    pub verdict: VerdictArgs,
    /// What the call returned, as JSON, if you know
    #[arg(long, value_name = "JSON", requires = "landed")]
    pub result: Option<String>,
}

#[derive(Debug, Args)]
pub struct NoteArgs {
    #[arg(add = ArgValueCandidates::new(complete::runs))]
    pub run: String,
    /// What must not be forgotten, in a sentence or two
    pub text: String,
    /// What it is
    #[arg(long, value_enum, default_value_t = NoteKind::Constraint)]
    pub kind: NoteKind,
    /// Why it was decided so
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where it is known from
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// The entry that no longer holds, as `prusik show` names it
    #[arg(long, value_name = "ENTRY")]
    pub supersedes: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoteKind {
    /// What is to be reached
    Goal,
    /// What must or must not be done on the way
    Constraint,
    /// What was decided
    Decision,
    /// What is known
    Fact,
    /// What is not known yet
    Question,
    /// Where something is
    Artefact,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct VerdictArgs {
    /// It took effect
    #[arg(long)]
    pub landed: bool,
    /// It did not take effect; it is made now
    #[arg(long)]
    pub not_landed: bool,
    /// Nobody can find out; the model is told so
    #[arg(long)]
    pub unknown: bool,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Refused by a provider, contradictory, or an attack
    Error,
    /// Misleads a model or a person sooner or later
    Warning,
    /// Worth knowing
    Note,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct LintArgs {
    /// Exit with 1 if a finding weighs this much or more
    #[arg(long, value_enum, default_value_t = Level::Error, value_name = "LEVEL")]
    pub deny: Level,
    /// Print SARIF 2.1.0 instead of text
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Take the tools from prusik.lock instead of asking the servers
    #[arg(long)]
    pub locked: bool,
    /// Write a contract skeleton for each undeclared tool into prusik.yaml, to be reviewed
    #[arg(long)]
    pub fix: bool,
    /// With --fix: only show what would be written
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
    /// Print the page of a rule, and do nothing else
    #[arg(long, value_name = "RULE", add = ArgValueCandidates::new(complete::rules),
          conflicts_with_all = ["deny", "sarif", "locked", "fix"])]
    pub explain: Option<String>,
}

#[derive(Debug, Args)]
pub struct LockArgs {
    /// Write nothing; exit with 1 if the lock would change
    #[arg(long)]
    pub check: bool,
    /// Write over a damaged lock, as if all tools were new
    #[arg(long, conflicts_with = "check")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The agent; all of them when it is left out
    pub agent: Option<String>,
    /// Exit with 1 if a finding weighs this much or more
    #[arg(long, value_enum, default_value_t = Level::Error, value_name = "LEVEL")]
    pub deny: Level,
    /// Print SARIF 2.1.0 instead of text
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Take the tools from prusik.lock instead of asking the servers
    #[arg(long)]
    pub locked: bool,
    /// Write the report as a page into this file, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Compare the policies with the tools in prusik.lock; no server is started
    Check,
    /// Print what policies can speak of, as a schema for Cedar's own editors and tools
    Schema,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to put the demo's project: a folder that is missing or empty
    #[arg(default_value = crate::demo::DEFAULT_DIR)]
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// `prusik.yaml`
    Project,
    /// The front matter of `agents/*.md`
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}
