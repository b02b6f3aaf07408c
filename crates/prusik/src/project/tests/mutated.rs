//! A thousand projects with damage: never a panic, never a hang, always a file's name.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

const FILES: [&str; 5] =
    ["prusik.yaml", "agents/main.md", "agents/helper.md", ".mcp.json", "schemas/answer.json"];
const MUTANTS: u64 = 1_000;
/// Far above what loading takes, far below what a person waits for.
const LOAD_MAX: Duration = Duration::from_secs(10);

const VALUES: [&str; 24] = [
    "null",
    "~",
    "true",
    "[]",
    "{}",
    "[[[1]]]",
    "{a: {b: c}}",
    "-1",
    "1e400",
    ".nan",
    "0x7f",
    "18446744073709551616",
    "1234567890123456789012345678901234567890",
    "''",
    "\"\\u0000\"",
    "!!binary aGk=",
    "!!str 5",
    "!custom x",
    "*nobody",
    "&a [*a]",
    "\"${\"",
    "=((",
    "|\n  block",
    "2026-01-01",
];

fn mutate(text: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> =
        text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let line = random.usize(..lines.len());
    match random.u8(..16) {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => {
            let other = random.usize(..lines.len());
            lines.swap(line, other);
        }
        3 => {
            let at = random.usize(..=lines[line].len());
            lines[line].insert(at, random.u8(..));
        }
        4 => {
            let at = random.usize(..lines[line].len());
            lines[line][at] = random.u8(..);
        }
        5..=8 => {
            let value = VALUES[random.usize(..VALUES.len())];
            let text = String::from_utf8_lossy(&lines[line]).into_owned();
            let colons: Vec<usize> = text.match_indices(": ").map(|(at, _)| at).collect();
            let end = text.trim_end().len();
            lines[line] = match colons.as_slice() {
                [] => format!("{}: {value}\n", &text[..end]),
                some => {
                    let at = some[random.usize(..some.len())] + 2;
                    let rest =
                        text[at..].find([',', '}', '\n']).map_or("\n", |to| &text[at + to..]);
                    format!("{}{value}{rest}", &text[..at])
                }
            }
            .into_bytes();
        }
        9 => {
            let depth = random.usize(1..5_000);
            let (open, close) = [("[", "]"), ("{a: ", "}"), ("- ", "")][random.usize(..3)];
            let bomb = format!("x: {}1{}\n", open.repeat(depth), close.repeat(depth));
            lines.insert(line, bomb.into_bytes());
        }
        10 => {
            let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
            for level in 1..random.usize(2..12) {
                let below = level - 1;
                let aliases = format!("*a{below}, ").repeat(9);
                writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
            }
            lines.insert(line, bomb.into_bytes());
        }
        11 => lines.iter_mut().for_each(|line| {
            if line.ends_with(b"\n") {
                line.insert(line.len() - 1, b'\r');
            }
        }),
        12 => lines.insert(0, b"\xef\xbb\xbf".to_vec()),
        13 => lines.truncate(line),
        14 => {
            let spaces = vec![b' '; random.usize(1..4)];
            lines[line].splice(0..0, spaces);
        }
        _ => {
            let long = "k".repeat(random.usize(1..100_000));
            lines.insert(line, format!("{long}: {long}\n").into_bytes());
        }
    }
    lines.concat()
}

#[test]
fn a_thousand_mutants_are_refused_or_read() {
    let folder = project_folder();
    let originals = FILES.map(|file| (file, std::fs::read(folder.path().join(file)).unwrap()));
    let mut refused = 0;
    for seed in 0..MUTANTS {
        let mut random = fastrand::Rng::with_seed(seed);
        let (file, original) = &originals[random.usize(..FILES.len())];
        let mut text = original.clone();
        for _ in 0..random.usize(1..4) {
            text = if text.is_empty() { original.clone() } else { mutate(&text, &mut random) };
        }
        std::fs::write(folder.path().join(file), &text).unwrap();
        let start = Instant::now();
        let outcome = Project::load(folder.path());
        assert!(start.elapsed() < LOAD_MAX, "seed {seed} took {:?}", start.elapsed());
        match outcome {
            Ok(project) => {
                let _ = project.agent_definition(Some("main"), &[]);
            }
            Err(errors) => {
                refused += 1;
                for error in errors.iter() {
                    let known = folder.path().join(&error.file).exists();
                    assert!(known, "seed {seed} names {}", error.file.display());
                    assert!(!error.message.is_empty(), "seed {seed}");
                    assert!(error.to_string().len() < 250_000, "seed {seed} is told at length");
                }
            }
        }
        std::fs::write(folder.path().join(file), original).unwrap();
    }
    assert!((400..1_000).contains(&refused), "{refused} of {MUTANTS} were refused");
}
