//! What certify found, for people, for scripts, and as a page.

use prusik_core::contract::EffectClass;
use serde_json::{Value, json};

use super::claim::{Judged, Verdict};
use crate::cli::text::{Paint, counted, one_line, printable};

/// Longest piece of text in a table of the page.
const CELL_CHARS_MAX: usize = 400;

/// What was found of each claim.
#[derive(Debug, Clone)]
pub struct Report {
    pub servers: Vec<String>,
    pub tools: Vec<(String, EffectClass)>,
    pub seed: u64,
    /// By tool and claim.
    pub judged: Vec<Judged>,
}

impl Report {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.judged.iter().filter(|judged| judged.verdict == verdict).count()
    }

    fn of<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a Judged> {
        self.judged.iter().filter(move |judged| judged.tool == tool)
    }

    /// Returns what was found in a sentence.
    fn summary(&self) -> String {
        format!(
            "{}: {} held, {}, {} not tested",
            counted(self.tools.len(), "tool"),
            counted(self.count(Verdict::Holds), "claim"),
            match self.count(Verdict::Lie) {
                1 => "1 lie".to_owned(),
                lies => format!("{lies} lies"),
            },
            self.count(Verdict::Untested),
        )
    }

    pub fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        for (tool, effect) in &self.tools {
            text.push_str(&format!("{} {}\n", paint.bold(&printable(tool)), effect.as_str()));
            for judged in self.of(tool) {
                let (mark, says) = match judged.verdict {
                    Verdict::Holds => (paint.green("✓"), paint.dim(&printable(&judged.says))),
                    Verdict::Lie => (paint.red("✗"), printable(&judged.says).into_owned()),
                    Verdict::Untested => (paint.yellow("?"), printable(&judged.says).into_owned()),
                };
                text.push_str(&format!("  {mark} {}: {says}\n", printable(&judged.title())));
                if judged.verdict == Verdict::Lie {
                    for line in &judged.evidence {
                        text.push_str(&format!("      {}\n", paint.dim(&printable(line))));
                    }
                }
            }
        }
        text.push_str(&format!("{}\n", self.summary()));
        text
    }

    /// Returns an object for each claim, and one for all of them.
    pub fn json(&self, exit_code: u8) -> Vec<Value> {
        let mut lines: Vec<Value> = self.judged.iter().map(Judged::to_json).collect();
        lines.push(json!({
            "tools": self.tools.len(), "holds": self.count(Verdict::Holds),
            "lies": self.count(Verdict::Lie), "untested": self.count(Verdict::Untested),
            "seed": self.seed, "exit_code": exit_code,
        }));
        lines
    }

    /// Returns a page in Markdown.
    pub fn markdown(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(|name| format!("`{name}`")).collect();
        let mut text = format!(
            "# What {} claims, and what was found\n\n{}. Found by `prusik certify` {} with seed {}.\n",
            servers.join(" and "),
            self.summary(),
            env!("CARGO_PKG_VERSION"),
            self.seed,
        );
        for (tool, effect) in &self.tools {
            text.push_str(&format!("\n## `{}` ({})\n\n", printable(tool), effect.as_str()));
            text.push_str("| claim | verdict | what was seen |\n| --- | --- | --- |\n");
            for judged in self.of(tool) {
                let verdict = match judged.verdict {
                    Verdict::Holds => "holds",
                    Verdict::Lie => "**lie**",
                    Verdict::Untested => "not tested",
                };
                text.push_str(&format!(
                    "| {} | {verdict} | {} |\n",
                    cell(&judged.title()),
                    cell(&judged.says)
                ));
            }
            for judged in self.of(tool).filter(|judged| judged.verdict == Verdict::Lie) {
                let calls: Vec<String> = judged
                    .evidence
                    .iter()
                    .map(|line| printable(line).replace("```", "'''"))
                    .collect();
                text.push_str(&format!(
                    "\nThe calls behind “{}”:\n\n```text\n{}\n```\n",
                    judged.title(),
                    calls.join("\n")
                ));
            }
        }
        text
    }
}

/// Returns text for a cell of a table, in which nothing but the text is marked up.
fn cell(text: &str) -> String {
    let line = one_line(text, CELL_CHARS_MAX);
    let mut cell = String::with_capacity(line.len());
    for char in line.chars() {
        // Quotes of code would take what follows for code, too, where the text is cut.
        let char = if char == '`' { '\'' } else { char };
        if matches!(char, '|' | '<' | '*' | '_' | '[' | ']' | '\\') {
            cell.push('\\');
        }
        cell.push(char);
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::claim::Claim;

    fn report() -> Report {
        let judged = |claim, verdict, says: &str| Judged {
            tool: "bank__pay".to_owned(),
            claim,
            kind: None,
            verdict,
            says: says.to_owned(),
            evidence: vec!["bank__pay {\"a\": 1} → \u{1b}[2J".to_owned()],
        };
        Report {
            servers: vec!["bank".to_owned()],
            tools: vec![("bank__pay".to_owned(), EffectClass::Write)],
            seed: 1,
            judged: vec![
                judged(Claim::ProbeSeesLanded, Verdict::Holds, "it says so"),
                judged(Claim::UndoReverses, Verdict::Lie, "a|b <script>"),
                judged(Claim::AnswersInTime, Verdict::Untested, "no example"),
            ],
        }
    }

    #[test]
    fn each_form_has_every_claim_and_steers_nothing() {
        let report = report();
        let text = report.text(Paint::off());
        assert!(text.contains("✗ the undo leaves all as it was: a|b"), "{text}");
        assert!(text.ends_with("1 tool: 1 claim held, 1 lie, 1 not tested\n"), "{text}");
        let page = report.markdown();
        assert!(page.contains("a\\|b \\<script>") && page.contains("**lie**"), "{page}");
        for shown in [&text, &page] {
            assert!(!shown.contains('\u{1b}') && shown.contains("u{1b}"), "{shown}");
        }
        let lines = report.json(1);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1]["verdict"], "lie");
        assert_eq!(lines[3]["lies"], 1);
    }
}
