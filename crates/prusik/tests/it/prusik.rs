//! The built binary, called as a person calls it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Calls the binary in `folder`.
pub fn prusik(folder: &Path, arguments: &[&str]) -> Output {
    prusik_with(folder, arguments, &[])
}

/// Calls the binary in `folder` with variables added to the environment.
pub fn prusik_with(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = prusik_command(folder, arguments);
    command.envs(env.iter().copied()).output().expect("the binary starts")
}

/// Returns the binary, to be started in `folder`.
pub fn prusik_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prusik"));
    command.current_dir(folder).args(arguments);
    command
}

/// Waits until a file is there.
pub fn wait_for(path: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !path.exists() {
        assert!(std::time::Instant::now() < end, "{} does not appear", path.display());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Returns what an output says, for messages and searches.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Returns the lines of a file or an output as JSON.
pub fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("JSON lines are UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Writes files into `folder`, making the folders above them.
pub fn write_files(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
