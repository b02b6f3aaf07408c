//! The picture of a window that fills: one drawing, no other file, light and dark.

use prusik_check::escaped;

use super::fill::{Compacted, Filling, Group, Point};
use crate::cli::text::count;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 44.0;
/// Columns that are drawn at most: of several requests in one, the fullest.
const COLUMNS_MAX: usize = 600;
/// A window that is many times what is ever in it would leave nothing to see.
const WINDOW_SHARE_MIN: f64 = 0.2;
/// Least distance of the numbers of two compactions.
const NUMBER_APART: f64 = 26.0;

/// The colours of the two themes, for other drawings on the same page as well.
const STYLE: &str = "\
.fill{--ink:#1c2430;--dim:#667085;--line:#e2e6ec;--page:#fff;--fixed:#667085;--head:#6941c6;\
--history:#c11574;--messages:#2e90fa;--folded:#12b76a;--limit:#b42318}\
@media(prefers-color-scheme:dark){.fill{--ink:#e6e9ef;--dim:#98a2b3;--line:#2b3340;--page:#171c24;\
--fixed:#98a2b3;--head:#b692f6;--history:#f670c7;--messages:#53b1fd;--folded:#47cd89;--limit:#f97066}}\
.fill text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)}\
.fill .title{font-size:15px;font-weight:600}.fill .dim{fill:var(--dim)}.fill .end{text-anchor:end}\
.fill .mid{text-anchor:middle}.fill .grid{stroke:var(--line)}.fill .paper{fill:var(--page)}\
.fill .fixed{fill:var(--fixed)}.fill .head{fill:var(--head)}.fill .history{fill:var(--history)}\
.fill .messages{fill:var(--messages)}.fill .folded{fill:var(--folded)}\
.fill .limit{stroke:var(--limit);stroke-width:1.5}.fill .threshold{stroke:var(--limit);\
stroke-dasharray:5 4}.fill .limit-text{fill:var(--limit)}.fill .compacted{stroke:var(--ink);\
stroke-dasharray:2 3;opacity:.7}.fill .hit{fill:transparent}";

fn class(group: Group) -> &'static str {
    match group {
        Group::Fixed => "fixed",
        Group::Head => "head",
        Group::History => "history",
        Group::Messages => "messages",
        Group::Folded => "folded",
    }
}

/// A column: the requests that it stands for, and the fullest of them.
struct Column {
    first: usize,
    last: usize,
    point: Point,
}

/// Returns the drawing as a document of its own, which may also stand within a page.
pub(crate) fn svg(filling: &Filling) -> String {
    let columns = columns(&filling.points);
    let most = columns.iter().map(|column| column.point.total()).max().unwrap_or(0);
    let scale = Scale::of(filling, most, columns.len());
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fill\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        escaped(&format!("The context of run {}, request by request", filling.run)),
    );
    drawing.push_str(&head(filling));
    drawing.push_str(&grid(&scale));
    drawing.push_str(&areas(&columns, &scale));
    drawing.push_str(&limits(filling, &scale));
    drawing.push_str(&turns(&columns, &scale));
    drawing.push_str(&compactions(filling, &columns, &scale));
    drawing.push_str(&hits(&columns, &scale));
    if columns.is_empty() {
        let (x, y) = (WIDTH / 2.0, HEIGHT / 2.0);
        let text = "the model has not answered yet";
        drawing.push_str(&format!("<text class=\"dim mid\" x=\"{x}\" y=\"{y}\">{text}</text>\n"));
    }
    drawing.push_str("</svg>\n");
    drawing
}

fn columns(points: &[Point]) -> Vec<Column> {
    let each = points.len().div_ceil(COLUMNS_MAX).max(1);
    let chunks = points.chunks(each).enumerate();
    chunks
        .filter_map(|(index, chunk)| {
            let point = chunk.iter().max_by_key(|point| point.total())?;
            let first = index * each;
            Some(Column { first, last: first + chunk.len() - 1, point: *point })
        })
        .collect()
}

