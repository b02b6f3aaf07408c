//! `cargo xtask setup`: installs the servers and SDKs that the tests talk to into `.setup`.
//!
//! Everything is pinned by the files in `tests/setup`. A stamp beside each installed part holds
//! the digest of the files it was made from; where it still fits, nothing is done.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prusik_core::ids::Digest;

use crate::command::{command, output, run, run_with_retries, works};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Install the neighbours that `cargo xtask bench --peers` measures, too
    #[arg(long)]
    peers: bool,
    /// Install what `cargo xtask baselines` compares with, too
    #[arg(long)]
    baselines: bool,
    /// Install what `cargo xtask dojo` measures with, too
    #[arg(long)]
    dojo: bool,
}

impl Args {
    /// Asks for what the tests need and the baselines.
    pub fn with_baselines() -> Self {
        Self { baselines: true, ..Self::default() }
    }

    /// Asks for what the tests need and `AgentDojo`.
    pub fn with_dojo() -> Self {
        Self { dojo: true, ..Self::default() }
    }
}

/// One part of the set-up: a folder of `.setup` made from pinned files.
struct Part {
    /// The folder's name in `.setup`.
    name: &'static str,
    /// The files in `tests/setup` that say what to install.
    pins: &'static [&'static str],
    install: fn(pins: &Path, target: &Path) -> Result<()>,
}

const NODE: Part =
    Part { name: "node", pins: &["package.json", "package-lock.json"], install: install_node };
const PYTHON: Part = Part {
    name: "python",
    pins: &["requirements.txt"],
    install: |pins, target| install_python(&pins.join("requirements.txt"), target),
};
const PEERS: Part = Part {
    name: "peers",
    pins: &["peers.txt"],
    install: |pins, target| install_python(&pins.join("peers.txt"), target),
};
const BASELINES: Part = Part {
    name: "baselines",
    pins: &["baselines.txt"],
    install: |pins, target| install_python(&pins.join("baselines.txt"), target),
};
const DOJO: Part = Part {
    name: "dojo",
    pins: &["dojo.txt"],
    install: |pins, target| install_python(&pins.join("dojo.txt"), target),
};

/// Installs what is missing or outdated.
pub fn run_setup(args: &Args) -> Result<()> {
    let root = crate::root();
    let folder = root.join(".setup");
    let pins = root.join("tests/setup");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _held = lock(&folder.join("lock"))?;

    want_bubblewrap(&root);
    let mut parts = vec![NODE, PYTHON];
    if args.peers {
        parts.push(PEERS);
    }
    if args.baselines {
        parts.push(BASELINES);
    }
    if args.dojo {
        parts.push(DOJO);
    }
    let mut stale = Vec::new();
    for part in parts {
        if !part.is_current(&pins, &folder)? {
            stale.push(part);
        }
    }
    if stale.is_empty() {
        eprintln!("setup: everything is there");
        return Ok(());
    }
    require_programs(&root)?;
    for part in stale {
        part.renew(&pins, &folder)?;
    }
    eprintln!("setup: done");
    Ok(())
}

impl Part {
    fn stamp(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.stamp", self.name))
    }

    /// Returns what the stamp must hold: a digest of the files that pin this part.
    fn wanted(&self, pins: &Path) -> Result<String> {
        let mut contents = Vec::new();
        for name in self.pins {
            let path = pins.join(name);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            contents.push(bytes);
        }
        let parts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        Ok(Digest::of_parts(&parts).to_string())
    }

    fn is_current(&self, pins: &Path, folder: &Path) -> Result<bool> {
        let found = fs::read_to_string(self.stamp(folder)).unwrap_or_default();
        Ok(found == self.wanted(pins)? && folder.join(self.name).is_dir())
    }

