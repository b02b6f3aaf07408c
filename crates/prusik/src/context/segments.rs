//! The pieces of a request: what each is, how large, and why it is there.

use prusik_core::event::CompactHow;
use prusik_core::ids::{CallId, Seq, Turn};
use prusik_core::label::Label;
use prusik_core::message::{Block, Content, Message, Role, ToolInput};
use prusik_core::model::ModelRequest;
use prusik_core::run::{
    About, COMMIT_GROUP, PLAN, RECALL, RECORD, ResultOf, Run, Transcript, UNDO_GROUP, bytes_of,
};

use super::Marks;

/// A piece of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub kind: SegmentKind,
    /// What people call it: `system`, `tool bank__pay`, `answer of turn 12`.
    pub name: String,
    /// The turn that it belongs to, for what has one.
    pub turn: Option<Turn>,
    /// The call that it is the result of.
    pub call: Option<CallId>,
    /// The record that its message begins with.
    pub record: Option<Seq>,
    pub bytes: u64,
    /// Its share of what the request has.
    pub tokens: u64,
    pub label: Label,
    pub why: String,
    pub text: String,
}

/// What a piece of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    System,
    Tool,
    Task,
    /// The ledger, and what is open.
    Ledger,
    /// What stands for turns that are no longer shown.
    History,
    /// What the model said.
    Answer,
    /// What a call returned.
    Result,
    /// A result that is shown as its handle.
    Folded,
    /// What the runtime or a person said.
    Text,
    /// What asks for a summary.
    Request,
}

impl SegmentKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tool => "tool",
            Self::Task => "task",
            Self::Ledger => "ledger",
            Self::History => "history",
            Self::Answer => "answer",
            Self::Result => "result",
            Self::Folded => "folded",
            Self::Text => "text",
            Self::Request => "request",
        }
    }
}

/// Returns the pieces of a request that the state and the messages of `run` make.
pub(super) fn of(run: &Run, request: &ModelRequest, marks: &Marks) -> Vec<Segment> {
    let mut segments = vec![Segment {
        bytes: request.system.len() as u64,
        text: request.system.to_string(),
        ..piece(SegmentKind::System, "system", "the agent's definition")
    }];
    segments.extend(request.tools.iter().map(|tool| {
        let schema = tool.input_schema.to_string();
        let why = match tool.name.as_str() {
            PLAN => "the model lays down with it what it will do",
            RECORD => "the model writes the ledger with it",
            RECALL => "reads again what is no longer shown",
            COMMIT_GROUP | UNDO_GROUP => "closes a group of calls",
            _ => "the agent holds it",
        };
        Segment {
            bytes: (tool.name.len() + tool.description.len() + schema.len()) as u64,
            text: format!("{}\n{schema}", tool.description),
            ..piece(SegmentKind::Tool, format!("tool {}", tool.name), why)
        }
    }));
    let Some(transcript) = run.transcript() else { return segments };
    let head = head_kinds(run, transcript);
    let mut reader = Reader { transcript, marks, head, drawn_on: Label::trusted(), segments };
    for (index, message) in request.messages.iter().enumerate() {
        let known = transcript.messages().get(index).map_or(0, |known| known.content.len());
        let about = transcript.about().get(index);
        match about {
            Some(about) if index == 0 => reader.head(message, about, known),
            Some(about) => reader.message(message, about, known),
            None => {}
        }
        // What is not of the run's own messages asks for the summary.
        for block in &message.content[known.min(message.content.len())..] {
            let (name, why) = match message.role {
                Role::User => ("request for a summary", "asks for what is to stand for old turns"),
                Role::Assistant => ("refused summary", "what the model wrote before"),
            };
            reader.push(block, piece(SegmentKind::Request, name, why));
        }
    }
    reader.segments
}

/// Returns what the first blocks of the first message are; what follows them was said later.
pub(super) fn head_kinds(run: &Run, transcript: &Transcript) -> Vec<SegmentKind> {
    let compacted = transcript.compacted();
    let replaced = compacted.and_then(|compacted| compacted.replaced.as_ref());
    let has_ledger = match replaced {
        Some(replaced) => !replaced.brief.is_empty(),
        None => !run.definition().agent().ledger.is_empty(),
    };
    let mut kinds = vec![SegmentKind::Task];
    kinds.extend(has_ledger.then_some(SegmentKind::Ledger));
    kinds.extend(replaced.map(|_| SegmentKind::History));
    kinds
}

fn piece(kind: SegmentKind, name: impl Into<String>, why: impl Into<String>) -> Segment {
    Segment {
        kind,
        name: name.into(),
        turn: None,
        call: None,
        record: None,
        bytes: 0,
        tokens: 0,
        label: Label::trusted(),
        why: why.into(),
        text: String::new(),
    }
}

/// Goes through the messages, and remembers what the model's words may draw on.
struct Reader<'a> {
    transcript: &'a Transcript,
    marks: &'a Marks,
    /// What the first blocks of the first message are.
    head: Vec<SegmentKind>,
    drawn_on: Label,
    segments: Vec<Segment>,
}

