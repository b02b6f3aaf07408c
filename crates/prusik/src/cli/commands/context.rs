//! `context`: what the model saw, piece by piece, byte by byte, or as a picture.

use std::io::Write as _;
use std::path::Path;

use prusik_core::event::CompactReason;
use prusik_core::ids::{RunId, Seq};
use serde_json::{Value, json};

use super::{Place, find_run};
use crate::cli::args::ContextArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::page::Page;
use crate::cli::text::{Paint, below, count, counted, one_line, printable};
use crate::context::{Change, ContextView, Segment, Which, html, svg};
use crate::library::Prusik;

/// Characters of a piece's name that fit beside the rest of a line.
const NAME_CHARS: usize = 40;

pub async fn context(place: &Place, args: ContextArgs) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, &args.run).await?;
    if args.svg.is_some() || args.html.is_some() {
        return drawn(place, &prusik, &id, args.svg.as_deref(), args.html.as_deref()).await;
    }
    let view = prusik.context(&id, args.at.map(Seq)).await?;
    if args.wire {
        return wire(&prusik, &view);
    }
    if let Some(since) = args.diff {
        let before = prusik.context(&id, Some(Seq(since))).await?;
        differs(place, &before, &view);
        return Ok(Exit::Done);
    }
    if place.json {
        put(&format!("{}\n", object(&view)));
    } else {
        put(&listing(&view, args.text, Paint::for_stdout()));
    }
    Ok(Exit::Done)
}

async fn drawn(
    place: &Place,
    prusik: &Prusik,
    id: &RunId,
    drawing: Option<&Path>,
    page: Option<&Path>,
) -> Result<Exit, Stopped> {
    let files = (drawing.map(Page::open).transpose()?, page.map(Page::open).transpose()?);
    let filling = prusik.filling(id).await?;
    if let Some(file) = files.0 {
        file.write(&svg(&filling))?;
    }
    if let Some(file) = files.1 {
        file.write(&html(&filling, &prusik.context(id, None).await?))?;
    }
    let written: Vec<String> =
        [drawing, page].into_iter().flatten().map(|path| path.display().to_string()).collect();
    if place.json {
        put(&format!("{}\n", json!({"run": id, "written": written})));
    } else {
        put(&format!(
            "{}: {}, {}\n",
            written.join(" and "),
            counted(filling.points.len(), "request"),
            counted(filling.compactions.len(), "compaction")
        ));
    }
    Ok(Exit::Done)
}

fn wire(prusik: &Prusik, view: &ContextView) -> Result<Exit, Stopped> {
    let Some(body) = prusik.wire_body(view)? else {
        return Err(Stopped::misuse(format!(
            "the model `{}` is no server's: nothing goes over a wire; `prusik context {} --json` has \
             the request",
            view.request.model.alias, view.run
        )));
    };
    let mut out = std::io::stdout().lock();
    // A reader that has gone away has read enough.
    let _ = out.write_all(&body).and_then(|()| out.flush());
    Ok(Exit::Done)
}

fn which(view: &ContextView) -> String {
    match view.which {
        Which::Answered(seq) => format!("the request that record {seq} answered"),
        Which::Next => "the request that comes next".to_owned(),
        Which::Last(seq) => format!("the last request so far, which record {seq} answered"),
        Which::Unsent => "the first request, which was never sent".to_owned(),
    }
}

fn reason(why: &CompactReason) -> String {
    match why {
        CompactReason::Threshold => "it has come near the window's end".to_owned(),
        CompactReason::Refused => "the provider has refused it".to_owned(),
        CompactReason::Asked { by } => format!("{} wants it", printable(by)),
    }
}

