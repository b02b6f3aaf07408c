//! Every crate of the tree comes from crates.io and under a licence that `deny.toml` allows.

use std::fs;

use crate::{metadata, output, root};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Returns the strings between `allow = [` and `]` in `deny.toml`.
fn allowed() -> Vec<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, rest) = text.split_once("\nallow = [").expect("deny.toml has a list of licences");
    let (list, _) = rest.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns whether `expression` can be met with the `allowed` licences. It reads what crates write:
/// `AND` between alternatives, which are joined by `OR` or, of old, by a slash.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    expression.split(" AND ").all(|alternatives| {
        let alternatives = alternatives.trim_matches(['(', ')', ' ']).replace('/', " OR ");
        alternatives.split(" OR ").any(|name| allowed.iter().any(|allowed| allowed == name.trim()))
    })
}

#[test]
fn every_crate_has_an_allowed_licence_and_comes_from_crates_io() {
    let allowed = allowed();
    let version = output("rustc", &["--version", "--verbose"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = metadata(&["--filter-platform", host]);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "cargo told of {} packages only", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none at all");
        if !is_met(licence, &allowed) {
            wrong.push(format!("{name}: the licence {licence} is not allowed by deny.toml"));
        }
        if let Some(source) = package["source"].as_str()
            && source != CRATES_IO
        {
            wrong.push(format!("{name}: comes from {source}, not from crates.io"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_are_read_as_crates_write_them() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("MIT WITH something", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
