//! Tools with the same purpose, found by their words.
//!
//! A tool is a vector of the words of its description, weighted by how rare they are in the
//! catalogue (TF-IDF), beside the words of its name, with verbs of the same meaning made one, and
//! the names of its parameters. Two tools are compared where their action does not differ: what
//! creates a thing and what deletes it share nearly every word and are never taken for each other.
//! Weights and threshold were chosen on labelled catalogues and measured on others that were
//! written afterwards (`tests/data/overlap.json`, `tests/it/overlap.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::catalogue::{Catalogue, ToolEntry};
use crate::finding::Finding;
use crate::params::params;
use crate::rule::Rule;
use crate::words;

/// Score from which two tools are told to overlap, between 0 and 1.
const SCORE_MIN: f64 = 0.55;
/// What each part weighs in the score: the description, the name, the parameters.
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
/// What is taken off where a word of one name tells the two apart.
const TOLD_APART: f64 = 0.15;
/// What the same name adds, in the measure in which the descriptions agree.
const SAME_NAME: f64 = 0.3;
/// A word that this share of the tools has tells nothing, in a catalogue of some size.
const COMMON_SHARE: f64 = 0.1;
const COMMON_FROM: usize = 60;
/// Most partners of one tool that are told.
const PARTNERS_MAX: usize = 3;
/// Parameters that any tool with a long answer has.
const PAGING: [&str; 9] = [
    "page",
    "limit",
    "count",
    "offset",
    "cursor",
    "max_results",
    "per_page",
    "page_size",
    "max_length",
];
/// Fewest words of a description that can be the same by more than chance.
const SAME_WORDS_MIN: usize = 2;

/// A tool that says that another takes its place.
static RETIRED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(deprecated|obsolete|alias (of|for)|superseded|same as|replaced by)\b")
        .expect("the pattern is fixed, and the tests read it")
});

/// What is compared of a tool.
struct Profile<'a> {
    tool: &'a ToolEntry,
    /// Words of the description by number, with their weights; of length 1 as a vector.
    vector: Vec<(u32, f64)>,
    /// The words that carry meaning, brought to one form, with how each is written.
    words: BTreeMap<String, String>,
    name: BTreeSet<String>,
    /// The same of the parameters.
    params: BTreeMap<String, &'a str>,
    action: Option<&'static str>,
    /// The description without layout and case, to find the same text twice.
    plain: String,
}

pub(crate) fn check(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    let profiles = profiles(catalogue);
    for (index, other, score) in pairs(&profiles) {
        let (a, b) = (&profiles[index], &profiles[other]);
        let is_same = !a.plain.is_empty() && a.plain == b.plain;
        let message = if is_same {
            format!("`{}` has word for word the same description", b.tool.name)
        } else if let Some((old, new)) = [(a, b), (b, a)].into_iter().find(|(x, y)| replaces(x, y))
        {
            format!("`{}` says itself that `{}` takes its place", old.tool.name, new.tool.name)
        } else {
            format!(
                "`{}` seems to be for the same purpose ({:.0} % alike)",
                b.tool.name,
                (score * 100.0).min(99.0)
            )
        };
        let mut finding = Finding::new(Rule::ToolsOverlap, message, apart(a, b)).at("/description");
        finding.tool = Some(a.tool.name.clone());
        finding.others = vec![b.tool.name.clone()];
        finding.place.clone_from(&a.tool.place);
        found.push(finding);
    }
}

fn profiles(catalogue: &Catalogue) -> Vec<Profile<'_>> {
    let mut profiles: Vec<Profile<'_>> = catalogue.tools.iter().map(profile).collect();
    let mut numbers: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for profile in &profiles {
        for word in profile.words.keys() {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            numbers.entry(word.clone()).or_insert((next, 0)).1 += 1;
        }
    }
    let count = as_float(profiles.len());
    for profile in &mut profiles {
        let weighed = profile.words.keys().map(|word| {
            let (number, tools) = numbers[word];
            (number, (1.0 + count / f64::from(tools)).ln())
        });
        let weighed: Vec<(u32, f64)> = weighed.collect();
        let length = weighed.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
        profile.vector =
            weighed.into_iter().map(|(n, w)| (n, w / length.max(f64::EPSILON))).collect();
    }
    profiles
}

