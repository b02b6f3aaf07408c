//! Drives the built program through one run, with a person who answers, until the run has ended.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use prusik_core::event::{Event, ModelAnswered};
use prusik_core::ids::{Attempt, CallId};
use prusik_core::message::{ToolInput, ToolUse};
use prusik_core::run::calls_of;
use serde::Deserialize as _;
use serde_json::Value;

use super::person::is_own;
use super::{Person, Script};

/// Most times that a run is put back to work.
const RESUMES_MAX: usize = 100;

/// A run of a script.
pub struct Trial<'a> {
    /// The built program.
    pub prusik: &'a Path,
    /// The project, which has had no run yet.
    pub folder: &'a Path,
    pub env: &'a [(&'a str, &'a str)],
    pub agent: &'a str,
    /// The server whose tools the script names.
    pub server: &'a str,
    pub script: &'a Script,
    pub person: Person,
    /// The line of the first process' output behind which it is killed, and how long behind.
    pub kill: Option<(usize, Duration)>,
    /// Says how often a call of this tool with these arguments has had its effect, from the server's own
    /// record: what a person would look up of a call in doubt.
    pub landed: &'a dyn Fn(&str, &Value) -> io::Result<usize>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Course {
    /// The final answer.
    pub answer: String,
    /// The questions that the person was asked.
    pub asked: usize,
    /// Those of them that were about calls that the task takes.
    pub asked_own: usize,
    /// The lines that the first process printed.
    pub lines: usize,
    /// Whether the first process was killed before it had ended.
    pub killed: bool,
    /// The calls in doubt that the person settled.
    pub settled: usize,
}

/// A run that did not get to its end.
#[derive(Debug)]
pub struct TrialError(String);

impl fmt::Display for TrialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TrialError {}

impl From<io::Error> for TrialError {
    fn from(error: io::Error) -> Self {
        Self(format!("cannot drive the program: {error}"))
    }
}

impl Trial<'_> {
    /// Drives the run to its end.
    pub fn run(&self) -> Result<Course, TrialError> {
        let mut course = Course::default();
        let begin = ["run", "--json", self.agent, self.script.prompt.as_str()];
        let mut output = match self.kill {
            Some((line, delay)) => self.killed(&begin, line, delay, &mut course)?,
            None => self.prusik(&begin)?,
        };
        course.lines = String::from_utf8_lossy(&output.stdout).lines().count();
        for _ in 0..RESUMES_MAX {
            let (status, begun) = self.status(&output)?;
            if let Some(answer) = status["ended"]["completed"]["answer"].as_str() {
                answer.clone_into(&mut course.answer);
                return Ok(course);
            }
            let parked = &status["parked"];
            if parked["approval"].is_object() {
                self.answer(&mut course)?;
            } else if parked["in_doubt"].is_object() {
                self.settle(&mut course)?;
            } else if status != "running" || !course.killed {
                return Err(self.error("the run cannot go on", &output));
            }
            output = self.prusik(if begun { &["resume", "--json", "last"] } else { &begin })?;
        }
        Err(self.error("the run does not end", &output))
    }

    /// Returns how the run stands, and whether there is one: a process that was killed does not say it, and
    /// may have left none.
    fn status(&self, output: &Output) -> Result<(Value, bool), TrialError> {
        if let Some(status) = last_status(output) {
            return Ok((status, true));
        }
        if self.asked_of_prusik(&["runs", "--json"])?.is_empty() {
            return Ok(("running".into(), false));
        }
        let shown = self.asked_of_prusik(&["show", "--json", "last"])?;
        let status = shown.first().map(|shown| shown["status"].clone());
        Ok((status.unwrap_or_default(), true))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.prusik);
        command.current_dir(self.folder).args(arguments).envs(self.env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn prusik(&self, arguments: &[&str]) -> io::Result<Output> {
        self.command(arguments).output()
    }

    /// Calls the program, which must succeed, and returns the objects that it prints.
    fn asked_of_prusik(&self, arguments: &[&str]) -> Result<Vec<Value>, TrialError> {
        let output = self.prusik(arguments)?;
        if output.status.success() {
            Ok(json_lines(&output))
        } else {
            Err(self.error(&format!("`prusik {}` failed", arguments.join(" ")), &output))
        }
    }

    /// Calls the program and kills it behind a line of its output, unless it has ended by then.
    fn killed(
        &self,
        arguments: &[&str],
        line: usize,
        delay: Duration,
        course: &mut Course,
    ) -> io::Result<Output> {
        let mut child = self.command(arguments).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stdout = Vec::new();
        for _ in 0..line {
            lines.read_until(b'\n', &mut stdout)?;
        }
        std::thread::sleep(delay);
        // Nothing happens to a child that has ended.
        child.kill()?;
        lines.read_to_end(&mut stdout)?;
        let output = child.wait_with_output()?;
        let output = Output { stdout, ..output };
        course.killed = last_status(&output).is_none();
        Ok(output)
    }

    /// Answers all that the run asks.
    fn answer(&self, course: &mut Course) -> Result<(), TrialError> {
        for asked in self.asked_of_prusik(&["inbox", "--json"])? {
            let text = |key: &str| asked[key].as_str().unwrap_or_default();
            let (tool, arguments) = (self.bare(text("tool")), &asked["arguments"]);
            course.asked += 1;
            course.asked_own += usize::from(is_own(self.script, tool, arguments));
            let word =
                if self.person.approves(self.script, tool, arguments) { "approve" } else { "deny" };
            let (call, question) = (text("call"), text("question"));
            self.asked_of_prusik(&[word, "last", call, "--question", question, "--json"])?;
        }
        Ok(())
    }

    /// Looks up what became of calls in doubt.
    fn settle(&self, course: &mut Course) -> Result<(), TrialError> {
        let records = self.asked_of_prusik(&["events", "--json", "last"])?;
        let events: Result<Vec<Event>, _> =
            records.iter().map(|record| Event::deserialize(&record["event"])).collect();
        let events = events.map_err(|error| TrialError(format!("a record is none: {error}")))?;
        for open in self.asked_of_prusik(&["show", "--json", "last"])? {
            let calls = open["open_calls"].as_array().into_iter().flatten();
            for call in calls.filter(|call| call["stage"]["in_doubt"].is_object()) {
                let (tool, arguments) =
                    (call["tool"].as_str().unwrap_or_default(), &call["arguments"]);
                let known = completed(&events, tool, arguments);
                let landed = (self.landed)(self.bare(tool), arguments)? > known;
                let word = if landed { "--landed" } else { "--not-landed" };
                let call = call["call"].as_str().unwrap_or_default();
                self.asked_of_prusik(&["settle", word, "--json", "last", call])?;
                course.settled += 1;
            }
        }
        Ok(())
    }

    /// Returns a tool's name without its server's.
    fn bare<'t>(&self, tool: &'t str) -> &'t str {
        let rest = tool.strip_prefix(self.server).and_then(|rest| rest.strip_prefix("__"));
        rest.unwrap_or(tool)
    }

    fn error(&self, what: &str, output: &Output) -> TrialError {
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        if let Some(last) = String::from_utf8_lossy(&output.stdout).lines().last() {
            said.push_str(last);
        }
        TrialError(format!("{what} ({}) in {}: {said}", output.status, self.folder.display()))
    }
}

