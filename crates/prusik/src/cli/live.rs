//! What `prusik run` shows while it runs: text as it comes, a line per call, and what is waited for.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use prusik_core::event::Event;
use prusik_core::ids::CallId;
use prusik_core::model::Purpose;
use prusik_core::run::Run;
use prusik_engine::{Notice, Observer};
use prusik_model::Delta;

use super::text::{Paint, count, one_line, printable, usd};
use super::timeline::Timeline;
use crate::library::Fact;

/// Longest reason for a refusal that is shown.
const REFUSED_CHARS: usize = 300;

/// Shows a run to a person.
pub struct Live {
    screen: Mutex<Screen>,
    paint: Paint,
}

struct Screen {
    spinner: Option<ProgressBar>,
    /// Whether text of the model is on the current line.
    mid_line: bool,
    running: BTreeMap<CallId, String>,
    timeline: Timeline,
    tokens: u64,
    nano_usd: u64,
}

impl Live {
    pub fn new(run: &Run, paint: Paint) -> Self {
        let mut timeline = Timeline::new(Arc::clone(run.definition()), paint);
        timeline.remember(run.state());
        let spinner = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .expect("the template is fixed and valid");
            ProgressBar::new_spinner().with_style(style)
        });
        let screen = Screen {
            spinner,
            mid_line: false,
            running: BTreeMap::new(),
            timeline,
            tokens: run.state().spent.tokens,
            nano_usd: run.state().spent.nano_usd,
        };
        Self { screen: Mutex::new(screen), paint }
    }

    /// Takes in what happened before, so that its calls can be named.
    pub fn learn(&self, facts: &[Fact]) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        for fact in facts {
            screen.timeline.lines(&fact.event, fact.at, false);
        }
    }

    /// Clears what is in motion, so that others may print.
    pub fn finish(&self) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.end_line();
        if let Some(spinner) = screen.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

impl Screen {
    fn line(&mut self, line: &str) {
        self.end_line();
        put(&format!("{line}\n"));
    }

    fn end_line(&mut self) {
        self.pause();
        if std::mem::take(&mut self.mid_line) {
            put("\n");
        }
    }

    fn pause(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.disable_steady_tick();
            spinner.set_message("");
            spinner.finish_and_clear();
        }
    }

    fn waiting_for(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.reset();
            spinner.set_message(what.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(120));
        }
    }

    fn wait_for_calls(&self) {
        let names: Vec<&str> = self.running.values().map(String::as_str).collect();
        if !names.is_empty() {
            self.waiting_for(&format!("waiting for {}", names.join(", ")));
        }
    }

    fn delta(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(text) => {
                self.pause();
                put(&printable(text));
                self.mid_line = !text.ends_with('\n');
            }
            Delta::Thinking(_) => {
                if !self.mid_line {
                    self.waiting_for("the model thinks");
                }
            }
            Delta::ToolUse { name } => {
                self.end_line();
                self.waiting_for(&format!("the model writes a call of {}", one_line(name, 40)));
            }
        }
    }

    fn event(&mut self, event: &Event, lines: Vec<String>, paint: Paint) {
        if let Event::ModelAnswered(answered) = event {
            self.tokens += answered.usage.total();
            self.nano_usd += answered.nano_usd;
            let cost = if self.nano_usd > 0 {
                format!(" · {}", usd(self.nano_usd))
            } else {
                String::new()
            };
            let line =
                format!("turn {} · {} tokens so far{cost}", answered.turn, count(self.tokens));
            self.line(&paint.dim(&line));
        }
        if let Event::SummaryAnswered(answered) = event {
            self.tokens += answered.usage.total();
            self.nano_usd += answered.nano_usd;
        }
        if let Event::CallCompleted(completed) = event {
            self.running.remove(&completed.call);
        }
        // Why a run is parked is said at the end, with what to do about it.
        if !matches!(event, Event::RunParked(_)) {
            for line in lines {
                self.line(&line);
            }
        }
        self.wait_for_calls();
    }
}

impl Observer for Live {
    fn notice(&self, notice: Notice<'_>) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Event { at, event, .. } => {
                let lines = screen.timeline.lines(event, at, false);
                screen.event(event, lines, self.paint);
            }
            Notice::Durable { .. } => {}
            Notice::Delta(delta) => screen.delta(delta),
            Notice::Progress { call, text } => {
                screen.waiting_for(&format!("{call}: {}", one_line(text, 100)));
            }
            Notice::ModelCalled { purpose: Purpose::Turn } => {
                screen.waiting_for("waiting for the model");
            }
            Notice::ModelCalled { purpose: Purpose::Summary } => {
                screen.waiting_for("waiting for a summary");
            }
            Notice::Refused { by, rejected } => {
                let why = one_line(&rejected.to_string(), REFUSED_CHARS);
                let line = format!("  ! what {} wants is refused: {why}", printable(by));
                screen.line(&self.paint.yellow(&line));
            }
            Notice::CallBegun { call, tool, probe } => {
                let what = if probe { format!("{tool} (probe)") } else { tool.to_owned() };
                screen.running.insert(call, what);
                screen.wait_for_calls();
            }
        }
    }
}

/// Writes a line to standard error. A reader that has gone away is no reason to stop.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes to standard output at once. A reader that has gone away is no reason to stop the run.
pub fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
