//! Counts the tokens of a prompt without asking anybody, with the vocabularies that OpenAI has
//! published.
//!
//! What OpenAI puts around messages and tools is not published but in its cookbook, for models up
//! to GPT-4o:
//! <https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb>.
//! Later ones are counted by the same rule. What the cookbook does not speak of, calls and nested schemas, is
//! counted as its text. Images are not counted at all.

use serde_json::Value;
use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

use super::encode::Prompt;

/// Tokens around each message, and before the answer.
const MESSAGE_TOKENS: usize = 3;
/// Tokens for each property of a tool and before the first of them.
const PROPERTY_TOKENS: usize = 3;
/// Tokens for each value of an enumeration; the list as a whole takes as many less.
const ENUM_TOKENS: usize = 3;
/// Tokens after the last tool.
const TOOLS_END_TOKENS: usize = 12;
/// Longest text that is looked at in one piece, in bytes: the splitter gives up on what it would
/// have to go back over too far.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The vocabulary of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    Cl100k,
    O200k,
}

impl Vocabulary {
    /// Returns the vocabulary of one of OpenAI's own models. Open-weight ones have another prompt
    /// around the same vocabulary, and are left out.
    pub(super) fn of(model: &str) -> Option<Self> {
        match get_tokenizer(model)? {
            Tokenizer::Cl100kBase => Some(Self::Cl100k),
            Tokenizer::O200kBase => Some(Self::O200k),
            Tokenizer::O200kHarmony
            | Tokenizer::P50kBase
            | Tokenizer::R50kBase
            | Tokenizer::P50kEdit
            | Tokenizer::Gpt2 => None,
        }
    }

    fn encoder(self) -> &'static CoreBPE {
        match self {
            Self::Cl100k => tiktoken_rs::cl100k_base_singleton(),
            Self::O200k => tiktoken_rs::o200k_base_singleton(),
        }
    }

    /// Tokens that each tool takes besides its words.
    fn tool_tokens(self) -> usize {
        match self {
            Self::Cl100k => 10,
            Self::O200k => 7,
        }
    }
}

/// Returns how many tokens `prompt` has. The first use reads the vocabulary, which takes a while.
pub(super) fn tokens(prompt: &Prompt, vocabulary: Vocabulary) -> u64 {
    let counter = Counter { encoder: vocabulary.encoder(), tool_tokens: vocabulary.tool_tokens() };
    let messages: usize =
        prompt.messages.iter().map(|message| MESSAGE_TOKENS + counter.message(message)).sum();
    let tools = match prompt.tools.as_slice() {
        [] => 0,
        tools => {
            tools.iter().map(|tool| counter.tool(&tool["function"])).sum::<usize>()
                + TOOLS_END_TOKENS
        }
    };
    (messages + tools + MESSAGE_TOKENS) as u64
}

struct Counter {
    encoder: &'static CoreBPE,
    tool_tokens: usize,
}

impl Counter {
    fn text(&self, text: &str) -> usize {
        pieces(text).map(|piece| self.encoder.encode_ordinary(piece).len()).sum()
    }

    fn message(&self, message: &Value) -> usize {
        let role = self.text(message["role"].as_str().unwrap_or_default());
        let content = match &message["content"] {
            Value::String(text) => self.text(text),
            Value::Array(parts) => {
                parts.iter().filter_map(|part| part["text"].as_str()).map(|t| self.text(t)).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => 0,
        };
        let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
            let said = |key: &str| call["function"][key].as_str().unwrap_or_default();
            MESSAGE_TOKENS + self.text(said("name")) + self.text(said("arguments"))
        });
        role + content + calls.sum::<usize>()
    }

    fn tool(&self, function: &Value) -> usize {
        let said = |key: &str| function[key].as_str().unwrap_or_default();
        let line = format!("{}:{}", said("name"), without_stop(said("description")));
        let properties = match function["parameters"]["properties"].as_object() {
            Some(map) if !map.is_empty() => {
                let each = map.iter().map(|(name, schema)| self.property(name, schema));
                PROPERTY_TOKENS + each.sum::<usize>()
            }
            Some(_) | None => 0,
        };
        self.tool_tokens + self.text(&line) + properties
    }

    fn property(&self, name: &str, schema: &Value) -> usize {
        let said = |key: &str| schema[key].as_str().unwrap_or_default();
        let line = format!("{name}:{}:{}", said("type"), without_stop(said("description")));
        let values = schema["enum"].as_array().map_or(&[][..], Vec::as_slice);
        let values = values.iter().map(|value| match value {
            Value::String(text) => ENUM_TOKENS + self.text(text),
            other => ENUM_TOKENS + self.text(&other.to_string()),
        });
        let nested = ["properties", "items", "anyOf", "oneOf", "$defs"]
            .iter()
            .filter_map(|key| schema.get(*key))
            .map(|inner| self.text(&inner.to_string()));
        let all =
            PROPERTY_TOKENS + self.text(&line) + values.sum::<usize>() + nested.sum::<usize>();
        // The cookbook takes the frame of the list off once.
        if schema["enum"].is_array() { all.saturating_sub(ENUM_TOKENS) } else { all }
    }
}