/// Returns how many calls with these arguments have an outcome and were made.
fn completed(events: &[Event], tool: &str, arguments: &Value) -> usize {
    let asked = |answered: &ModelAnswered| -> Vec<CallId> {
        let is_it = |call: &ToolUse| {
            call.name == tool && matches!(&call.input, ToolInput::Json(input) if input == arguments)
        };
        let calls = calls_of(answered.turn, &answered.content);
        calls.filter(|(_, call)| is_it(call)).map(|(id, _)| id).collect()
    };
    let mut these = BTreeSet::new();
    let mut known = 0;
    for event in events {
        if let Event::ModelAnswered(answered) = event {
            these.extend(asked(answered));
        } else if let Event::CallCompleted(done) = event
            && done.attempt > Attempt(0)
        {
            known += usize::from(these.contains(&done.call));
        }
    }
    known
}

/// Returns how a run stands by the last line of an output.
fn last_status(output: &Output) -> Option<Value> {
    json_lines(output).pop().map(|last| last["status"].clone()).filter(|status| !status.is_null())
}

/// Returns the objects of an output. A line that was cut is none.
fn json_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use prusik_core::event::CallCompleted;
    use prusik_core::ids::Turn;
    use prusik_core::message::Block;
    use prusik_core::model::{StopReason, Usage};
    use prusik_core::outcome::{Outcome, ToolResult};
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_with_an_outcome_are_counted() {
        let call = |name: &str| {
            let (name, input) = (name.to_owned(), ToolInput::Json(json!({"to": "ann"})));
            Block::ToolUse(ToolUse { id: "x".to_owned(), name, input })
        };
        let answered = |turn: u32, content: Vec<Block>| {
            Event::ModelAnswered(ModelAnswered {
                turn: Turn(turn),
                attempt: Attempt(1),
                content,
                stop: StopReason::ToolUse,
                usage: Usage::default(),
                nano_usd: 0,
                model: "m".to_owned(),
                ms: 1,
            })
        };
        let done = |turn: u32, index: u16, attempt: u32| {
            Event::CallCompleted(CallCompleted {
                call: CallId::new(Turn(turn), index),
                attempt: Attempt(attempt),
                outcome: Outcome::Ok(ToolResult::json(json!({}))),
                ms: 1,
                undo: None,
                echo: prusik_core::label::Label::trusted(),
            })
        };
        let events = [
            answered(1, vec![Block::Text("I pay.".to_owned()), call("s__look"), call("s__pay")]),
            done(1, 2, 1),
            answered(2, vec![call("s__pay")]),
            done(2, 1, 0),
            answered(3, vec![call("s__pay")]),
        ];
        let of = |tool: &str, to: &str| completed(&events, tool, &json!({ "to": to }));
        assert_eq!((of("s__pay", "ann"), of("s__pay", "bob"), of("s__look", "ann")), (1, 0, 0));
        // As it is read back from what the program prints.
        let printed = json!({"event": &events[0]});
        assert_eq!(Event::deserialize(&printed["event"]).ok().as_ref(), Some(&events[0]));
    }
}
