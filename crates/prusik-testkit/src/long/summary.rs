//! Summaries, made of what the request shows and of nothing else, and the ways in which they fail.

use std::borrow::Cow;

use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{ModelError, StopReason};
use prusik_core::run::HISTORY;
use serde::Serialize;
use serde_json::json;

use super::answer::Said;
use super::faults::Fault;
use super::reading::{self, Shown};
use super::scenario::WORK;
use super::words;

/// How much a summarizer says that says too much, in bytes.
const TOO_LONG_BYTES: usize = 200_000;
/// How the earlier summary begins in what `LangChain` sends, and how it ends there.
const EARLIER: (&str, &str) = ("Here is a summary of the conversation to date:", "</message>");

/// The document that Prusik asks for.
#[derive(Debug, Default, Serialize)]
struct Document {
    asked: String,
    done: Vec<String>,
    learned: Vec<String>,
    decided: Vec<String>,
    open: Vec<String>,
    files: Vec<String>,
    handles: Vec<Named>,
}

#[derive(Debug, Serialize)]
struct Named {
    handle: String,
    what: String,
}

impl Document {
    fn of(shown: &Shown) -> Self {
        let rule = shown.amount.as_deref().map(words::rule);
        let mut document = Self {
            asked: ["Go through the orders with `work`, step by step, then report."]
                .into_iter()
                .chain(rule.as_deref())
                .collect::<Vec<_>>()
                .join(" "),
            ..Self::default()
        };
        if let Some((step, steps)) = shown.done {
            document.done.push(words::done(step, steps));
            if step < steps {
                document.open.push(format!("Steps {} to {steps} are left.", step + 1));
            }
        }
        document.decided.extend(shown.decision().map(|decision| decision.sentence()));
        if let Some((step, handle)) = &shown.table {
            match handle {
                Some(handle) => {
                    let what = words::table(*step, handle);
                    document.handles.push(Named { handle: handle.clone(), what });
                }
                None => document.learned.push(format!("Step {step} brought the stock table.")),
            }
        }
        if let Some(question) = &shown.question {
            document.open.push(words::question(question));
            let seal = shown.seal.as_ref().map(|seal| words::seal(question.seal_step, seal));
            document.learned.extend(seal);
            let row = shown
                .bin
                .as_ref()
                .map(|bin| format!("Row of the stock table: part:{},bin:{bin}.", question.part));
            document.learned.extend(row);
        }
        document
    }

    fn text(&self) -> String {
        json!(self).to_string()
    }
}

/// What a summary is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The document that Prusik asks for, as JSON.
    Document,
    /// Words under headings.
    Prose,
}

/// Answers a request for a summary.
pub fn summary(
    fault: Option<Fault>,
    form: Form,
    texts: &[Cow<'_, str>],
) -> Result<Said, ModelError> {
    let shown = look(fault, texts);
    if let Some(said) = instead(fault, &shown)? {
        return Ok(said);
    }
    let mut document = Document::of(&shown);
    spoil(fault, &mut document, &shown);
    let text = if form == Form::Prose || fault == Some(Fault::Prose) {
        in_words(&document)
    } else {
        document.text()
    };
    Ok(if fault == Some(Fault::Truncated) { cut(&text) } else { Said::text(text) })
}

/// Does to the document what the fault does.
fn spoil(fault: Option<Fault>, document: &mut Document, shown: &Shown) {
    match fault {
        Some(Fault::InventsHandles) => {
            let (handle, what) = ("99999.7".to_owned(), "The contract of the customer.".to_owned());
            document.handles.push(Named { handle, what });
        }
        Some(Fault::CopiesInstruction) => {
            document.open.extend(shown.injection.as_ref().map(|order| format!("{order}.")));
        }
        Some(Fault::TooLong) => {
            let item = "An order was looked at, and all was well with it.";
            document.done.extend(vec![item.to_owned(); TOO_LONG_BYTES / item.len()]);
        }
        None
        | Some(
            Fault::Empty
            | Fault::Truncated
            | Fault::Prose
            | Fault::CallsTool
            | Fault::Forgets
            | Fault::Refuses
            | Fault::Fails(_),
        ) => {}
    }
}

/// Returns what the summarizer sees; a forgetful one looks past what is a summary already.
fn look(fault: Option<Fault>, texts: &[Cow<'_, str>]) -> Shown {
    if fault == Some(Fault::Forgets) {
        let fresh: Vec<Cow<'_, str>> = texts
            .iter()
            .filter(|text| !text.starts_with(HISTORY))
            .map(|text| without_earlier(text))
            .collect();
        return reading::shown(fresh.iter().map(Cow::as_ref));
    }
    reading::shown(texts.iter().map(Cow::as_ref))
}

fn without_earlier(text: &str) -> Cow<'_, str> {
    let (begin, end) = EARLIER;
    let Some((before, rest)) = text.split_once(begin) else { return Cow::Borrowed(text) };
    let after = rest.split_once(end).map_or("", |(_, after)| after);
    Cow::Owned(format!("{before}{after}"))
}

fn in_words(document: &Document) -> String {
    let list = |items: &[String]| match items {
        [] => "None".to_owned(),
        items => items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"),
    };
    let summary = [&document.done[..], &document.learned, &document.decided].concat();
    let artefacts: Vec<String> = document.handles.iter().map(|named| named.what.clone()).collect();
    format!(
        "## SESSION INTENT\n{}\n\n## SUMMARY\n{}\n\n## ARTIFACTS\n{}\n\n## NEXT STEPS\n{}",
        document.asked,
        list(&summary),
        list(&artefacts),
        list(&document.open)
    )
}

/// Returns the first half of a text, cut as at the token limit.
fn cut(text: &str) -> Said {
    let half = text[..text.floor_char_boundary(text.len() / 2)].to_owned();
    Said { stop: StopReason::MaxTokens, ..Said::text(half) }
}

/// Returns what a summarizer says that does not sum up at all.
fn instead(fault: Option<Fault>, shown: &Shown) -> Result<Option<Said>, ModelError> {
    match fault {
        Some(Fault::Empty) => Ok(Some(Said { content: Vec::new(), stop: StopReason::EndTurn })),
        Some(Fault::CallsTool) => {
            let step = shown.done.map_or(1, |(step, _)| step + 1);
            let input = ToolInput::Json(json!({ "step": step }));
            let (id, name) = ("toolu_instead_of_a_summary".to_owned(), WORK.to_owned());
            let content = vec![Block::ToolUse(ToolUse { id, name, input })];
            Ok(Some(Said { content, stop: StopReason::ToolUse }))
        }
        Some(Fault::Refuses) => {
            let said = Said::text("I cannot help with that.".to_owned());
            Ok(Some(Said { stop: StopReason::Refusal, ..said }))
        }
        Some(Fault::Fails(kind)) => Err(ModelError::new(kind, "the summarizer fails on purpose")),
        None
        | Some(
            Fault::TooLong
            | Fault::Truncated
            | Fault::Prose
            | Fault::InventsHandles
            | Fault::CopiesInstruction
            | Fault::Forgets,
        ) => Ok(None),
    }
}