/// From tokens and columns to places.
struct Scale {
    top_tokens: u64,
    step_tokens: u64,
    columns: usize,
    shows_window: bool,
}

impl Scale {
    fn of(filling: &Filling, most: u64, columns: usize) -> Self {
        let window = filling.window.map_or(0, |window| window.window_tokens);
        #[expect(clippy::cast_precision_loss, reason = "a picture is not that fine")]
        let shows_window = window > 0 && most as f64 >= window as f64 * WINDOW_SHARE_MIN;
        let top = if shows_window { most.max(window) } else { most };
        let step_tokens = step(top);
        let top_tokens = top.max(1).div_ceil(step_tokens).saturating_mul(step_tokens);
        Self { top_tokens, step_tokens, columns, shows_window }
    }

    #[expect(clippy::cast_precision_loss, reason = "a picture is not that fine")]
    fn y(&self, tokens: u64) -> f64 {
        let share = tokens.min(self.top_tokens) as f64 / self.top_tokens as f64;
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    #[expect(clippy::cast_precision_loss, reason = "a picture is not that fine")]
    fn x(&self, column: usize) -> f64 {
        LEFT + column as f64 / self.columns.max(1) as f64 * (WIDTH - LEFT - RIGHT)
    }
}

/// Returns a round number of which about five fit.
fn step(top: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = step.saturating_mul(factor);
            if top / step <= 5 {
                return step;
            }
        }
        step = step.saturating_mul(10);
    }
}

fn head(filling: &Filling) -> String {
    let title = format!("run {} · agent {} · {}", filling.run, filling.agent, filling.model);
    let mut text =
        format!("<text class=\"title\" x=\"{LEFT}\" y=\"26\">{}</text>\n", escaped(&title));
    let mut x = LEFT;
    for group in Group::ALL {
        let (class, words) = (class(group), group.words());
        text.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"40\" width=\"11\" height=\"11\" rx=\"2\"/>\
             <text x=\"{}\" y=\"50\">{words}</text>\n",
            x + 16.0
        ));
        #[expect(clippy::cast_precision_loss, reason = "words are short")]
        let width = words.len() as f64 * 6.6;
        x += 16.0 + width + 18.0;
    }
    text
}

fn grid(scale: &Scale) -> String {
    let mut text = String::new();
    let mut next = Some(0_u64);
    while let Some(tokens) = next.filter(|tokens| *tokens <= scale.top_tokens) {
        let y = scale.y(tokens);
        text.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"dim end\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            count(tokens)
        ));
        next = tokens.checked_add(scale.step_tokens);
    }
    text
}

/// Draws each group on top of those before it, a step for each column.
fn areas(columns: &[Column], scale: &Scale) -> String {
    let mut text = String::new();
    let mut below = vec![0u64; columns.len()];
    for group in Group::ALL {
        let above: Vec<u64> = columns
            .iter()
            .zip(&below)
            .map(|(column, below)| below + column.point.tokens[group as usize])
            .collect();
        if above == below {
            continue;
        }
        let mut path = String::new();
        for (index, tokens) in above.iter().enumerate() {
            let (from, to, y) = (scale.x(index), scale.x(index + 1), scale.y(*tokens));
            let letter = if index == 0 { 'M' } else { 'L' };
            path.push_str(&format!("{letter}{from:.1} {y:.1}H{to:.1}"));
        }
        for (index, tokens) in below.iter().enumerate().rev() {
            let (from, to, y) = (scale.x(index), scale.x(index + 1), scale.y(*tokens));
            path.push_str(&format!("L{to:.1} {y:.1}H{from:.1}"));
        }
        text.push_str(&format!("<path class=\"{}\" d=\"{path}Z\"/>\n", class(group)));
        below = above;
    }
    text
}