impl Reader<'_> {
    fn push(&mut self, block: &Block, segment: Segment) {
        let bytes = bytes_of(block);
        self.segments.push(Segment { bytes, text: text_of(block), ..segment });
    }

    /// The first message: the task, what the ledger says, and what stands for the turns before.
    fn head(&mut self, message: &Message, about: &About, known: usize) {
        for (index, block) in message.content[..known].iter().enumerate() {
            let segment = match self.head.get(index) {
                Some(SegmentKind::Task) => piece(SegmentKind::Task, "task", "the task, always"),
                Some(SegmentKind::Ledger) => {
                    let label = self.label_of_entries(&text_of(block));
                    self.drawn_on.join(&label);
                    let why = match self.marks.replaced_at {
                        None => "the ledger, always".to_owned(),
                        Some(seq) => format!("the ledger, always; as it was at record {seq}"),
                    };
                    Segment { label, ..piece(SegmentKind::Ledger, "ledger", why) }
                }
                Some(_) => {
                    let (why, label) = self.history();
                    self.drawn_on.join(&label);
                    Segment { label, ..piece(SegmentKind::History, "history", why) }
                }
                None => self.text_piece(block, about),
            };
            self.push(block, segment);
        }
    }

    fn history(&self) -> (String, Label) {
        let Some(compacted) = self.transcript.compacted() else {
            return (String::new(), Label::trusted());
        };
        let how = match compacted.how {
            CompactHow::Summarized => "summarized",
            CompactHow::Outlined => "outlined",
            // Results alone were folded since.
            CompactHow::Folded => "replaced",
        };
        let through = compacted.replaced.as_ref().map_or(Turn(0), |replaced| replaced.through);
        let at = self.marks.replaced_at.map_or(String::new(), |seq| format!(" at record {seq}"));
        (format!("stands for turns 1 to {through}, {how}{at}"), compacted.label.clone())
    }

    /// Returns the join of the labels of the entries that a text holds.
    fn label_of_entries(&self, text: &str) -> Label {
        let mut label = Label::trusted();
        for entry in self.marks.entries.values() {
            if text.contains(&entry.render()) {
                label.join(&entry.label);
            }
        }
        label
    }

    fn message(&mut self, message: &Message, about: &About, known: usize) {
        let why = match self.marks.compacted_at {
            None => "nothing has left the context yet".to_owned(),
            Some(seq) if about.seq < seq => {
                format!("kept at record {seq}: one of the newest turns")
            }
            Some(seq) => format!("came after record {seq}"),
        };
        let mut results = about.results.iter();
        let mut answer: Option<Segment> = None;
        for block in &message.content[..known] {
            match block {
                Block::ToolResult(_) => {
                    let segment = self.result(results.next(), about, &why);
                    self.push(block, segment);
                }
                Block::Text(_) if message.role == Role::User => {
                    self.push(block, self.text_piece(block, about));
                }
                // All that the model said in a turn is one piece.
                Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => {
                    let said = answer.get_or_insert_with(|| Segment {
                        turn: Some(about.turn),
                        record: Some(about.seq),
                        label: self.drawn_on.clone(),
                        ..piece(SegmentKind::Answer, format!("answer of turn {}", about.turn), &why)
                    });
                    said.bytes += bytes_of(block);
                    if !said.text.is_empty() {
                        said.text.push('\n');
                    }
                    said.text.push_str(&text_of(block));
                }
            }
        }
        self.segments.extend(answer);
    }

    fn text_piece(&self, block: &Block, about: &About) -> Segment {
        let text = text_of(block);
        let name = match about.turn {
            Turn(0) => "text behind the task".to_owned(),
            turn => format!("text after turn {turn}"),
        };
        let (why, label) = if text.starts_with("[ledger: recorded by ") {
            ("an entry of the ledger, where it came", self.label_of_entries(&text))
        } else {
            ("said in the user's place", Label::trusted())
        };
        let (turn, record) = (Some(about.turn), Some(about.seq));
        Segment { turn, record, label, ..piece(SegmentKind::Text, name, why) }
    }

    fn result(&mut self, of: Option<&ResultOf>, about: &About, why: &str) -> Segment {
        let Some(ResultOf { call, tool, label, .. }) = of else {
            return piece(SegmentKind::Result, "result", why);
        };
        self.drawn_on.join(label);
        // What is recalled is as it was when it first came.
        let label = if tool == RECALL { self.drawn_on.clone() } else { label.clone() };
        let name = format!("result {call} of {tool}");
        let segment = if self.transcript.is_folded(*call) {
            let at = self.marks.folded_at.get(call);
            let at = at.map_or(String::new(), |seq| format!(" at record {seq}"));
            piece(SegmentKind::Folded, name, format!("folded{at}"))
        } else {
            piece(SegmentKind::Result, name, why)
        };
        let (turn, record) = (Some(about.turn), Some(about.seq));
        Segment { turn, record, call: Some(*call), label, ..segment }
    }
}

/// Returns a block as people read it.
fn text_of(block: &Block) -> String {
    match block {
        Block::Text(text) => text.clone(),
        Block::Opaque(opaque) => {
            let bytes = opaque.block.to_string().len();
            format!("[{bytes} bytes that only {} reads]", opaque.provider)
        }
        Block::ToolUse(call) => match &call.input {
            ToolInput::Json(value) => format!("{} {value}", call.name),
            ToolInput::Malformed(text) => format!("{} {text}", call.name),
        },
        Block::ToolResult(result) => {
            let texts = result.content.iter().map(|content| match content {
                Content::Text(text) => text.clone(),
                Content::Json(value) => value.to_string(),
                Content::Image(image) => {
                    format!("[an image of type {}, {} bytes]", image.media_type, image.data.len())
                }
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}
