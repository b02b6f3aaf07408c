//! What became of a context between two points of a run.

use std::collections::{BTreeMap, BTreeSet};

use super::{ContextView, Segment};

/// What is other in one request than in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the order of the later request; what is gone stands where it was.
    pub changes: Vec<Change>,
    /// How many pieces are the same.
    pub same: usize,
}

/// A piece that is not in both requests as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Added(Segment),
    Gone(Segment),
    Changed { before: Segment, after: Segment },
}

/// What makes a piece the same one in two requests, whatever it says: its name, and which of those of
/// that name it is.
type Key = (String, usize);

impl ContextView {
    /// Returns what is other in this request than in an earlier one.
    pub fn since(&self, before: &Self) -> Difference {
        let (old, new) = (keys(&before.segments), keys(&self.segments));
        let places: BTreeMap<&Key, usize> = old.iter().zip(0..).collect();
        let kept: BTreeSet<&Key> = new.iter().collect();
        let gone = |range: std::ops::Range<usize>| {
            let gone = range.filter(|index| !kept.contains(&old[*index]));
            gone.map(|index| Change::Gone(before.segments[index].clone())).collect::<Vec<_>>()
        };
        let mut changes = Vec::new();
        let (mut same, mut passed) = (0, 0);
        for (key, after) in new.iter().zip(&self.segments) {
            let Some(index) = places.get(key).copied() else {
                changes.push(Change::Added(after.clone()));
                continue;
            };
            if index >= passed {
                changes.extend(gone(passed..index));
                passed = index + 1;
            }
            let was = &before.segments[index];
            if was.text == after.text {
                same += 1;
            } else {
                changes.push(Change::Changed { before: was.clone(), after: after.clone() });
            }
        }
        changes.extend(gone(passed..old.len()));
        Difference { changes, same }
    }
}

fn keys(segments: &[Segment]) -> Vec<Key> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    segments
        .iter()
        .map(|segment| {
            let nth = seen.entry(segment.name.as_str()).or_default();
            *nth += 1;
            (segment.name.clone(), *nth)
        })
        .collect()
}
