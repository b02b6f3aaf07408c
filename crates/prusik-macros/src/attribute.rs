//! The attribute's keys: what a tool's contract says beyond its schema.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprUnary, Ident, Lit, LitStr, Meta, MetaNameValue, Token, UnOp};

use crate::text::{Complaints, name_of, said_once, unknown_key};

const KEYS: [&str; 11] = [
    "effect",
    "key",
    "probe",
    "undo",
    "record",
    "name",
    "timeout_ms",
    "retry",
    "result_bytes_max",
    "empty",
    "parallel",
];

const EFFECT_HELP: &str = "`effect = \"read\"` changes nothing, `effect = \"idempotent\"` may be \
     repeated with its key, `effect = \"write\"` must not be repeated";

/// What the attribute says.
#[derive(Default)]
pub(crate) struct Keys {
    pub effect: Option<(Effect, Span)>,
    pub key: Option<(Key, Span)>,
    pub probe: Option<(Probe, Span)>,
    pub undo: Option<(Other, Span)>,
    record: Option<(Record, Span)>,
    pub name: Option<LitStr>,
    timeout_ms: Option<u64>,
    retry: Retry,
    result_bytes_max: Option<u64>,
    empty_fails: bool,
    parallel: bool,
    /// Whether an effect was named that does not exist.
    effect_is_wrong: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Idempotent,
    Write,
}

pub(crate) enum Key {
    /// In this parameter.
    Argument(LitStr),
    Call,
}

/// Another tool and how it is called.
#[derive(Default)]
pub(crate) struct Other {
    tool: Option<LitStr>,
    pub arguments: Vec<(String, Literal, Span)>,
}

#[derive(Default)]
pub(crate) struct Probe {
    pub other: Other,
    landed: Option<LitStr>,
    result: Option<LitStr>,
    wait_ms: Option<u64>,
}

/// What of a result goes into the ledger.
#[derive(Default)]
struct Record {
    kind: Option<Ident>,
    text: Option<LitStr>,
    when: Option<LitStr>,
}

#[derive(Default)]
struct Retry {
    attempts_max: Option<u32>,
    backoff_ms: Option<u64>,
    backoff_ms_max: Option<u64>,
    deadline_ms: Option<u64>,
}

/// A value of an argument template.
pub(crate) enum Literal {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
}

type Metas = Punctuated<Meta, Token![,]>;

/// Reads the attribute. What is wrong goes to `complaints`; `function` is where the tool is.
pub(crate) fn read(tokens: TokenStream, function: Span, complaints: &mut Complaints) -> Keys {
    let mut keys = Keys::default();
    let Some(metas) = complaints.take(Metas::parse_terminated.parse2(tokens)) else { return keys };
    complaints.take(said_once(&metas, "`#[tool(…)]`"));
    for meta in &metas {
        let read = keys.read(meta, complaints);
        complaints.take(read);
    }
    keys.check(function, complaints);
    keys
}

