//! How a run's context filled, as one page.

use prusik_check::{escaped, page};

use super::fill::Filling;
use super::picture::svg;
use super::segments::Segment;
use super::{ContextView, Which};
use crate::cli::text::{count, counted};

const STYLE: &str = "\
figure{margin:1rem 0;overflow-x:auto}figure svg{display:block;width:100%;min-width:44rem;height:auto;\
border:1px solid var(--line);border-radius:.6rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;\
font:.85em ui-monospace,SFMono-Regular,Menlo,monospace;margin:.4rem 0 0}\
.wide th{width:auto}.num{text-align:right}summary{font-weight:400}";

/// Returns the page: the picture, what each compaction did, and what the model is shown last.
pub(crate) fn html(filling: &Filling, newest: &ContextView) -> String {
    let run = filling.run.to_string();
    let most = filling.points.iter().map(super::fill::Point::total).max().unwrap_or(0);
    let cell = |number: String, what: &str| {
        format!("<div class=\"count\"><b>{number}</b>{}</div>\n", escaped(what))
    };
    let window = filling.window.map_or(String::new(), |window| {
        cell(count(window.window_tokens), "tokens the window takes")
    });
    let mut body = format!(
        "<style>{STYLE}</style><h1>The context of run <code>{}</code></h1>\n<p class=\"dim\">agent {} · \
         model {}</p>\n<div class=\"counts\">\n{}{}{}{window}</div>\n<figure>{}</figure>\n",
        escaped(&run),
        escaped(&filling.agent),
        escaped(&filling.model),
        cell(filling.points.len().to_string(), "requests that were answered"),
        cell(filling.compactions.len().to_string(), "compactions"),
        cell(count(most), "tokens in the largest request"),
        svg(filling)
    );
    body.push_str(&compactions(filling));
    body.push_str(&shown(newest));
    page(&format!("The context of run {run}"), &body)
}

fn compactions(filling: &Filling) -> String {
    if filling.compactions.is_empty() {
        return "<h2>Compactions</h2>\n<p class=\"dim\">None: nothing has left the context.</p>\n"
            .to_owned();
    }
    let mut text = "<h2>Compactions</h2>\n<table class=\"wide\"><tr><th>#</th><th>record</th>\
                    <th class=\"num\">tokens before</th><th class=\"num\">after</th><th>what was done</th>\
                    <th>why</th></tr>\n"
        .to_owned();
    for (number, compacted) in (1..).zip(&filling.compactions) {
        text.push_str(&format!(
            "<tr><td>{number}</td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td>{}; {} \
             hold</td><td>{}</td></tr>\n",
            compacted.seq,
            count(compacted.tokens_before),
            count(compacted.tokens_after),
            escaped(&compacted.words()),
            counted(compacted.checked, "check"),
            escaped(&compacted.reason()),
        ));
    }
    text + "</table>\n"
}

fn shown(view: &ContextView) -> String {
    let which = match view.which {
        Which::Answered(seq) | Which::Last(seq) => {
            format!("the request that record {seq} answered")
        }
        Which::Next => "the request that comes next".to_owned(),
        Which::Unsent => "the first request, which was never sent".to_owned(),
    };
    let about = if view.is_counted { "" } else { "about " };
    let mut text = format!(
        "<h2>What the model is shown</h2>\n<p class=\"dim\">{which}: {about}{} tokens</p>\n",
        count(view.tokens)
    );
    view.segments.iter().for_each(|one| text.push_str(&segment(one)));
    text
}

fn segment(segment: &Segment) -> String {
    let class = if segment.label.is_trusted() { "good" } else { "warning" };
    format!(
        "<details class=\"card\"><summary><code>{}</code><span class=\"tag\">{} tokens</span>\
         <span class=\"tag {class}\">{}</span> <span class=\"dim\">{}</span></summary><pre>{}</pre>\
         </details>\n",
        escaped(&segment.name),
        count(segment.tokens),
        escaped(&segment.label.words()),
        escaped(&segment.why),
        escaped(&segment.text),
    )
}
