//! The report as one page: no script, no other file, nothing that a tool says is markup.

use std::collections::BTreeSet;

use crate::finding::{Counts, Finding, Severity};
use crate::report::{AgentReport, Fact, Report, Section, ToolFacts};
use crate::words::hides;

use super::picture::picture;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#667085;--line:#e2e6ec;--card:#fff;--page:#f6f7f9;\
--error:#b42318;--warning:#b54708;--note:#175cd3;--good:#067647}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#2b3340;--card:#171c24;\
--page:#0f1319;--error:#f97066;--warning:#fdb022;--note:#53b1fd;--good:#47cd89}}\
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);\
font:15px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}\
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.25rem 5rem}\
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.25rem;margin:2.5rem 0 .75rem}\
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}p{margin:.25rem 0}.dim{color:var(--dim)}\
code{font:.9em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}\
.counts{display:flex;gap:.75rem;flex-wrap:wrap;margin:1rem 0}\
.count,.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem}\
.count{padding:.6rem 1rem}.count b{display:block;font-size:1.4rem}\
.card{padding:.85rem 1rem;margin:.6rem 0;border-left:4px solid var(--line)}\
.error{--c:var(--error)}.warning{--c:var(--warning)}.note{--c:var(--note)}.good{--c:var(--good)}\
.card.error,.card.warning,.card.note{border-left-color:var(--c)}.count b{color:var(--c)}\
.tag{color:var(--c,var(--dim));border:1px solid currentColor;border-radius:1rem;padding:0 .55rem;\
font-size:.8rem;white-space:nowrap}\
summary{cursor:pointer;font-weight:600}summary .tag{margin-left:.5rem;font-weight:400}\
table{border-collapse:collapse;width:100%;margin-top:.6rem}\
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-top:1px solid var(--line)}\
th{width:10rem;color:var(--dim);font-weight:500}\
@media(max-width:40rem){main{padding-top:1.25rem}th,td{display:block;width:auto;padding:.3rem 0 0}\
td{border-top:0;padding-top:0}}\
.blast{width:100%;min-width:44rem;font-size:13px;margin:.5rem 0}.blast text{fill:var(--ink)}\
.frame{overflow-x:auto}.blast .b-dim{fill:var(--dim);font-size:11px}\
.b-open{--c:var(--error)}.b-bounded{--c:var(--warning)}.b-asks{--c:var(--note)}\
.b-never,.b-quiet,.b-read,.b-model{--c:var(--dim)}.b-box{fill:var(--card);stroke:var(--c);stroke-width:1.5}\
.b-line{fill:none;stroke:var(--c);stroke-width:1.6}.b-line.b-open{stroke-width:3.5}\
.b-line.b-asks{stroke-dasharray:7 4}.b-line.b-never{stroke-dasharray:2 5}.b-tip{fill:var(--c)}";

/// Returns a page of its own: no script, no other file. `body` is markup.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<title>{}</title>\n<style>{STYLE}</style></head>\n\
         <body><main>\n{body}</main></body></html>\n",
        escaped(title)
    )
}

/// Returns the report as a page. `project` is its title; `problems` are what could not be looked at.
pub fn html(report: &Report, project: &str, problems: &[String]) -> String {
    let counts = report.counts();
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"dim\">What is known before anything runs.</p>\n{}",
        escaped(project),
        head(report, counts)
    );
    for problem in problems {
        body.push_str(&format!(
            "<div class=\"card error\"><p><span class=\"tag error\">not heard</span> {}</p>\
             <p class=\"dim\">What this server offers is missing below.</p></div>\n",
            escaped(problem)
        ));
    }
    for section in &report.sections {
        body.push_str(&self::section(section));
    }
    page(&format!("{project} – Prusik check"), &body)
}

fn head(report: &Report, counts: Counts) -> String {
    // A tool that several agents hold is one tool.
    let tools = report.sections.iter().flat_map(|s| &s.agents).flat_map(|agent| &agent.tools);
    let people: BTreeSet<&str> =
        tools.filter(|tool| tool.needs_person).map(|tool| tool.tool.as_str()).collect();
    let people = people.len();
    let plural = |number: usize, one: &'static str, many: &'static str| {
        if number == 1 { one } else { many }
    };
    let cell = |class: &str, number: usize, what: &str| {
        format!("<div class=\"count {class}\"><b>{number}</b>{what}</div>\n")
    };
    let class = |number: usize, class: &'static str| if number > 0 { class } else { "good" };
    format!(
        "<div class=\"counts\">\n{}{}{}{}</div>\n",
        cell(class(counts.error, "error"), counts.error, plural(counts.error, "error", "errors")),
        cell(
            class(counts.warning, "warning"),
            counts.warning,
            plural(counts.warning, "warning", "warnings")
        ),
        cell("note", counts.note, plural(counts.note, "note", "notes")),
        cell(
            class(people, "warning"),
            people,
            plural(
                people,
                "tool that may need a person after a crash",
                "tools that may need a person after a crash"
            )
        ),
    )
}

