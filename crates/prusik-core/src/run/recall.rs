//! The tool by which a model reads what its run has seen and its context no longer holds.
//!
//! The core only declares it. It is performed by the driver, on the run's own journal.

use serde_json::{Value, json};

use crate::agent::Tool;
use crate::contract::{Contract, EffectClass};

/// The call that reads the run's own history.
pub const RECALL: &str = "recall";

/// Longest result of a [`RECALL`], in bytes. The driver keeps to it, so that what is recalled is never
/// cut into a head and a tail again.
pub const RECALL_BYTES_MAX: u64 = Contract::RESULT_BYTES_MAX;

/// Room that a [`RECALL`] always has, in bytes: what its answer says of itself must fit.
pub const RECALL_BYTES_MIN: u64 = 4 * 1024;

/// Longest pattern, path or question, in bytes. Whoever performs the call relies on it.
const WORDS_CHARS_MAX: u64 = 400;

/// How long one call may take, in milliseconds. It reads what is on the same machine.
const TIMEOUT_MS: u64 = 20_000;

const DESCRIPTION: &str = "Reads back anything that this run has seen: full results of earlier calls, \
also those that were cut or folded, your own earlier answers, the task and what you were told. It changes \
nothing. Four ways to ask:
- {\"handle\": \"12.1\"}: that result, page by page. 12.1 is the first call of turn 12; \"turn 12\" is \
what you said and asked for in that turn; \"task\" is the task.
- {\"handle\": \"12.1\", \"regex\": \"(?i)total\"}: the lines of it that match.
- {\"handle\": \"12.1\", \"path\": \"$.items[?@.open == true].id\"}: parts of it, if it is JSON.
- {\"query\": \"order KESTREL-7261\"} or {\"regex\": \"KESTREL-\\\\d+\"}: where in all of the run it is; \
each hit has the handle and the offset to read on with.
If there is more, the answer has `next`: the arguments of the call that goes on. What is recalled is old: \
the world may have changed since.";

/// Returns the tool as an agent holds it.
pub(super) fn tool() -> Tool {
    Tool {
        name: RECALL.to_owned(),
        description: DESCRIPTION.to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "handle": words(
                    "What to read: a call such as `12.1`, `turn 12`, `task`, or `blob:` and 64 digits \
                     as a note names it.",
                ),
                "query": words(
                    "Words to look for in all of the run: names, numbers, identifiers, paths. The best \
                     hits come first. Not together with `handle`.",
                ),
                "regex": words(
                    "A regular expression (RE2 syntax, `(?i)` ignores case), matched line by line: in \
                     the result that `handle` names, or in all of the run.",
                ),
                "path": words(
                    "A JSONPath (RFC 9535, without `match` and `search`) into the result that `handle` \
                     names, for example `$.items[0].name` or `$..id`.",
                ),
                "offset": {
                    "type": "integer", "minimum": 0,
                    "description": "Where to go on, as `next` or a hit says: the byte to read from; \
                        for `path` and for searches of all the run, how many finds to skip.",
                },
            },
            "additionalProperties": false,
        }),
        output_schema: None,
        contract: Contract {
            timeout_ms: TIMEOUT_MS,
            result_bytes_max: RECALL_BYTES_MAX,
            ..Contract::of(EffectClass::Read)
        },
        shown: true,
    }
}

fn words(description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": WORDS_CHARS_MAX, "description": description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn what_the_description_shows_fits_the_schema() {
        let tool = tool();
        let schema = Schema::new(&tool.input_schema);
        let shown: Vec<&str> = tool
            .description
            .match_indices("{\"")
            .map(|(at, _)| &tool.description[at..=at + tool.description[at..].find('}').unwrap()])
            .collect();
        assert_eq!(shown.len(), 5, "{shown:?}");
        for example in shown {
            let arguments = serde_json::from_str(example).expect(example);
            assert_eq!(schema.mismatches(&arguments), [], "{example}");
        }
        for wrong in [json!({"handle": 12.1}), json!({"offset": -1}), json!({"what": "x"})] {
            assert_ne!(schema.mismatches(&wrong), [], "{wrong}");
        }
    }

    #[test]
    fn it_is_a_read_that_runs_beside_others() {
        let contract = tool().contract;
        assert_eq!((contract.effect, contract.parallel), (EffectClass::Read, true));
    }
}
