//! What this machine has to confine commands with, found out by trying it.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use super::bwrap;
use super::grounds::Grounds;
use super::spec::{CAGE, Layer, SUPERVISE, Spec};

/// Names the helper for programs that are not `prusik`.
pub const HELPER: &str = "PRUSIK_HELPER";
/// Names bubblewrap where it is not to be looked for on the `PATH`.
pub const BUBBLEWRAP: &str = "PRUSIK_BWRAP";
/// The helper's name.
const PRUSIK: &str = "prusik";
/// What the trial writes where it may, and must neither read nor write where it may not.
const TRIAL: &str = "echo x > tried && ! cat ../outside/secret && ! echo x > ../outside/tried";

/// What is in force when a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Namespaces by bubblewrap; Landlock and seccomp inside them.
    Namespaces,
    /// Landlock and seccomp alone; why there are no namespaces.
    Floor { why: String },
    /// Nothing; why. A sandboxed tool refuses to run.
    None { why: String },
}

impl Protection {
    /// Returns what people are told.
    pub fn words(&self) -> String {
        match self {
            Self::Namespaces => {
                "confined by namespaces (bubblewrap), Landlock and seccomp".to_owned()
            }
            Self::Floor { why } => {
                format!("confined by Landlock and seccomp alone, without namespaces: {why}")
            }
            Self::None { why } => format!("cannot be confined on this machine: {why}"),
        }
    }

    /// Returns a word for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Floor { .. } => "floor",
            Self::None { .. } => "none",
        }
    }

    pub(super) fn layer(&self) -> Option<Layer> {
        match self {
            Self::Namespaces => Some(Layer::Namespaces),
            Self::Floor { .. } => Some(Layer::Floor),
            Self::None { .. } => None,
        }
    }
}

/// What there is to confine with. Cheap to clone; what was found out is shared.
#[derive(Debug, Clone)]
pub struct Confinement(Arc<Means>);

#[derive(Debug)]
struct Means {
    helper: Option<PathBuf>,
    bwrap: Option<PathBuf>,
    protection: OnceLock<Protection>,
}

/// Set by the program that is the helper itself.
static OWN: OnceLock<PathBuf> = OnceLock::new();

/// Says that this program understands `cage` as its first argument and hands what follows to
/// [`super::cage`].
pub fn this_program_is_the_helper() {
    if let Ok(own) = std::env::current_exe() {
        OWN.get_or_init(|| own);
    }
}

impl Confinement {
    /// Returns what this machine has. Looked for once in a process.
    pub fn of_this_machine() -> Self {
        static HERE: OnceLock<Confinement> = OnceLock::new();
        let look = || {
            let path = std::env::var_os("PATH");
            let bwrap = std::env::var_os(BUBBLEWRAP).map(PathBuf::from);
            let bwrap = bwrap.or_else(|| bwrap::on_path("bwrap", path.as_deref()));
            Self::with(helper(path.as_deref()), bwrap)
        };
        HERE.get_or_init(look).clone()
    }

    /// Takes these programs and no others: the helper, and bubblewrap.
    pub fn with(helper: Option<PathBuf>, bwrap: Option<PathBuf>) -> Self {
        Self(Arc::new(Means { helper, bwrap, protection: OnceLock::new() }))
    }

    /// Returns what can be had. The first call tries it, which takes a moment.
    pub fn protection(&self) -> &Protection {
        self.0.protection.get_or_init(|| self.found())
    }

    fn found(&self) -> Protection {
        if !cfg!(target_os = "linux") {
            let why = "there is a sandbox on Linux only".to_owned();
            return Protection::None { why };
        }
        let Some(helper) = &self.0.helper else {
            let why = format!(
                "the program `prusik`, which confines, is neither beside this program nor on the PATH; \
                 install it, or name it in {HELPER}"
            );
            return Protection::None { why };
        };
        let no_namespaces = match &self.0.bwrap {
            None => "bubblewrap is not installed (package `bubblewrap`)".to_owned(),
            Some(bwrap) => match tried(Layer::Namespaces, helper, Some(bwrap)) {
                Ok(()) => return Protection::Namespaces,
                Err(problem) => format!("bubblewrap does not work here: {problem}"),
            },
        };
        match tried(Layer::Floor, helper, None) {
            Ok(()) => Protection::Floor { why: no_namespaces },
            Err(problem) => Protection::None { why: format!("{no_namespaces}; {problem}") },
        }
    }

    /// Returns the program to start and its arguments, the command's behind them.
    pub(super) fn line(&self, spec: &Spec) -> Option<(PathBuf, Vec<OsString>)> {
        let bwrap = match spec.layer {
            Layer::Namespaces => self.0.bwrap.as_deref(),
            Layer::Floor => None,
        };
        Some(line(spec, self.0.helper.as_deref()?, bwrap))
    }
}

fn line(spec: &Spec, helper: &Path, bwrap: Option<&Path>) -> (PathBuf, Vec<OsString>) {
    let text = serde_json::to_string(spec).expect("a spec has no map with other keys than text");
    let own = [helper.into(), CAGE.into(), SUPERVISE.into(), text.into()];
    match bwrap {
        Some(bwrap) => {
            let mut arguments = bwrap::arguments(spec, helper);
            arguments.extend(own);
            (bwrap.to_owned(), arguments)
        }
        None => (helper.to_owned(), own.into_iter().skip(1).collect()),
    }
}

fn helper(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let named = std::env::var_os(HELPER).map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(PRUSIK));
    let found = named
        .or_else(|| OWN.get().cloned())
        .or_else(|| beside().filter(|program| bwrap::is_program(program)))
        .or_else(|| bwrap::on_path(PRUSIK, path))?;
    found.canonicalize().ok().filter(|program| bwrap::is_program(program))
}

/// Runs a command in the sandbox that tries to get out.
fn tried(layer: Layer, helper: &Path, bwrap: Option<&Path>) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("it cannot be tried: {error}");
    let folder = tempfile::Builder::new().prefix("prusik-try-").tempdir().map_err(problem)?;
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    fs::create_dir(&inside).map_err(problem)?;
    fs::create_dir(&outside).map_err(problem)?;
    fs::write(outside.join("secret"), "secret").map_err(problem)?;
    let writable = vec![inside.clone()];
    let grounds = Grounds { folder: inside.clone(), writable, ..Grounds::default() };
    let found = grounds.find().map_err(|error| error.to_string())?;
    let spec = Spec::of(layer, found);
    let (program, arguments) = line(&spec, helper, bwrap);
    let mut child = Command::new(program)
        .args(arguments)
        .args(["sh", "-c", TRIAL])
        .current_dir(&inside)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(problem)?;
    if let Some(input) = &mut child.stdin {
        // That it died before, its exit status tells.
        let _ = input.write_all(b"try\n");
    }
    // The input stays open until it has ended: its end would be taken for ours.
    let input = child.stdin.take();
    let output = child.wait_with_output().map_err(problem)?;
    drop(input);
    let has_leaked = outside.join("tried").exists();
    if output.status.success() && !has_leaked && inside.join("tried").exists() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(if has_leaked { "it does not keep anything in".to_owned() } else { last.to_owned() })
}