impl Keys {
    fn read(&mut self, meta: &Meta, complaints: &mut Complaints) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "effect" => {
                let effect = text(meta)?;
                let read = match effect.value().as_str() {
                    "read" => Effect::Read,
                    "idempotent" => Effect::Idempotent,
                    "write" => Effect::Write,
                    other => {
                        self.effect_is_wrong = true;
                        let message = format!("`{other}` is no effect: {EFFECT_HELP}");
                        return Err(syn::Error::new(effect.span(), message));
                    }
                };
                self.effect = Some((read, effect.span()));
            }
            "key" => self.key = Some((key(meta)?, meta.span())),
            "probe" => self.probe = Some((probe(meta, complaints)?, meta.span())),
            "undo" => {
                let mut other = Other::default();
                for inner in &list(meta, "tool = \"…\", arguments(…)")? {
                    let name = name_of(inner);
                    if !other.read(inner)? {
                        complaints.add(unknown_key(inner.span(), &name, "`undo`", &UNDO_KEYS));
                    }
                }
                self.undo = Some((other, meta.span()));
            }
            "record" => self.record = Some((record(meta, complaints)?, meta.span())),
            "name" => self.name = Some(tool_name(text(meta)?)?),
            "timeout_ms" => self.timeout_ms = Some(count(meta)?),
            "result_bytes_max" => self.result_bytes_max = Some(count(meta)?),
            "retry" => self.retry = retry(meta, complaints)?,
            "empty" => {
                let empty = text(meta)?;
                self.empty_fails = match empty.value().as_str() {
                    "error" => true,
                    "ok" => false,
                    _ => {
                        let message = "`empty` is \"ok\" or \"error\": what an empty result is";
                        return Err(syn::Error::new(empty.span(), message));
                    }
                };
            }
            "parallel" => match meta {
                Meta::Path(_) => self.parallel = true,
                Meta::List(_) | Meta::NameValue(_) => {
                    return Err(syn::Error::new(meta.span(), "`parallel` stands alone"));
                }
            },
            other => return Err(unknown_key(meta.span(), other, "`#[tool(…)]`", &KEYS)),
        }
        Ok(())
    }

    /// Checks what the keys say together.
    fn check(&self, function: Span, complaints: &mut Complaints) {
        let Some((effect, effect_span)) = self.effect else {
            if !self.effect_is_wrong {
                let message = format!("say what a call does to the world: {EFFECT_HELP}");
                complaints.say(function, message);
            }
            return;
        };
        match (&self.key, effect) {
            (None, Effect::Idempotent) => complaints.say(
                effect_span,
                "say how a repeated call is known: `key(argument = \"…\")` names the parameter that \
                 carries the key, which the runtime fills; `key(call)` says that the same arguments \
                 are the same call",
            ),
            (Some((_, span)), Effect::Read | Effect::Write) => complaints.say(
                *span,
                "a `key` makes a call repeatable: set `effect = \"idempotent\"`, or remove the key",
            ),
            (None, Effect::Read | Effect::Write) | (Some(_), Effect::Idempotent) => {}
        }
        if effect == Effect::Read {
            if let Some((_, span)) = &self.undo {
                complaints.say(*span, "a read leaves nothing to undo: remove `undo`");
            }
            if let Some((_, span)) = &self.probe {
                complaints.say(
                    *span,
                    "a read whose answer is lost is made again, nothing is asked: remove `probe`",
                );
            }
        }
        if let Some((record, span)) = &self.record {
            if record.kind.is_none() {
                complaints
                    .say(*span, format!("say what the entry is: `kind = \"fact\"`; {KINDS_HELP}"));
            }
            if record.text.is_none() {
                complaints.say(
                    *span,
                    "say what is recorded: `text = \"'paid as ' + result.id\"`, in CEL over `args` and \
                     `result`",
                );
            }
        }
        if let Some((undo, span)) = &self.undo
            && undo.tool.is_none()
        {
            complaints.say(*span, "name the tool that reverses this one: `undo(tool = \"…\")`");
        }
        if let Some((probe, span)) = &self.probe {
            if probe.other.tool.is_none() {
                complaints.say(*span, "name the tool that is asked: `probe(tool = \"…\")`");
            }
            if probe.landed.is_none() {
                complaints.say(
                    *span,
                    "say what in the probe's result means that the call landed: \
                     `landed = \"result.found\"`, in CEL over `result`, `args` and `key`",
                );
            }
        }
    }
}

const UNDO_KEYS: [&str; 2] = ["tool", "arguments"];
const PROBE_KEYS: [&str; 5] = ["tool", "arguments", "landed", "result", "wait_ms"];
const RECORD_KEYS: [&str; 3] = ["kind", "text", "when"];
const KINDS_HELP: &str =
    "there are `goal`, `constraint`, `decision`, `fact`, `question` and `artefact`";
const RETRY_KEYS: [&str; 4] = ["attempts_max", "backoff_ms", "backoff_ms_max", "deadline_ms"];

fn key(meta: &Meta) -> syn::Result<Key> {
    let message = "a key is `key(argument = \"…\")` or `key(call)`";
    let wrong = |span| syn::Error::new(span, message);
    let metas = list(meta, "argument = \"…\"")?;
    let Some(only) = metas.first().filter(|_| metas.len() == 1) else {
        return Err(wrong(meta.span()));
    };
    match (name_of(only).as_str(), only) {
        ("argument", _) => Ok(Key::Argument(text(only)?)),
        ("call", Meta::Path(_)) => Ok(Key::Call),
        (_, _) => Err(wrong(only.span())),
    }
}

fn probe(meta: &Meta, complaints: &mut Complaints) -> syn::Result<Probe> {
    let mut probe = Probe::default();
    for inner in &list(meta, "tool = \"…\", arguments(…), landed = \"…\"")? {
        match name_of(inner).as_str() {
            "landed" => probe.landed = Some(text(inner)?),
            "result" => probe.result = Some(text(inner)?),
            "wait_ms" => probe.wait_ms = Some(number(inner)?),
            name => {
                if !probe.other.read(inner)? {
                    complaints.add(unknown_key(inner.span(), name, "`probe`", &PROBE_KEYS));
                }
            }
        }
    }
    Ok(probe)
}