fn listing(view: &ContextView, with_text: bool, paint: Paint) -> String {
    let counted_by = if view.is_counted { "as the provider counted" } else { "estimated" };
    let mut facts = vec![format!("{} tokens, {counted_by}", count(view.tokens))];
    if let Some(window) = view.window {
        facts.push(format!("window {}", count(window.window_tokens)));
        facts.push(format!("made smaller from {}", count(window.threshold_tokens)));
    }
    facts.push(match view.compactions {
        0 => "nothing has left it".to_owned(),
        1 => "1 compaction".to_owned(),
        more => format!("{more} compactions"),
    });
    let mut text = format!(
        "{} {}: {} (turn {}, model {})\n{}\n",
        paint.bold("run"),
        view.run,
        which(view),
        view.turn,
        printable(&view.model),
        paint.dim(&facts.join(" · "))
    );
    if let Some(why) = &view.due {
        let line = format!("before it is sent, it is made smaller: {}", reason(why));
        text.push_str(&format!("{}\n", paint.yellow(&line)));
    }
    text.push('\n');
    for segment in &view.segments {
        text.push_str(&line(segment, "  ", paint));
        if with_text {
            text.push_str(&format!("  {}\n", paint.dim(&below(&segment.text))));
        }
    }
    text
}

fn line(segment: &Segment, sign: &str, paint: Paint) -> String {
    let name = one_line(&segment.name, NAME_CHARS);
    let label = printable(&segment.label.words()).into_owned();
    let label = if segment.label.is_trusted() { paint.dim(&label) } else { paint.yellow(&label) };
    let why = one_line(&segment.why, 120);
    format!("{sign}{:>9}  {name:<NAME_CHARS$}  {label} · {why}\n", count(segment.tokens))
}

fn differs(place: &Place, before: &ContextView, after: &ContextView) {
    let found = after.since(before);
    if place.json {
        let of = |wanted: fn(&Change) -> Option<Value>| -> Vec<Value> {
            found.changes.iter().filter_map(wanted).collect()
        };
        let object = json!({
            "run": after.run, "from": place_of(before.which), "to": place_of(after.which),
            "added": of(|change| match change {
                Change::Added(segment) => Some(segment_object(segment)),
                Change::Gone(_) | Change::Changed { .. } => None,
            }),
            "gone": of(|change| match change {
                Change::Gone(segment) => Some(segment_object(segment)),
                Change::Added(_) | Change::Changed { .. } => None,
            }),
            "changed": of(|change| match change {
                Change::Changed { before, after } => Some(json!({
                    "before": segment_object(before), "after": segment_object(after),
                })),
                Change::Added(_) | Change::Gone(_) => None,
            }),
            "same": found.same,
        });
        put(&format!("{object}\n"));
        return;
    }
    let paint = Paint::for_stdout();
    let mut text = format!("{} {}: {}\n", paint.bold("run"), after.run, which(after));
    text.push_str(&format!("{}\n\n", paint.dim(&format!("against {}", which(before)))));
    for change in &found.changes {
        match change {
            Change::Added(segment) => text.push_str(&line(segment, &paint.green("+ "), paint)),
            Change::Gone(segment) => text.push_str(&line(segment, &paint.red("- "), paint)),
            Change::Changed { before, after } => {
                text.push_str(&line(before, &paint.yellow("~ "), paint));
                text.push_str(&line(after, &paint.yellow("→ "), paint));
            }
        }
    }
    text.push_str(&format!("{} the same\n", counted(found.same, "piece")));
    put(&text);
}

fn place_of(which: Which) -> Value {
    match which {
        Which::Answered(seq) => json!({"answered": seq}),
        Which::Next => json!("next"),
        Which::Last(seq) => json!({"last": seq}),
        Which::Unsent => json!("unsent"),
    }
}

fn object(view: &ContextView) -> Value {
    let segments: Vec<Value> = view.segments.iter().map(segment_object).collect();
    let window = view.window;
    json!({
        "run": view.run,
        "agent": view.agent,
        "which": place_of(view.which),
        "turn": view.turn,
        "purpose": view.purpose,
        "model": view.model,
        "tokens": view.tokens,
        "counted": view.is_counted,
        "window_tokens": window.map(|window| window.window_tokens),
        "room_tokens": window.map(|window| window.room_tokens),
        "threshold_tokens": window.map(|window| window.threshold_tokens),
        "compactions": view.compactions,
        "due": view.due,
        "segments": segments,
    })
}

fn segment_object(segment: &Segment) -> Value {
    json!({
        "kind": segment.kind.as_str(),
        "name": segment.name,
        "turn": segment.turn,
        "call": segment.call,
        "record": segment.record,
        "bytes": segment.bytes,
        "tokens": segment.tokens,
        "label": segment.label.sources,
        "why": segment.why,
        "text": segment.text,
    })
}
