//! The small values of the project's files: money, time, secrets, patterns, expressions.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use prusik_core::expr::Expr;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Largest file that holds a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Money, in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usd(pub u64);

impl Usd {
    /// Returns an amount given in dollars; None below nothing and above a thousand million.
    pub fn from_dollars(usd: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the bounds are checked"
        )]
        (0.0..=1e9).contains(&usd).then(|| Self((usd * 1e9).round() as u64))
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_dollars(f64::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("an amount of USD is between 0 and 1,000,000,000"))
    }
}

/// A length of time, in milliseconds. Written as `30m`, `1h30m`, `45s`, `500ms`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall(pub u64);

impl Wall {
    /// Parses what people write; None if it is not a length of time.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit_ms = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            rest = rest[letters..].trim_start();
            total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        }
        Some(Self(total_ms))
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WallVisitor;
        impl Visitor<'_> for WallVisitor {
            type Value = Wall;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, such as 30m")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Wall, E> {
                Wall::parse(text).ok_or_else(|| {
                    E::custom(format!("`{text}` is not a time: write 45s, 30m, 1h30m or 2d"))
                })
            }
        }
        deserializer.deserialize_any(WallVisitor)
    }
}

/// Where a secret is. It is read at the last moment, and never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
}

impl SecretRef {
    /// Reads `env:NAME` or `file:PATH`; None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return is_variable(name).then(|| Self::Env(name.to_owned()));
        }
        let path = text.strip_prefix("file:")?;
        (!path.is_empty()).then(|| Self::File(path.into()))
    }

    /// Fetches the secret; paths are relative to `root`. The error names the reference, never
    /// what it holds.
    pub fn resolve(
        &self,
        root: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<SecretString, String> {
        match self {
            Self::Env(name) => match env(name) {
                Some(value) if !value.trim().is_empty() => Ok(value.into()),
                Some(_) => Err(format!("the environment variable {name} is empty")),
                None => Err(format!("the environment variable {name} is not set")),
            },
            Self::File(path) => {
                let path = root.join(path);
                let shown = path.display();
                let metadata = std::fs::metadata(&path)
                    .map_err(|error| format!("{shown} cannot be read: {error}"))?;
                if !metadata.is_file() || metadata.len() > SECRET_BYTES_MAX {
                    return Err(format!("{shown} is not a file with a secret"));
                }
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("{shown} cannot be read: {error}"))?;
                match text.trim() {
                    "" => Err(format!("{shown} is empty")),
                    secret => Ok(secret.to_owned().into()),
                }
            }
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        // The text is not repeated: it may be the key itself.
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(
                "a key does not belong into this file: write env:NAME or file:PATH, which say \
                 where it is",
            )
        })
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Text with references into the environment: `${NAME}`, `${NAME:-default}`, or as a whole
/// `env:NAME` or `file:PATH`. What it stands for is fetched when a server starts.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable { name: String, default: Option<String> },
    Secret(SecretRef),
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("env:") || (text.starts_with("file:") && !text.starts_with("file://")) {
            return SecretRef::parse(text)
                .map(|secret| Self(vec![Part::Secret(secret)]))
                .ok_or_else(|| "`env:` is followed by the name of a variable".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else {
                return Err("`${` without `}`".to_owned());
            };
            let inner = &rest[start + 2..start + length];
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inner, None),
            };
            if !is_variable(name) {
                return Err(format!("`${{{inner}}}` does not name an environment variable"));
            }
            if start > 0 {
                parts.push(Part::Literal(rest[..start].to_owned()));
            }
            parts.push(Part::Variable { name: name.to_owned(), default });
            rest = &rest[start + length + 1..];
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Returns the text if it stands in the file as it is.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the file that holds the whole of it.
    pub fn secret_file(&self) -> Option<&Path> {
        match self.0.as_slice() {
            [Part::Secret(SecretRef::File(path))] => Some(path),
            _ => None,
        }
    }

    /// Fetches what the references stand for.
    pub fn resolve(
        &self,
        root: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<SecretString, String> {
        use secrecy::ExposeSecret as _;
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable { name, default } => match (env(name), default) {
                    (Some(value), _) => text.push_str(&value),
                    (None, Some(default)) => text.push_str(default),
                    (None, None) => {
                        return Err(format!("the environment variable {name} is not set"));
                    }
                },
                Part::Secret(secret) => text.push_str(secret.resolve(root, env)?.expose_secret()),
            }
        }
        Ok(text.into())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(…)")
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Names and patterns of tools: a list, or text separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(pub Vec<String>);

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PatternsVisitor;
        impl<'de> Visitor<'de> for PatternsVisitor {
            type Value = Patterns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of tools")
            }
            fn visit_str<E>(self, text: &str) -> Result<Patterns, E> {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                Ok(Patterns(names.map(str::to_owned).collect()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    names.push(name.trim().to_owned());
                }
                Ok(Patterns(names))
            }
        }
        deserializer.deserialize_any(PatternsVisitor)
    }
}

/// A CEL expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprText(pub Expr);

impl<'de> Deserialize<'de> for ExprText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Expr::parse(text).map(Self).map_err(D::Error::custom)
    }
}

/// A value whose texts that start with `=` are CEL.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateText(pub Value);

impl<'de> Deserialize<'de> for TemplateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        check_template(&value).map_err(D::Error::custom)?;
        Ok(Self(value))
    }
}

fn check_template(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => match text.strip_prefix('=') {
            Some(rest) if !rest.starts_with('=') => {
                Expr::parse(rest.trim()).map(drop).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        },
        Value::Array(items) => items.iter().try_for_each(check_template),
        Value::Object(map) => map.values().try_for_each(check_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// A JSON Schema, or the path of a file with one.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaText {
    Inline(Value),
    File(PathBuf),
}

impl<'de> Deserialize<'de> for SchemaText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self::File(path.into())),
            schema @ (Value::Object(_) | Value::Bool(_)) => Ok(Self::Inline(schema)),
            Value::Null | Value::Number(_) | Value::Array(_) => {
                Err(D::Error::custom("expected a JSON Schema or the path of a .json file"))
            }
        }
    }
}

macro_rules! json_schemas {
    ($($type:ty, $name:literal => $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

json_schemas! {
    Usd, "Usd" => { "type": "number", "minimum": 0 };
    Wall, "Wall" => { "type": "string", "pattern": r"^\s*(\d+(ms|s|m|min|h|d)\s*)+$" };
    SecretRef, "SecretRef" => { "type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$" };
    Template, "Template" => { "type": "string" };
    Patterns, "Patterns" => {
        "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
    };
    ExprText, "Cel" => { "type": "string" };
    TemplateText, "ArgumentTemplate" => true;
    SchemaText, "SchemaOrPath" => { "type": ["object", "boolean", "string"] };
}