fn record(meta: &Meta, complaints: &mut Complaints) -> syn::Result<Record> {
    let mut record = Record::default();
    for inner in &list(meta, "kind = \"fact\", text = \"…\"")? {
        match name_of(inner).as_str() {
            "kind" => {
                let kind = text(inner)?;
                let variant = match kind.value().as_str() {
                    "goal" => "Goal",
                    "constraint" => "Constraint",
                    "decision" => "Decision",
                    "fact" => "Fact",
                    "question" => "Question",
                    "artefact" => "Artefact",
                    other => {
                        let message = format!("`{other}` is no kind of entry: {KINDS_HELP}");
                        return Err(syn::Error::new(kind.span(), message));
                    }
                };
                record.kind = Some(Ident::new(variant, kind.span()));
            }
            "text" => record.text = Some(text(inner)?),
            "when" => record.when = Some(text(inner)?),
            name => complaints.add(unknown_key(inner.span(), name, "`record`", &RECORD_KEYS)),
        }
    }
    Ok(record)
}

fn retry(meta: &Meta, complaints: &mut Complaints) -> syn::Result<Retry> {
    let mut retry = Retry::default();
    for inner in &list(meta, "attempts_max = 3")? {
        match name_of(inner).as_str() {
            "attempts_max" => {
                let attempts = number(inner)?;
                let fits = u32::try_from(attempts).ok().filter(|n| (1..=100).contains(n));
                retry.attempts_max = Some(fits.ok_or_else(|| {
                    let message = "`attempts_max` is between 1 and 100; 1 means no retry";
                    syn::Error::new(inner.span(), message)
                })?);
            }
            "backoff_ms" => retry.backoff_ms = Some(number(inner)?),
            "backoff_ms_max" => retry.backoff_ms_max = Some(number(inner)?),
            "deadline_ms" => retry.deadline_ms = Some(count(inner)?),
            name => complaints.add(unknown_key(inner.span(), name, "`retry`", &RETRY_KEYS)),
        }
    }
    Ok(retry)
}