fn without_stop(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

/// Cuts `text` into pieces of bounded length, before a space where there is one: there a token
/// begins in any case.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if rest.len() <= PIECE_BYTES_MAX {
            return Some(std::mem::take(&mut rest));
        }
        let end = rest.floor_char_boundary(PIECE_BYTES_MAX);
        let space = rest[..end].rfind(' ').filter(|at| *at > PIECE_BYTES_MAX / 2);
        let (piece, after) = rest.split_at(space.unwrap_or(end));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prompt(messages: &Value, tools: &Value) -> Prompt {
        let list = |value: &Value| value.as_array().unwrap().clone();
        Prompt { messages: list(messages), tools: list(tools) }
    }

    /// The cookbook's own example, with the counts that the API gave for it. A name of a message
    /// costs one token more than its text, and we send none; so the names are left out of ours.
    #[test]
    fn messages_are_counted_as_the_service_does() {
        let said = [
            (
                "system",
                "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
            ),
            ("system", "New synergies will help drive top-line growth."),
            ("system", "Things working well together will increase revenue."),
            (
                "system",
                "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
            ),
            ("system", "Let's talk later when we're less busy about how to do better."),
            (
                "user",
                "This late pivot means we don't have time to boil the ocean for the client deliverable.",
            ),
        ];
        let messages =
            said.map(|(role, text)| json!({"role": role, "content": text})).into_iter().collect();
        let prompt = prompt(&messages, &json!([]));
        // `example_user` and `example_assistant`, twice each.
        let names = |vocabulary: Vocabulary| {
            let count = |name: &str| vocabulary.encoder().encode_ordinary(name).len() + 1;
            2 * (count("example_user") + count("example_assistant")) as u64
        };
        for (vocabulary, by_the_service) in [(Vocabulary::Cl100k, 129), (Vocabulary::O200k, 124)] {
            let counted = tokens(&prompt, vocabulary) + names(vocabulary);
            assert_eq!(counted, by_the_service, "{vocabulary:?}");
        }
    }

    /// The cookbook's own example, with the counts that the API gave for it.
    #[test]
    fn tools_are_counted_as_the_service_does() {
        let messages = json!([
            {"role": "system", "content":
                "You are a helpful assistant that can answer to questions about the weather."},
            {"role": "user", "content": "What's the weather like in San Francisco?"},
        ]);
        let tools = json!([{"type": "function", "function": {
            "name": "get_current_weather",
            "description": "Get the current weather in a given location",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {
                        "type": "string",
                        "description": "The city and state, e.g. San Francisco, CA",
                    },
                    "unit": {
                        "type": "string",
                        "description": "The unit of temperature to return",
                        "enum": ["celsius", "fahrenheit"],
                    },
                },
                "required": ["location"],
            },
        }}]);
        let prompt = prompt(&messages, &tools);
        assert_eq!(tokens(&prompt, Vocabulary::Cl100k), 105);
        assert_eq!(tokens(&prompt, Vocabulary::O200k), 101);
    }

    #[test]
    fn vocabularies_go_by_the_model() {
        for (model, expected) in [
            ("gpt-4o-2024-08-06", Some(Vocabulary::O200k)),
            ("gpt-5-mini", Some(Vocabulary::O200k)),
            ("o3-mini", Some(Vocabulary::O200k)),
            ("gpt-4-0613", Some(Vocabulary::Cl100k)),
            ("gpt-3.5-turbo", Some(Vocabulary::Cl100k)),
            ("ft:gpt-4o:org:name:id", Some(Vocabulary::O200k)),
            ("gpt-oss-120b", None),
            ("davinci", None),
            ("qwen3:8b", None),
            ("", None),
        ] {
            assert_eq!(Vocabulary::of(model), expected, "{model}");
        }
    }

    #[test]
    fn long_and_hostile_texts_are_counted_too() {
        let counter = Counter { encoder: Vocabulary::O200k.encoder(), tool_tokens: 7 };
        let sentence = "The quick brown fox jumps over the lazy dog. ";
        let long = sentence.repeat(5_000);
        let whole = counter.encoder.encode_ordinary(&long).len();
        assert_eq!(counter.text(&long), whole, "a cut before a space changes nothing");
        let texts = [
            " ".repeat(100_000),
            "\n".repeat(100_000),
            "A".repeat(100_000),
            "a\u{301}".repeat(40_000),
            "漢".repeat(40_000),
            "!".repeat(100_000),
            "<|endoftext|>".to_owned(),
            "\u{0}\u{202e}\u{10ffff}".to_owned(),
        ];
        for text in texts {
            let pieces: String = pieces(&text).collect();
            assert_eq!(pieces, text);
            assert!(counter.text(&text) > 0);
        }
    }

    #[test]
    fn calls_results_and_odd_schemas_are_counted_and_images_are_not() {
        let call = json!({"id": "1", "type": "function",
            "function": {"name": "read", "arguments": "{\"path\":\"a.txt\"}"}});
        let image =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
        let count =
            |messages: Value, tools: Value| tokens(&prompt(&messages, &tools), Vocabulary::O200k);
        let user = json!({"role": "user", "content": "hi"});
        let plain = count(json!([user]), json!([]));
        let seen = json!({"role": "user", "content": [{"type": "text", "text": "hi"}, image]});
        assert_eq!(count(json!([seen]), json!([])), plain);
        let called = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let result = json!({"role": "tool", "tool_call_id": "1", "content": "nothing"});
        assert!(count(json!([user, called, result]), json!([])) > plain + 12);
        let nested = json!({"type": "array", "items": {"type": "string", "enum": ["a", 1, null]}});
        for parameters in [json!(null), json!({}), json!({"properties": {"x": nested, "y": 7}})] {
            let tool =
                json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
            assert!(count(json!([user]), json!([tool])) > plain + 19, "{tool}");
        }
    }
}
