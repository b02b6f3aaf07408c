//! The blast radius as a picture: what is read on the left, the model, what it may do on the right. What
//! stops a call is said by the line's colour, its dashes, and in words.

use super::html::escaped;
use crate::blast::{Blast, Hold, Level, Says, Sink};

/// Most boxes in a column.
const BOXES_MAX: usize = 24;
/// Longest name in a box, in characters.
const NAME_CHARS_MAX: usize = 30;
const WIDTH: usize = 920;
const BOX_WIDTH: usize = 250;
const BOX_HEIGHT: usize = 40;
const GAP: usize = 14;
const TOP: usize = 34;

/// A box of a column: its name, what is said below it, and the class of its line.
struct Node {
    name: String,
    says: String,
    class: &'static str,
}

/// Returns the picture as SVG.
pub(super) fn picture(agent: &str, blast: &Blast) -> String {
    let sources = column(blast.sources.iter().map(|source| Node {
        name: source.tool.clone(),
        says: says(&source.says),
        class: if source.says == Says::Failures { "b-quiet" } else { "b-read" },
    }));
    let mut sinks: Vec<&Sink> = blast.sinks.iter().collect();
    // The worst comes first, so that it is never among those that are left out.
    sinks.sort_by_key(|sink| std::cmp::Reverse(sink.level));
    let mut sinks = column(sinks.into_iter().map(|sink| Node {
        name: sink.tool.clone(),
        says: format!("{}: {}", sink.effect, stops(sink)),
        class: class(sink.level),
    }));
    sinks.push(Node {
        name: "the final answer".to_owned(),
        says: "its words: nothing stands between".to_owned(),
        class: "b-quiet",
    });
    let rows = sources.len().max(sinks.len());
    let height = TOP + rows * (BOX_HEIGHT + GAP) + 34;
    let middle = TOP + rows * (BOX_HEIGHT + GAP) / 2;
    let mut svg = format!(
        "<svg class=\"blast\" viewBox=\"-4 0 {} {height}\" role=\"img\" aria-label=\"{}\">\n<title>{}\
         </title>\n",
        WIDTH + 8,
        escaped(&described(agent, blast)),
        escaped(&format!("What agent {agent} can be made to do")),
    );
    svg.push_str(&label(0, "reads from outside"));
    svg.push_str(&label(WIDTH - BOX_WIDTH, "can be made to call"));
    let model = (WIDTH / 2 - 65, WIDTH / 2 + 65);
    for (row, node) in sources.iter().enumerate() {
        let y = center(row, sources.len(), rows);
        svg.push_str(&line(BOX_WIDTH, y, model.0, middle, node.class));
    }
    for (row, node) in sinks.iter().enumerate() {
        let y = center(row, sinks.len(), rows);
        svg.push_str(&line(model.1, middle, WIDTH - BOX_WIDTH, y, node.class));
    }
    let held = match blast.hold {
        Hold::Nothing => "not contained",
        Hold::Words => "held to trusted texts",
        Hold::Plan | Hold::PlanOrPerson => "held to its plan",
    };
    let node = Node { name: "the model".to_owned(), says: held.to_owned(), class: "b-model" };
    svg.push_str(&boxed(model.0, middle, 130, &node));
    for (row, node) in sources.iter().enumerate() {
        svg.push_str(&boxed(0, center(row, sources.len(), rows), BOX_WIDTH, node));
    }
    for (row, node) in sinks.iter().enumerate() {
        let y = center(row, sinks.len(), rows);
        svg.push_str(&boxed(WIDTH - BOX_WIDTH, y, BOX_WIDTH, node));
    }
    svg.push_str(&legend(height - 12));
    svg.push_str("</svg>\n");
    svg
}