impl Other {
    /// Reads a key that a probe and an undo share; false if it is none of them.
    fn read(&mut self, meta: &Meta) -> syn::Result<bool> {
        match name_of(meta).as_str() {
            "tool" => self.tool = Some(text(meta)?),
            "arguments" => {
                for argument in &list(meta, "name = \"=args.name\"")? {
                    let name = name_of(argument);
                    self.arguments.push((name, literal(argument)?, argument.span()));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn list(meta: &Meta, example: &str) -> syn::Result<Metas> {
    match meta {
        Meta::List(list) => {
            let metas = list.parse_args_with(Metas::parse_terminated)?;
            said_once(&metas, &format!("`{}`", name_of(meta)))?;
            Ok(metas)
        }
        Meta::Path(_) | Meta::NameValue(_) => {
            let name = name_of(meta);
            Err(syn::Error::new(meta.span(), format!("write `{name}({example})`")))
        }
    }
}

/// Returns the literal behind a key.
fn value<'a>(meta: &'a Meta, example: &str) -> syn::Result<&'a Expr> {
    match meta {
        Meta::NameValue(MetaNameValue { value, .. }) => Ok(value),
        Meta::Path(_) | Meta::List(_) => {
            let name = name_of(meta);
            Err(syn::Error::new(meta.span(), format!("write `{name} = {example}`")))
        }
    }
}

fn text(meta: &Meta) -> syn::Result<LitStr> {
    match value(meta, "\"…\"")? {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        other => {
            let message = format!("`{}` is a text: write it in quotes", name_of(meta));
            Err(syn::Error::new(other.span(), message))
        }
    }
}

fn number(meta: &Meta) -> syn::Result<u64> {
    match value(meta, "1000")? {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse(),
        other => {
            let message = format!("`{}` is a whole number, 0 or more", name_of(meta));
            Err(syn::Error::new(other.span(), message))
        }
    }
}

fn count(meta: &Meta) -> syn::Result<u64> {
    match number(meta)? {
        0 => {
            let message = format!("`{}` is 1 or more: leave it out for the default", name_of(meta));
            Err(syn::Error::new(meta.span(), message))
        }
        number => Ok(number),
    }
}

fn literal(meta: &Meta) -> syn::Result<Literal> {
    let expression = value(meta, "\"=args.name\"")?;
    let wrong = || {
        let message = "an argument is a text, a number, `true` or `false`; a text that starts with \
                       `=` is CEL";
        syn::Error::new(expression.span(), message)
    };
    let (negative, inner) = match expression {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => (true, expr.as_ref()),
        other => (false, other),
    };
    let Expr::Lit(ExprLit { lit, .. }) = inner else { return Err(wrong()) };
    match lit {
        Lit::Str(text) if !negative => Ok(Literal::Text(text.value())),
        Lit::Bool(value) if !negative => Ok(Literal::Bool(value.value)),
        Lit::Int(number) => {
            let number: i64 = number.base10_parse()?;
            Ok(Literal::Int(if negative { -number } else { number }))
        }
        Lit::Float(number) => {
            let number: f64 = number.base10_parse()?;
            Ok(Literal::Float(if negative { -number } else { number }))
        }
        _ => Err(wrong()),
    }
}

/// Checks the name that a model is to call the tool by.
pub(crate) fn tool_name(name: LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !(1..=64).contains(&text.len()) || !text.chars().all(fits) || text.contains("__") {
        let message = format!(
            "`{text}` cannot be the name of a tool: use up to 64 letters, digits, `_` and `-`, \
             without `__`, which stands between a server and its tools; `name = \"…\"` gives another"
        );
        return Err(syn::Error::new(name.span(), message));
    }
    Ok(name)
}

/// Returns the argument that an expression takes whole, such as `amount` in `=args.amount`.
pub(crate) fn argument_used(literal: &Literal) -> Option<&str> {
    let Literal::Text(text) = literal else { return None };
    let used = text.strip_prefix("=args.")?;
    used.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(used)
}

impl ToTokens for Literal {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Self::Text(text) => quote!(::prusik::__private::Literal::Text(#text)),
            Self::Bool(value) => quote!(::prusik::__private::Literal::Bool(#value)),
            Self::Int(number) => quote!(::prusik::__private::Literal::Int(#number)),
            Self::Float(number) => quote!(::prusik::__private::Literal::Float(#number)),
        });
    }
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    let some = value.map(|value| quote!(::core::option::Option::Some(#value)));
    some.unwrap_or_else(|| quote!(::core::option::Option::None))
}

fn arguments(other: &Other) -> TokenStream {
    let arguments = other.arguments.iter().map(|(name, literal, _)| quote!((#name, #literal)));
    quote!(&[#(#arguments),*])
}

impl Keys {
    /// Returns the fields of `prusik::__private::Terms`.
    pub(crate) fn terms(&self) -> TokenStream {
        let effect = match self.effect {
            Some((Effect::Read, _)) => quote!(Read),
            Some((Effect::Idempotent, _)) => quote!(Idempotent),
            Some((Effect::Write, _)) | None => quote!(Write),
        };
        let key = option(self.key.as_ref().map(|(key, _)| match key {
            Key::Argument(name) => quote!(::prusik::__private::Key::Argument(#name)),
            Key::Call => quote!(::prusik::__private::Key::Call),
        }));
        let probe = option(self.probe.as_ref().map(|(probe, _)| {
            let (tool, arguments) = (&probe.other.tool, arguments(&probe.other));
            let (landed, result) = (&probe.landed, option(probe.result.as_ref()));
            let wait_ms = option(probe.wait_ms);
            quote!(::prusik::__private::Probe {
                tool: #tool, arguments: #arguments, landed: #landed, result: #result,
                wait_ms: #wait_ms,
            })
        }));
        let undo = option(self.undo.as_ref().map(|(undo, _)| {
            let (tool, arguments) = (&undo.tool, arguments(undo));
            quote!(::prusik::__private::Undo { tool: #tool, arguments: #arguments })
        }));
        let record = option(self.record.as_ref().map(|(record, _)| {
            let (kind, text, when) = (&record.kind, &record.text, option(record.when.as_ref()));
            quote!(::prusik::__private::Record {
                kind: ::prusik::__private::EntryKind::#kind, text: #text, when: #when,
            })
        }));
        let (timeout_ms, bytes_max) = (option(self.timeout_ms), option(self.result_bytes_max));
        let Retry { attempts_max, backoff_ms, backoff_ms_max, deadline_ms } = &self.retry;
        let (attempts_max, backoff_ms) = (option(*attempts_max), option(*backoff_ms));
        let (backoff_ms_max, deadline_ms) = (option(*backoff_ms_max), option(*deadline_ms));
        let (empty_fails, parallel) = (self.empty_fails, self.parallel);
        quote! {
            effect: ::prusik::__private::EffectClass::#effect,
            key: #key, probe: #probe, undo: #undo, record: #record,
            timeout_ms: #timeout_ms, result_bytes_max: #bytes_max,
            retry: ::prusik::__private::RetryConfig {
                attempts_max: #attempts_max, backoff_ms: #backoff_ms,
                backoff_ms_max: #backoff_ms_max, deadline_ms: #deadline_ms,
            },
            empty_fails: #empty_fails, parallel: #parallel,
        }
    }
}
