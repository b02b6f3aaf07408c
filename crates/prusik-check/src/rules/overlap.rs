//! Tools with the same purpose, found by their words.
//!
//! A tool is a vector of the words of its description, weighted by how rare they are in the
//! catalogue (TF-IDF), beside the words of its name, with verbs of the same meaning made one, and
//! the names of its parameters. Two tools are compared where their action does not differ: what
//! creates a thing and what deletes it share nearly every word and are never taken for each other.
//! The threshold was chosen by hand on the tools of a few servers.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalogue::{Catalogue, ToolEntry};
use crate::finding::Finding;
use crate::params::params;
use crate::rule::Rule;
use crate::words;

/// Score from which two tools are told to overlap, between 0 and 1.
const SCORE_MIN: f64 = 0.62;
/// What each part weighs in the score: the description, the name, the parameters.
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
/// A word that this share of the tools has tells nothing, in a catalogue of some size.
const COMMON_SHARE: f64 = 0.1;
const COMMON_FROM: usize = 60;
/// Most partners of one tool that are told.
const PARTNERS_MAX: usize = 3;
/// Fewest words of a description that can be the same by more than chance.
const SAME_WORDS_MIN: usize = 2;

/// What is compared of a tool.
struct Profile<'a> {
    tool: &'a ToolEntry,
    /// Words of the description by number, with their weights; of length 1 as a vector.
    vector: Vec<(u32, f64)>,
    words: BTreeSet<String>,
    name: BTreeSet<String>,
    params: BTreeSet<String>,
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
        for word in &profile.words {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            numbers.entry(word.clone()).or_insert((next, 0)).1 += 1;
        }
    }
    let count = as_float(profiles.len());
    for profile in &mut profiles {
        let weighed = profile.words.iter().map(|word| {
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
    let name: BTreeSet<String> = words::name_words(own).into_iter().collect();
    let words = words::meaningful(&tool.description).iter().map(|w| words::canonical(w)).collect();
    let params = params(&tool.input_schema)
        .iter()
        .filter(|param| !param.pointer["/properties/".len()..].contains('/'))
        .map(|param| words::name_words(param.name).join(" "))
        .collect();
    let plain = words::split(&tool.description);
    let plain = if plain.len() < SAME_WORDS_MIN { String::new() } else { plain.join(" ") };
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

/// Returns how much two tools overlap, if it is enough to be told.
fn score(a: &Profile<'_>, b: &Profile<'_>, description: f64) -> Option<f64> {
    if !a.plain.is_empty() && a.plain == b.plain {
        return Some(1.0);
    }
    if a.action.is_some() && b.action.is_some() && a.action != b.action {
        return None;
    }
    // What one name adds to the other is what the tool is about: `list_users`, `list_invoices`.
    let only = |a: &Profile<'_>, b: &Profile<'_>| a.name.difference(&b.name).count();
    let differs = only(a, b) > 0 && only(b, a) > 0;
    let name = jaccard(&a.name, &b.name);
    let parts = [description, name, jaccard(&a.params, &b.params)];
    let mut score: f64 = parts.iter().zip(WEIGHTS).map(|(part, weight)| part * weight).sum();
    if name >= 1.0 {
        // The same verb on the same thing, whatever the descriptions say.
        score += 0.25;
    } else if differs {
        score -= 0.08;
    }
    (score >= SCORE_MIN).then_some(score.min(1.0))
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
    let only = |mine: &BTreeSet<String>, theirs: &BTreeSet<String>| -> Vec<String> {
        mine.difference(theirs).take(WORDS_MAX).map(|word| format!("“{word}”")).collect()
    };
    let mut parts = Vec::new();
    for (mine, theirs) in [(a, b), (b, a)] {
        let name = &mine.tool.name;
        let params = only(&mine.params, &theirs.params);
        let words = only(&mine.words, &theirs.words);
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
