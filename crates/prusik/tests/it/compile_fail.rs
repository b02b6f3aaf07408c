//! Tools that must not compile, and what their authors are told.
//!
//! Each file of `tests/compile_fail` is given to the compiler with the library that these tests were
//! built with, and what it says is pinned. `cargo insta review`, or `INSTA_UPDATE=always`, takes new
//! words over.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Returns the folder in which cargo keeps what it has built.
fn built() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_prusik")).with_file_name("deps")
}

/// Returns the library that was built last: that of these tests.
pub fn library() -> PathBuf {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(built()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_library = path.extension().is_some_and(|extension| extension == "rlib");
        if is_library && name.starts_with("libprusik-") {
            let made = path.metadata().unwrap().modified().unwrap();
            if found.as_ref().is_none_or(|(newest, _)| made > *newest) {
                found = Some((made, path));
            }
        }
    }
    found.expect("cargo has built the library of these tests").1
}

/// Compiles a file and returns whether that went well and what the compiler said.
pub fn compile(file: &Path, library: &Path) -> (bool, String) {
    let out = tempfile::tempdir().unwrap();
    let mut prusik = std::ffi::OsString::from("prusik=");
    prusik.push(library);
    let output = Command::new("rustc")
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--color=never"])
        .args(["-A", "warnings", "--out-dir"])
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", built().display()))
        .arg("--extern")
        .arg(prusik)
        .arg(file.file_name().unwrap())
        .current_dir(file.parent().unwrap())
        .output()
        .unwrap();
    (output.status.success(), complaints(&String::from_utf8(output.stderr).unwrap()))
}

/// Returns the complaints with our words. What the compiler adds of its own differs between compilers:
/// other types with the same trait, places in the library, a count.
fn complaints(said: &str) -> String {
    let mut is_ours = true;
    let mut text = String::new();
    for line in said.split("error: aborting").next().unwrap().lines() {
        if line.starts_with("help:") || line.starts_with("note:") {
            is_ours = false;
        } else if line.starts_with("error") || line.trim_start().starts_with("= note:") {
            is_ours = true;
        }
        if is_ours && !line.trim_start().starts_with("= help:") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail")
}

#[test]
fn what_lacks_a_part_of_its_contract_does_not_compile_and_says_what_to_write() {
    let library = library();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 18, "{files:?}");
    // Two at a time: each takes half a second of a processor.
    let halves = files.chunks(files.len().div_ceil(2));
    let said: Vec<(PathBuf, bool, String)> = std::thread::scope(|scope| {
        let library = &library;
        let threads: Vec<_> = halves
            .map(|half| {
                scope.spawn(move || {
                    let compiled = half.iter().map(|file| {
                        let (compiles, said) = compile(file, library);
                        (file.clone(), compiles, said)
                    });
                    compiled.collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for (file, compiles, said) in said {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!compiles, "{name} compiles");
        insta::assert_snapshot!(name, said);
    }
}

/// Without this, a broken set-up would look like a tool that is refused.
#[test]
fn what_has_all_of_its_contract_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.rs");
    let text = std::fs::read_to_string(cases().join("no_effect.rs")).unwrap();
    std::fs::write(&file, text.replace("timeout_ms = 500", "effect = \"write\"")).unwrap();
    let (compiles, said) = compile(&file, &library());
    assert!(compiles, "{said}");
}