fn profile(tool: &ToolEntry) -> Profile<'_> {
    let own = tool.own_name();
    let name = words::compared_name(own, tool.server.as_deref());
    let written = words::split(&tool.description);
    let words = written
        .iter()
        .enumerate()
        .filter(|(_, word)| words::is_meaningful(word))
        .map(|(index, word)| (words::compared(index, word), word.clone()))
        .collect();
    let params = params(&tool.input_schema)
        .iter()
        .filter(|param| !param.pointer["/properties/".len()..].contains('/'))
        .map(|param| (words::name_words(param.name).join(" "), param.name))
        .filter(|(_, name)| !PAGING.contains(name))
        .collect();
    let plain = if written.len() < SAME_WORDS_MIN { String::new() } else { written.join(" ") };
    Profile { tool, vector: Vec::new(), words, name, params, action: words::action(own), plain }
}

#[expect(clippy::cast_precision_loss, reason = "a catalogue has fewer than 2^52 tools")]
fn as_float(count: usize) -> f64 {
    count as f64
}

/// Returns the pairs that overlap with their scores. Only tools that share a rare word of their
/// descriptions, or the words of their names, are compared.
fn pairs(profiles: &[Profile<'_>]) -> Vec<(usize, usize, f64)> {
    let common = if profiles.len() < COMMON_FROM {
        profiles.len() + 1
    } else {
        // A share of a count is a count.
        profiles.len().div_ceil(inverse(COMMON_SHARE))
    };
    let mut postings: BTreeMap<u32, Vec<(usize, f64)>> = BTreeMap::new();
    for (index, profile) in profiles.iter().enumerate() {
        for (word, weight) in &profile.vector {
            postings.entry(*word).or_default().push((index, *weight));
        }
    }
    let mut named: BTreeMap<&BTreeSet<String>, Vec<usize>> = BTreeMap::new();
    let mut same: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, profile) in profiles.iter().enumerate() {
        named.entry(&profile.name).or_default().push(index);
        if !profile.plain.is_empty() {
            same.entry(&profile.plain).or_default().push(index);
        }
    }
    let mut all = Vec::new();
    let mut alike = vec![0.0_f64; profiles.len()];
    for (index, profile) in profiles.iter().enumerate() {
        let mut touched: Vec<usize> = Vec::new();
        for (word, weight) in &profile.vector {
            let posting = &postings[word];
            if posting.len() > common {
                continue;
            }
            let later = posting.partition_point(|(other, _)| *other <= index);
            for (other, theirs) in &posting[later..] {
                if alike[*other] == 0.0 {
                    touched.push(*other);
                }
                alike[*other] += weight * theirs;
            }
        }
        let by_name = named[&profile.name].iter();
        let by_text = same.get(profile.plain.as_str()).into_iter().flatten();
        touched.extend(by_name.chain(by_text).filter(|other| **other > index));
        touched.sort_unstable();
        touched.dedup();
        let mut own: Vec<(usize, usize, f64)> = touched
            .iter()
            .filter_map(|other| {
                score(profile, &profiles[*other], alike[*other]).map(|score| (index, *other, score))
            })
            .collect();
        for other in touched {
            alike[other] = 0.0;
        }
        own.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(&b.1)));
        own.truncate(PARTNERS_MAX);
        all.extend(own);
    }
    all
}

fn inverse(share: f64) -> usize {
    let mut parts = 1;
    while as_float(parts) * share < 1.0 {
        parts += 1;
    }
    parts
}

