//! The benchmark works: a small one ends, and says what it promises to say.

use std::process::Command;

#[test]
fn a_quick_bench_prints_one_object_with_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--quick", "--json", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "commits_per_turn",
        "commits_per_read_turn",
        "turn_over_commits",
        "stored_over_payload",
        "resume_ms_600",
        "turn_60_over_early",
        "resume_ms_60_in_window",
        "turn_90_over_early",
        "resume_ms_90_in_window",
        "throughput_256_over_1",
        "peak_memory_mib_256",
        "review_ms_1000",
    ];
    assert_eq!(keys, expected);
    for key in expected.iter().filter(|key| **key != "stored_over_payload") {
        assert!(object[key].as_f64().unwrap() > 0.0, "{key}: {object}");
    }
    let sizes: Vec<&String> = object["stored_over_payload"].as_object().unwrap().keys().collect();
    assert_eq!(sizes, ["5", "10", "600"]);
    // These do not depend on the machine.
    assert!(object["commits_per_turn"].as_f64().unwrap() <= 2.0, "{object}");
    assert!(object["commits_per_read_turn"].as_f64().unwrap() <= 1.0, "{object}");
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_debug_build_measures_nothing() {
    if !cfg!(debug_assertions) {
        return;
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(["bench", "--json"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--release"));
    assert!(output.stdout.is_empty());
}