fn limits(filling: &Filling, scale: &Scale) -> String {
    let Some(window) = filling.window else { return String::new() };
    let (from, to) = (LEFT, WIDTH - RIGHT);
    if !scale.shows_window {
        let words = format!(
            "window {}, made smaller from {}: beyond the picture",
            count(window.window_tokens),
            count(window.threshold_tokens)
        );
        let y = TOP - 8.0;
        return format!("<text class=\"limit-text end\" x=\"{to}\" y=\"{y}\">{words}</text>\n");
    }
    // The numbers of compactions stand above the highest line.
    let line = |class: &str, tokens: u64, words: &str, below: f64| {
        let y = scale.y(tokens);
        format!(
            "<line class=\"{class}\" x1=\"{from}\" x2=\"{to}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"limit-text end\" x=\"{to}\" y=\"{:.1}\">{words}</text>\n",
            y + below
        )
    };
    let window_words = format!("window {}", count(window.window_tokens));
    let threshold_words = format!("made smaller from {}", count(window.threshold_tokens));
    line("limit", window.window_tokens, &window_words, 14.0)
        + &line("threshold", window.threshold_tokens, &threshold_words, -4.0)
}

fn turns(columns: &[Column], scale: &Scale) -> String {
    let y = HEIGHT - BOTTOM + 18.0;
    let mut text = String::new();
    let shown = 12.min(columns.len());
    for nth in 0..shown {
        let index = nth * columns.len() / shown;
        let x = f64::midpoint(scale.x(index), scale.x(index + 1));
        let turn = columns[index].point.turn;
        text.push_str(&format!("<text class=\"dim mid\" x=\"{x:.1}\" y=\"{y}\">{turn}</text>\n"));
    }
    let (x, y) = (LEFT, HEIGHT - 8.0);
    text.push_str(&format!("<text class=\"dim\" x=\"{x}\" y=\"{y}\">tokens, by turn</text>\n"));
    text
}

fn compactions(filling: &Filling, columns: &[Column], scale: &Scale) -> String {
    let mut text = String::new();
    let mut last_number = f64::MIN;
    for (number, compacted) in (1..).zip(&filling.compactions) {
        let column = columns.iter().position(|column| column.last >= compacted.behind);
        let x = scale.x(column.unwrap_or(columns.len()));
        let bottom = HEIGHT - BOTTOM;
        text.push_str(&format!(
            "<g><title>{}</title><line class=\"compacted\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" \
             y2=\"{bottom}\"/>",
            escaped(&words(number, compacted)),
            TOP - 4.0
        ));
        if x - last_number >= NUMBER_APART {
            last_number = x;
            text.push_str(&format!(
                "<text class=\"mid\" x=\"{x:.1}\" y=\"{}\">⇊{number}</text>",
                TOP - 8.0
            ));
        }
        text.push_str("</g>\n");
    }
    text
}

fn words(number: usize, compacted: &Compacted) -> String {
    format!(
        "{number}: record {}: {} to {} tokens, {}; {}",
        compacted.seq,
        count(compacted.tokens_before),
        count(compacted.tokens_after),
        compacted.words(),
        compacted.reason()
    )
}

/// What is said of a column when somebody points at it.
fn hits(columns: &[Column], scale: &Scale) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        let (from, to) = (scale.x(index), scale.x(index + 1));
        let Point { seq, turn, tokens } = column.point;
        let parts = Group::ALL.into_iter().filter(|group| tokens[*group as usize] > 0);
        let parts: Vec<String> = parts
            .map(|group| format!("{} {}", group.words(), count(tokens[group as usize])))
            .collect();
        let more = match column.last - column.first {
            0 => String::new(),
            more => format!(", the fullest of {} requests", more + 1),
        };
        let total = count(column.point.total());
        text.push_str(&format!(
            "<rect class=\"hit\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>turn \
             {turn}, answered by record {seq}{more}: {total} tokens: {}</title></rect>\n",
            to - from,
            HEIGHT - TOP - BOTTOM,
            parts.join(", ")
        ));
    }
    text
}