/// Returns how much two tools overlap, if it is enough to be told. `shared` is the product of
/// their vectors.
fn score(a: &Profile<'_>, b: &Profile<'_>, shared: f64) -> Option<f64> {
    if !a.plain.is_empty() && a.plain == b.plain {
        return Some(1.0);
    }
    if replaces(a, b) || replaces(b, a) {
        return Some(1.0);
    }
    if let (Some(one), Some(other)) = (a.action, b.action)
        && !words::may_be_the_same(one, other)
    {
        return None;
    }
    // `staged` and `unstaged` are neighbours in every text, and opposites.
    let negates = |a: &Profile<'_>, b: &Profile<'_>| {
        a.name.iter().any(|word| b.name.contains(&format!("un{word}")))
    };
    if negates(a, b) || negates(b, a) {
        return None;
    }
    let total = total(a, b, shared);
    (total >= SCORE_MIN).then_some(total.min(1.0))
}

/// Returns whether `a` says of itself that `b` is to be used in its place.
fn replaces(a: &Profile<'_>, b: &Profile<'_>) -> bool {
    a.tool.server == b.tool.server
        && RETIRED.is_match(&a.tool.description)
        && b.tool.own_name().len() > 3
        && a.tool.description.contains(b.tool.own_name())
}

fn total(a: &Profile<'_>, b: &Profile<'_>, shared: f64) -> f64 {
    let name = jaccard(&a.name, &b.name);
    let keys = |profile: &Profile<'_>| profile.params.keys().cloned().collect::<BTreeSet<_>>();
    let parts = [shared, name, jaccard(&keys(a), &keys(b))];
    let mut score: f64 = parts.iter().zip(WEIGHTS).map(|(part, weight)| part * weight).sum();
    // What only one name has and only its own description takes up is what the tool is about:
    // `list_users`, `list_invoices`.
    let tells = |a: &Profile<'_>, b: &Profile<'_>| {
        let mut own = a.name.difference(&b.name);
        own.any(|word| a.words.contains_key(word) && !b.words.contains_key(word))
    };
    let differs = !a.name.is_subset(&b.name) && !b.name.is_subset(&a.name);
    if tells(a, b) || tells(b, a) {
        score -= if differs { TOLD_APART } else { TOLD_APART / 2.0 };
    }
    if name >= 1.0 {
        // The same verb on the same thing.
        score += SAME_NAME * shared;
    }
    score
}

fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let both = a.intersection(b).count();
    let either = a.union(b).count();
    // Two tools without parameters say nothing about each other.
    if either == 0 { 0.5 } else { as_float(both) / as_float(either) }
}

/// Returns what would tell two tools apart: what only one of them has.
fn apart(a: &Profile<'_>, b: &Profile<'_>) -> String {
    const WORDS_MAX: usize = 4;
    let said = |mine: &Profile<'_>, theirs: &Profile<'_>| -> Vec<String> {
        let only = mine.words.iter().filter(|(word, _)| !theirs.words.contains_key(*word));
        only.take(WORDS_MAX).map(|(_, written)| format!("“{written}”")).collect()
    };
    let taken = |mine: &Profile<'_>, theirs: &Profile<'_>| -> Vec<String> {
        let only = mine.params.iter().filter(|(param, _)| !theirs.params.contains_key(*param));
        only.take(WORDS_MAX).map(|(_, name)| format!("`{name}`")).collect()
    };
    let mut parts = Vec::new();
    for (mine, theirs) in [(a, b), (b, a)] {
        let name = &mine.tool.name;
        let params = taken(mine, theirs);
        let words = said(mine, theirs);
        if !params.is_empty() {
            parts.push(format!("only `{name}` takes {}", params.join(", ")));
        } else if !words.is_empty() {
            parts.push(format!("only `{name}` speaks of {}", words.join(", ")));
        }
    }
    let advice = "say in each when it is the one to use, or give the agent only one";
    if parts.is_empty() {
        format!("nothing tells them apart but the name: {advice}")
    } else {
        format!("{advice}; what differs: {}", parts.join("; "))
    }
}