fn section(section: &Section) -> String {
    let mut text =
        format!("<h2 id=\"{}\">{}</h2>\n", section.question.id(), section.question.text());
    for agent in &section.agents {
        text.push_str(&self::agent(agent));
    }
    text.push_str("<h3>Findings</h3>\n");
    if section.findings.is_empty() {
        text.push_str("<p class=\"dim\">None.</p>\n");
    }
    section.findings.iter().for_each(|found| text.push_str(&finding(found)));
    if !section.suppressed.is_empty() {
        text.push_str("<h3>Accepted</h3>\n");
    }
    for accepted in &section.suppressed {
        text.push_str(&format!(
            "<div class=\"card\"><p><code>{}</code> {} <span class=\"tag\">{}</span></p>\
             <p class=\"dim\">{}</p></div>\n",
            escaped(accepted.finding.tool.as_deref().unwrap_or_default()),
            escaped(&accepted.finding.message),
            accepted.finding.rule.id(),
            escaped(&accepted.reason),
        ));
    }
    text
}

fn agent(agent: &AgentReport) -> String {
    let mut text = format!("<h3>Agent <code>{}</code></h3>\n", escaped(&agent.agent));
    if let Some(blast) = &agent.blast {
        let picture = picture(&agent.agent, blast);
        text.push_str(&format!("<div class=\"frame\">\n{picture}</div>\n"));
    }
    if !agent.facts.is_empty() {
        text.push_str(&format!(
            "<div class=\"card\"><table>{}</table></div>\n",
            rows(&agent.facts)
        ));
    } else if agent.tools.is_empty() {
        text.push_str("<p class=\"dim\">It holds no tools.</p>\n");
    }
    agent.tools.iter().for_each(|tool| text.push_str(&self::tool(tool)));
    text
}

fn tool(tool: &ToolFacts) -> String {
    let class = if tool.needs_person { "warning" } else { "good" };
    let rows = rows(&tool.facts);
    let hint = if tool.needs_person { "a person may be asked" } else { "resolves alone" };
    format!(
        "<details class=\"card\"><summary><code>{}</code><span class=\"tag\">{}</span>\
         <span class=\"tag {class}\">{hint}</span></summary>\n<table>{rows}</table></details>\n",
        escaped(&tool.tool),
        tool.effect,
    )
}

fn rows(facts: &[Fact]) -> String {
    let row = |fact: &Fact| {
        format!(
            "<tr><th>{}</th><td>{}</td></tr>\n",
            fact.about,
            marked(&fact.text).replace('\n', "<br>")
        )
    };
    facts.iter().map(row).collect::<Vec<_>>().concat()
}

fn finding(finding: &Finding) -> String {
    let class = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let place = finding.place.as_ref().map_or(String::new(), |place| {
        format!(" · <code>{}:{}</code>", escaped(&place.file), place.line)
    });
    format!(
        "<div class=\"card {class}\"><p><span class=\"tag\">{class}</span> <code>{}</code> {}</p>\
         <p class=\"dim\">{}</p><p class=\"dim\"><code>{}</code>{place}</p></div>\n",
        escaped(finding.tool.as_ref().or(finding.agent.as_ref()).map_or("", String::as_str)),
        marked(&finding.message),
        marked(&finding.help),
        finding.rule.id(),
    )
}

/// Returns text with what stands between back quotes set as code.
fn marked(text: &str) -> String {
    let mut marked = String::new();
    let parts: Vec<&str> = text.split('`').collect();
    let is_paired = parts.len() % 2 == 1;
    for (index, part) in parts.iter().enumerate() {
        match (index % 2 == 1, is_paired) {
            (true, true) => marked.push_str(&format!("<code>{}</code>", escaped(part))),
            (_, true) => marked.push_str(&escaped(part)),
            (_, false) => {
                marked.push_str(if index > 0 { "`" } else { "" });
                marked.push_str(&escaped(part));
            }
        }
    }
    marked
}

/// Returns text that means itself in a page, in an attribute, too. What steers the direction of
/// the text, or hides in it, is shown by its number.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char if hides(char) && char != '\n' => safe.extend(char.escape_unicode()),
            char => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_tool_says_is_markup() {
        let text = marked("a `<script>alert(1)</script>` \u{202e}&\"'");
        assert_eq!(
            text,
            "a <code>&lt;script&gt;alert(1)&lt;/script&gt;</code> \\u{202e}&amp;&quot;&#39;"
        );
        assert_eq!(marked("one ` only"), "one ` only");
    }
}
