//! What is claimed of a tool, and what was found of it.

use serde_json::{Value, json};

/// Something that a contract or a schema says of a tool, and that can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A read changes no file and nothing that another read tells.
    ReadChangesNothing,
    /// Two calls with one key land once.
    RepeatLandsOnce,
    /// The same when the first answer was lost after the server gave it.
    DroppedLandsOnce,
    /// The same when the connection was cut in the middle of the first answer.
    CutLandsOnce,
    /// The same when the first call is still running.
    OverlapLandsOnce,
    /// The probe says that nothing landed when nothing was called.
    ProbeSeesNothing,
    /// The probe says that a call landed which did.
    ProbeSeesLanded,
    /// The same when the call's answer was lost.
    ProbeSeesLost,
    /// The probe's `result` is what the call returned.
    ProbeGivesResult,
    /// After the call and its undo the world is as before.
    UndoReverses,
    /// A failure is reported as the kind that is declared.
    FailureAsDeclared,
    /// A failure that is declared did not land.
    FailureLandsNothing,
    /// Results fit the declared output schema, and are not empty where that is a failure.
    ResultAsDeclared,
    /// An answer comes within `timeout_ms`.
    AnswersInTime,
    /// Garbage neither ends nor hangs the server.
    SurvivesGarbage,
    /// What the tool's schema forbids gets an error.
    RefusesGarbage,
    /// Garbage that gets an error changes nothing.
    GarbageLandsNothing,
}

impl Claim {
    /// Returns the claim's name, which scripts rely on.
    pub fn id(self) -> &'static str {
        match self {
            Self::ReadChangesNothing => "read-changes-nothing",
            Self::RepeatLandsOnce => "repeat-lands-once",
            Self::DroppedLandsOnce => "dropped-lands-once",
            Self::CutLandsOnce => "cut-lands-once",
            Self::OverlapLandsOnce => "overlap-lands-once",
            Self::ProbeSeesNothing => "probe-sees-nothing",
            Self::ProbeSeesLanded => "probe-sees-landed",
            Self::ProbeSeesLost => "probe-sees-lost",
            Self::ProbeGivesResult => "probe-gives-result",
            Self::UndoReverses => "undo-reverses",
            Self::FailureAsDeclared => "failure-as-declared",
            Self::FailureLandsNothing => "failure-lands-nothing",
            Self::ResultAsDeclared => "result-as-declared",
            Self::AnswersInTime => "answers-in-time",
            Self::SurvivesGarbage => "survives-garbage",
            Self::RefusesGarbage => "refuses-garbage",
            Self::GarbageLandsNothing => "garbage-lands-nothing",
        }
    }

    /// Returns the claim in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::ReadChangesNothing => "a read changes nothing",
            Self::RepeatLandsOnce => "repeated with its key, a call lands once",
            Self::DroppedLandsOnce => "repeated after its answer was lost, it lands once",
            Self::CutLandsOnce => "repeated after the connection was cut, it lands once",
            Self::OverlapLandsOnce => "repeated while it still runs, it lands once",
            Self::ProbeSeesNothing => "the probe says no before the call",
            Self::ProbeSeesLanded => "the probe says yes after the call",
            Self::ProbeSeesLost => "the probe says yes after a call whose answer was lost",
            Self::ProbeGivesResult => "the probe gives what the call returned",
            Self::UndoReverses => "the undo leaves all as it was",
            Self::FailureAsDeclared => "a failure is reported as declared",
            Self::FailureLandsNothing => "a declared failure did not land",
            Self::ResultAsDeclared => "results are as declared",
            Self::AnswersInTime => "answers come in time",
            Self::SurvivesGarbage => "garbage neither ends nor hangs the server",
            Self::RefusesGarbage => "what the schema forbids gets an error",
            Self::GarbageLandsNothing => "garbage that gets an error changes nothing",
        }
    }
}

/// What was found of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was tried and held.
    Holds,
    /// It was tried and broken.
    Lie,
    /// It could not be tried.
    Untested,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Lie => "lie",
            Self::Untested => "untested",
        }
    }
}

/// A claim of a tool and what was found of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub tool: String,
    pub claim: Claim,
    /// The kind of failure, where the claim is about one.
    pub kind: Option<String>,
    pub verdict: Verdict,
    /// What was seen, or why nothing could be and what would change that.
    pub says: String,
    /// The calls that were made, with what came back.
    pub evidence: Vec<String>,
}

impl Judged {
    /// Returns the claim in words, with the kind of failure that it is about.
    pub fn title(&self) -> String {
        match &self.kind {
            Some(kind) => format!("{} ({kind})", self.claim.text()),
            None => self.claim.text().to_owned(),
        }
    }

    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "tool": self.tool, "claim": self.claim.id(), "verdict": self.verdict.as_str(),
            "says": self.says, "evidence": self.evidence,
        });
        if let Some(kind) = &self.kind {
            object["kind"] = json!(kind);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [Claim; 17] = [
        Claim::ReadChangesNothing,
        Claim::RepeatLandsOnce,
        Claim::DroppedLandsOnce,
        Claim::CutLandsOnce,
        Claim::OverlapLandsOnce,
        Claim::ProbeSeesNothing,
        Claim::ProbeSeesLanded,
        Claim::ProbeSeesLost,
        Claim::ProbeGivesResult,
        Claim::UndoReverses,
        Claim::FailureAsDeclared,
        Claim::FailureLandsNothing,
        Claim::ResultAsDeclared,
        Claim::AnswersInTime,
        Claim::SurvivesGarbage,
        Claim::RefusesGarbage,
        Claim::GarbageLandsNothing,
    ];

    #[test]
    fn each_claim_has_a_name_and_words_of_its_own() {
        let ids: BTreeSet<&str> = ALL.iter().map(|claim| claim.id()).collect();
        let texts: BTreeSet<&str> = ALL.iter().map(|claim| claim.text()).collect();
        assert_eq!((ids.len(), texts.len()), (ALL.len(), ALL.len()));
    }
}
