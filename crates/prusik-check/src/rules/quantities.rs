//! Quantities and times: whether a value can mean only one thing.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::parameters::last_word;
use crate::catalogue::ToolEntry;
use crate::finding::Finding;
use crate::params::{Param, params};
use crate::rule::Rule;
use crate::words;

/// Names of quantities that are nothing without a unit.
const QUANTITIES: [&str; 22] = [
    "timeout",
    "delay",
    "duration",
    "interval",
    "ttl",
    "wait",
    "expiry",
    "amount",
    "price",
    "cost",
    "fee",
    "size",
    "width",
    "height",
    "weight",
    "distance",
    "radius",
    "temperature",
    "speed",
    "memory",
    "latency",
    "age",
];
/// The parts of a name that are a unit.
const UNITS: [&str; 52] = [
    "ms",
    "millis",
    "milliseconds",
    "s",
    "sec",
    "secs",
    "seconds",
    "min",
    "mins",
    "minutes",
    "hours",
    "days",
    "weeks",
    "months",
    "years",
    "bytes",
    "kb",
    "mb",
    "gb",
    "kib",
    "mib",
    "usd",
    "eur",
    "gbp",
    "cents",
    "minor",
    "px",
    "pixels",
    "m",
    "km",
    "cm",
    "mm",
    "miles",
    "feet",
    "kg",
    "g",
    "lb",
    "celsius",
    "fahrenheit",
    "kelvin",
    "percent",
    "pct",
    "tokens",
    "chars",
    "characters",
    "lines",
    "items",
    "ns",
    "us",
    "hz",
    "page",
    "batch",
];
static SAYS_UNIT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(milli|micro|nano)?(seconds?|secs?)\b|\b(ms|minutes?|hours?|days?|weeks?|months?|years?)\b",
        concat!(
            r"|\b(kilo|mega|giga)?bytes?\b|\b[KMG]i?B\b|\b(cents?|dollars?|euros?|pounds",
            r"|currency|minor units?|usd|eur|gbp|chf|iso 4217)\b",
        ),
        r"|\b(pixels?|px|points|metres?|meters?|km|kilomet\w+|miles?|feet|inches|kg|kilograms?|grams?|lbs?)\b",
        concat!(
            r"|\b(celsius|fahrenheit|kelvin)\b|°|%|€|\$|£|\b(per ?cent|items?|lines?|rows?",
            r"|entries|results?|records?|elements?|tokens?|characters?|words|number of",
            r"|how many)\b",
        )
    ))
    .expect("the pattern is fixed, and the tests read it")
});
static SAYS_TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)iso[- ]?8601|rfc[- ]?3339|\bYYYY|\butc\b|\bgmt\b|time ?zones?|\bepoch\b|\bunix\b",
        r"|\boffset\b|\brelative\b|\bnatural language\b|\d{4}-\d{2}-\d{2}|\bcron\b"
    ))
    .expect("the pattern is fixed, and the tests read it")
});
static SAYS_ZONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\butc\b|\bgmt\b|time ?zone|\bzone\b|\boffset\b|\blocal time\b|rfc[- ]?3339")
        .expect("the pattern is fixed, and the tests read it")
});
/// A time of day in a description, with its zone if it has one.
static CLOCK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?")
        .expect("the pattern is fixed, and the tests read it")
});
static IS_TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(date|time|timestamp|day|hour|moment|when)\b")
        .expect("the pattern is fixed, and the tests read it")
});

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    for param in params(&tool.input_schema) {
        let finding = unit(&param).or_else(|| time(&param));
        found.extend(finding.map(|finding| finding.at(format!("/input{}", param.pointer))));
    }
}

fn unit(param: &Param<'_>) -> Option<Finding> {
    let words = words::split(param.name);
    let named = QUANTITIES.contains(&words.last()?.as_str());
    let in_name = words.iter().any(|word| UNITS.contains(&word.as_str()));
    let is_text = param.is("string") && !param.has(&["enum", "format", "pattern", "examples"]);
    let closes = param.has(&["enum", "const"]);
    let beside = param
        .siblings
        .keys()
        .any(|key| matches!(last_word(key).as_str(), "unit" | "units" | "currency"));
    // A temperature between 0 and 2 is a model's.
    let is_sampling =
        param.get("maximum").and_then(Value::as_f64).is_some_and(|maximum| maximum <= 2.0);
    let counts = param.is_number() || is_text;
    if !named || in_name || closes || beside || is_sampling || !counts {
        return None;
    }
    if SAYS_UNIT.is_match(param.description()) {
        return None;
    }
    let message = format!("`{}` has no unit, in its name or in its description", param.name);
    let help = match words.last()?.as_str() {
        "amount" | "price" | "cost" | "fee" => {
            "say which currency, and whether whole or minor units: `amount_cents`, or a \
             `currency` beside it"
        }
        "timeout" | "delay" | "duration" | "interval" | "ttl" | "wait" | "expiry" | "latency" => {
            "name the unit: `timeout_ms`, or “in seconds” in the description"
        }
        _ => "name the unit, in the name or in the description",
    };
    Some(Finding::new(Rule::UnitAmbiguous, message, help))
}

fn time(param: &Param<'_>) -> Option<Finding> {
    let words = words::split(param.name);
    let last = words.last()?.as_str();
    let text = param.description();
    let named = matches!(
        last,
        "date" | "datetime" | "timestamp" | "deadline" | "since" | "until" | "birthday" | "time"
    ) || (last == "at" && words.len() > 1)
        || (matches!(last, "start" | "end" | "from" | "to" | "before" | "after" | "due")
            && IS_TIME.is_match(text));
    if !named {
        return None;
    }
    let beside = param.siblings.keys().any(|key| {
        let key = words::split(key).join("");
        key.contains("timezone") || key == "tz"
    });
    let closes = |shape: &&Value| {
        ["format", "pattern", "enum", "const"].iter().any(|key| !shape[*key].is_null())
    };
    let is_text = param.is("string") && !param.shapes().iter().any(closes);
    let is_count = param.is_number() && !SAYS_UNIT.is_match(text);
    if beside || !(is_text || is_count) {
        return None;
    }
    let has_no_zone = is_text
        && !SAYS_ZONE.is_match(text)
        && CLOCK.captures_iter(text).any(|clock| clock.name("zone").is_none());
    if SAYS_TIME.is_match(text) && !has_no_zone {
        return None;
    }
    let message = if has_no_zone {
        format!("`{}` is a time of day, and in which zone is not said", param.name)
    } else if is_text {
        format!("`{}` is a time as free text: in which form and which zone is not said", param.name)
    } else {
        format!("`{}` is a time as a number: of what, and since when, is not said", param.name)
    };
    let help = "add `format: date-time` (which carries its offset) or `format: date`; for a number \
                say “Unix time in seconds”";
    Some(Finding::new(Rule::TimeZoneAmbiguous, message, help))
}