fn column(nodes: impl Iterator<Item = Node>) -> Vec<Node> {
    let mut nodes: Vec<Node> = nodes.collect();
    if nodes.len() > BOXES_MAX {
        let more = nodes.len() - BOXES_MAX + 1;
        nodes.truncate(BOXES_MAX - 1);
        let (name, says) = (format!("{more} more"), "told below".to_owned());
        nodes.push(Node { name, says, class: "b-quiet" });
    }
    nodes
}

fn says(says: &Says) -> String {
    match says {
        Says::Anything => "anybody writes all that it returns".to_owned(),
        Says::Places(places) => format!("anybody writes {}", places.join(", ")),
        Says::Failures => "only what its failures say".to_owned(),
    }
}

fn stops(sink: &Sink) -> &'static str {
    match sink.level {
        Level::Open => "nothing stands between",
        Level::Bounded => "as far as its plan is open",
        Level::Asks => "a person is asked",
        Level::Never => "never",
    }
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Open => "b-open",
        Level::Bounded => "b-bounded",
        Level::Asks => "b-asks",
        Level::Never => "b-never",
    }
}

/// Says the picture in words, for who does not see it.
fn described(agent: &str, blast: &Blast) -> String {
    let names = |level: Level| {
        let names: Vec<&str> =
            blast.at(level).map(|sink| sink.tool.as_str()).take(BOXES_MAX).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    format!(
        "Agent {agent} reads from outside with {} tools. With nothing between it can be made to call: {}. \
         Within an open plan: {}. If a person says yes: {}. Never: {}.",
        blast.sources.len(),
        names(Level::Open),
        names(Level::Bounded),
        names(Level::Asks),
        names(Level::Never)
    )
}

/// Returns the middle of a row's box; the shorter column stands in the middle of the longer one.
fn center(row: usize, own: usize, rows: usize) -> usize {
    let step = BOX_HEIGHT + GAP;
    TOP + (rows - own) * step / 2 + row * step + step / 2
}

fn label(x: usize, text: &str) -> String {
    format!("<text class=\"b-dim\" x=\"{x}\" y=\"16\">{}</text>\n", escaped(text))
}

fn line(from: usize, y: usize, to: usize, end: usize, class: &str) -> String {
    let half = usize::midpoint(from, to);
    format!(
        "<path class=\"b-line {class}\" d=\"M{from} {y} C{half} {y} {half} {end} {tip} {end}\"/>\
         <polygon class=\"b-tip {class}\" points=\"{to},{end} {tip},{} {tip},{}\"/>\n",
        end - 4,
        end + 4,
        tip = to - 8,
    )
}

fn boxed(x: usize, y: usize, width: usize, node: &Node) -> String {
    let top = y - BOX_HEIGHT / 2;
    let inside = x + 12;
    format!(
        "<g><title>{}</title><rect class=\"b-box {}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" \
         height=\"{BOX_HEIGHT}\" rx=\"7\"/><text x=\"{inside}\" y=\"{}\">{}</text><text class=\"b-dim\" \
         x=\"{inside}\" y=\"{}\">{}</text></g>\n",
        escaped(&format!("{}: {}", node.name, node.says)),
        node.class,
        top + 17,
        escaped(&cut(&node.name, NAME_CHARS_MAX)),
        top + 32,
        escaped(&cut(&node.says, NAME_CHARS_MAX + 8)),
    )
}

fn legend(y: usize) -> String {
    let entries = [
        ("b-open", "nothing between"),
        ("b-bounded", "as far as a plan is open"),
        ("b-asks", "a person says yes"),
        ("b-never", "never"),
    ];
    let entry = |(index, (class, text)): (usize, &(&str, &str))| {
        let x = index * 215;
        format!(
            "<path class=\"b-line {class}\" d=\"M{x} {} H{}\"/><text class=\"b-dim\" x=\"{}\" y=\"{y}\">{text}\
             </text>\n",
            y - 4,
            x + 34,
            x + 42
        )
    };
    entries.iter().enumerate().map(entry).collect::<Vec<_>>().concat()
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