    /// Installs the part afresh. The stamp goes first and comes back last, so that a set-up cut
    /// in the middle is never taken for a whole one.
    fn renew(&self, pins: &Path, folder: &Path) -> Result<()> {
        eprintln!("setup: installing {} into .setup/{}", self.pins.join(" and "), self.name);
        let stamp = self.stamp(folder);
        let target = folder.join(self.name);
        gone_is_fine(fs::remove_file(&stamp), &stamp)?;
        gone_is_fine(fs::remove_dir_all(&target), &target)?;
        fs::create_dir(&target).with_context(|| format!("cannot make {}", target.display()))?;
        (self.install)(pins, &target)
            .with_context(|| format!("cannot set up .setup/{}", self.name))?;
        fs::write(&stamp, self.wanted(pins)?)
            .with_context(|| format!("cannot write {}", stamp.display()))
    }
}

fn install_node(pins: &Path, target: &Path) -> Result<()> {
    for name in NODE.pins {
        fs::copy(pins.join(name), target.join(name))
            .with_context(|| format!("cannot copy {name} to {}", target.display()))?;
    }
    run_with_retries(|| {
        command("npm", target, &["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
    })
}

fn install_python(requirements: &Path, target: &Path) -> Result<()> {
    run(command("python3", target, &["-m", "venv", "."]))?;
    run_with_retries(|| {
        let mut pip = command(
            target.join("bin/python"),
            target,
            &["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "-r"],
        );
        pip.arg(requirements);
        pip
    })?;
    // `--no-deps` holds the pins to being the whole closure; this proves that they are.
    run(command(target.join("bin/python"), target, &["-m", "pip", "check"]))
}

/// Checks for the programs that the set-up itself needs; on Debian, as root, installs them.
fn require_programs(root: &Path) -> Result<()> {
    let missing = missing_programs();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.debian).collect();
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let is_root = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if is_root && works("apt-get", &["--version"]) {
        eprintln!("setup: installing {} with apt-get", packages.join(" "));
        run_with_retries(|| command("apt-get", root, &["update", "--quiet"]))?;
        let mut install = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
        install.extend(&packages);
        run_with_retries(|| command("apt-get", root, &install))?;
        if missing_programs().is_empty() {
            return Ok(());
        }
    }
    bail!(
        "the tests need {}, missing or too old here; install {} (on Debian and Ubuntu: \
         `apt-get install {}`) and run the command again",
        names.join(", "),
        if names.len() == 1 { "it" } else { "them" },
        packages.join(" "),
    )
}

/// Installs bubblewrap where that is simple: without it the sandbox's tests run on its floor alone.
fn want_bubblewrap(root: &Path) {
    if works("bwrap", &["--version"]) {
        return;
    }
    let is_root = output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    let install = ["install", "--quiet", "--yes", "--no-install-recommends", "bubblewrap"];
    let has_worked = is_root
        && works("apt-get", &["--version"])
        && run_with_retries(|| command("apt-get", root, &["update", "--quiet"])).is_ok()
        && run_with_retries(|| command("apt-get", root, &install)).is_ok();
    if !has_worked {
        eprintln!("setup: bubblewrap is not there; the sandbox is tested without namespaces");
    }
}

/// A program that must be there, and the Debian package that has it.
struct Need {
    name: &'static str,
    debian: &'static str,
    program: &'static str,
    /// Arguments with which the program succeeds if it is there and good enough.
    proof: &'static [&'static str],
}

const NEEDS: [Need; 4] = [
    Need {
        name: "node 20.15 or newer",
        debian: "nodejs",
        program: "node",
        proof: &[
            "-e",
            "const [a, b] = process.versions.node.split('.').map(Number); \
             process.exit(a > 20 || (a === 20 && b >= 15) ? 0 : 1)",
        ],
    },
    Need { name: "npm", debian: "npm", program: "npm", proof: &["--version"] },
    Need {
        name: "python3 (3.11 or newer) with venv",
        debian: "python3-venv",
        program: "python3",
        proof: &["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"],
    },
    Need { name: "git", debian: "git", program: "git", proof: &["--version"] },
];

fn missing_programs() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !works(need.program, need.proof)).collect()
}

/// Holds the set-up against another one that runs at the same time, until the file is dropped.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn gone_is_fine(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
