//! `recall`: what a run has seen, read back from its own journal.
//!
//! A model whose context was cut asks for pages of a result, for lines or parts of it, or for the
//! places in all of the run's history that have to do with something. It can reach the history of its
//! own run and nothing else: a handle is looked up among the records of the run, never in the store
//! alone.
//!
//! Every answer fits into a number of bytes that is given, says what was left out, and holds the
//! arguments of the call that goes on.

mod find;
mod history;
mod path;
mod rank;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use prusik_core::ids::{RunId, Seq};
use prusik_core::message::Content;
use prusik_core::outcome::{Refusal, Reply, ToolResult};
use prusik_core::outline::outline;
use prusik_store::Store;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::find::Found;
use self::history::{Entry, History, Name, Wish};
use self::path::Path;
use self::rank::{Asked, Ranking};

/// Longest page of a text, in bytes.
const PAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest list of finds, in bytes.
const LIST_BYTES_MAX: usize = 12 * 1024;
/// Longest question, expression or path, in bytes as JSON: it stands in the answer again.
const WORDS_BYTES_MAX: usize = 2_000;
/// Most finds of a question in one answer, and of an expression.
const HITS_MAX: usize = 10;
const MATCHES_MAX: usize = 40;
/// Longest excerpt of a hit, in bytes.
const EXCERPT_BYTES: usize = 360;
/// Entries without their bytes that are named; of more only the number is told.
const MISSING_NAMED_MAX: usize = 8;
/// Work after which others get their turn, in bytes read.
const PACE_BYTES: usize = 256 * 1024;

/// Kinds of refusal. The message of each says what to do instead.
mod kind {
    pub use prusik_core::outcome::kind::INVALID_ARGUMENTS;

    /// No such result, answer or blob in this run.
    pub const NOT_FOUND: &str = "not_found";
    /// The offset is beyond the end.
    pub const BAD_OFFSET: &str = "bad_offset";
    pub const BAD_PATTERN: &str = "bad_pattern";
    pub const BAD_PATH: &str = "bad_path";
    /// A path was asked for into what is no JSON.
    pub const NOT_JSON: &str = "not_json";
    /// The store no longer has the bytes, or has others.
    pub const GONE: &str = "gone";
    /// The journal cannot be read.
    pub const UNREADABLE: &str = "unreadable";
    pub const TOO_SLOW: &str = "too_slow";
}

/// Why there is no answer.
#[derive(Debug)]
enum Problem {
    Refused {
        kind: &'static str,
        message: String,
    },
    /// The store is busy; the same call may succeed soon.
    Busy(String),
}

fn refused(kind: &'static str, message: impl Into<String>) -> Problem {
    Problem::Refused { kind, message: message.into() }
}

/// Returns what is said of a call that took longer than it may.
pub(crate) fn too_slow(timeout_ms: u64) -> Refusal {
    let message = format!(
        "This took longer than {timeout_ms} ms. Use a simpler `regex`, or plain words with `query`, or \
         read page by page."
    );
    Refusal::of_kind(kind::TOO_SLOW, message)
}

/// Answers a call of [`RECALL`](prusik_core::run::RECALL) from the records `1..=through` of `run`.
///
/// `bytes_max` bounds the result, and is at least
/// [`RECALL_BYTES_MIN`](prusik_core::run::RECALL_BYTES_MIN).
pub(crate) async fn recall(
    store: Arc<dyn Store>,
    run: RunId,
    through: Seq,
    arguments: Value,
    bytes_max: usize,
) -> Reply {
    let journal = Journal { store, run, through, room: bytes_max };
    match journal.answer(arguments).await {
        Ok(result) => Reply::Returned(result),
        Err(Problem::Refused { kind, message }) => Reply::Refused(Refusal::of_kind(kind, message)),
        Err(Problem::Busy(reason)) => Reply::not_sent(reason),
    }
}

/// What is asked, as it comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    handle: Option<String>,
    query: Option<String>,
    regex: Option<String>,
    path: Option<String>,
    offset: Option<usize>,
}

/// Where an answer comes from, and how long it may be.
struct Journal {
    store: Arc<dyn Store>,
    run: RunId,
    through: Seq,
    room: usize,
}

impl Journal {
    async fn answer(&self, arguments: Value) -> Result<ToolResult, Problem> {
        let arguments = Arguments::deserialize(arguments).map_err(|error| {
            refused(kind::INVALID_ARGUMENTS, format!("The arguments: {error}."))
        })?;
        let Arguments { handle, query, regex, path, offset } = arguments;
        for (name, words) in [("query", &query), ("regex", &regex), ("path", &path)] {
            if words.as_ref().is_some_and(|words| bytes(words) > WORDS_BYTES_MAX) {
                let message =
                    format!("`{name}` is longer than {WORDS_BYTES_MAX} bytes: shorten it.");
                return Err(refused(kind::INVALID_ARGUMENTS, message));
            }
        }
        let offset = offset.unwrap_or(0);
        match (handle, query, regex, path) {
            (Some(handle), None, None, None) => self.page(&handle, offset).await,
            (Some(handle), None, Some(regex), None) => self.lines(&handle, &regex, offset).await,
            (Some(handle), None, None, Some(path)) => self.parts(&handle, &path, offset).await,
            (None, Some(query), None, None) => self.search(&query, offset).await,
            (None, None, Some(regex), None) => self.search_lines(&regex, offset).await,
            (None, None, None, None | Some(_)) => Err(refused(
                kind::INVALID_ARGUMENTS,
                "Say what to read by `handle` (with `regex` or `path` for a part of it), or what to \
                 look for by `query` or `regex`.",
            )),
            (Some(_), Some(_), _, _) => Err(refused(
                kind::INVALID_ARGUMENTS,
                "`query` looks in all of the run: leave out `handle`. Within one result use `regex` \
                 or `path`.",
            )),
            (Some(_), None, Some(_), Some(_)) | (None, ..) => Err(refused(
                kind::INVALID_ARGUMENTS,
                "Only one of `query`, `regex` and `path` at a time, and `path` only with `handle`.",
            )),
        }
    }

    /// Reads a named entry: its name, what it is, and what it holds.
    async fn named(&self, handle: &str) -> Result<(Map<String, Value>, Vec<Content>), Problem> {
        let wish = Wish::parse(handle)?;
        let entry = History::entry(&self.store, &self.run, self.through, wish).await?;
        let head = head(&entry);
        Ok((head, entry.pieces(&self.store).await?))
    }

    async fn page(&self, handle: &str, offset: usize) -> Result<ToolResult, Problem> {
        let (mut head, pieces) = self.named(handle).await?;
        let name = head["handle"].clone();
        let images = pieces.iter().filter(|piece| matches!(piece, Content::Image(_))).count();
        if images > 0 && offset == 0 {
            let bytes = bytes(&head) + pieces.iter().map(Content::bytes).sum::<usize>();
            if bytes <= self.room {
                return Ok(result(head, pieces));
            }
        }
        if images > 0 {
            let note = format!("{} cannot be shown: too large", outline(&pieces));
            head.insert("images".to_owned(), json!(note));
        }
        let about = (images == 0).then(|| outline(&pieces));
        let text = history::text(pieces);
        head.insert("bytes".to_owned(), json!(text.len()));
        if text.is_empty() {
            return Ok(result(head, Vec::new()));
        }
        if offset >= text.len() {
            return Err(beyond(&name, offset, text.len()));
        }
        let begin = text.floor_char_boundary(offset);
        head.insert("offset".to_owned(), json!(begin));
        // Room for `next` at its longest, whether it is needed or not.
        let next = |offset: usize| json!({"handle": name, "offset": offset});
        let about = about.filter(|_| begin == 0).unwrap_or_default();
        let taken = bytes(&head) + bytes(&next(text.len())) + bytes(&about) + 64;
        let end = page_end(&text, begin, PAGE_BYTES_MAX.min(self.room.saturating_sub(taken)));
        if end < text.len() {
            if !about.is_empty() {
                head.insert("is".to_owned(), json!(about));
            }
            head.insert("left_out".to_owned(), json!(text.len() - end));
            head.insert("next".to_owned(), next(end));
        }
        Ok(result(head, vec![Content::Text(text[begin..end].to_owned())]))
    }

    async fn lines(
        &self,
        handle: &str,
        pattern: &str,
        offset: usize,
    ) -> Result<ToolResult, Problem> {
        let regex = find::compile(pattern)?;
        let (head, pieces) = self.named(handle).await?;
        let name = head["handle"].clone();
        let text = history::text(pieces);
        if offset > 0 && offset >= text.len() {
            return Err(beyond(&name, offset, text.len()));
        }
        let from = text.floor_char_boundary(offset);
        let (mut kept, mut count) = (Vec::new(), 0);
        find::find(&regex, &text, from, &mut Pace::default(), |found| {
            count += 1;
            // One more than is shown: where to go on.
            if kept.len() <= MATCHES_MAX {
                kept.push(found);
            }
        })
        .await;
        let next = |at: usize| json!({"handle": name, "regex": pattern, "offset": at});
        let mut list = List::new(self.room, head, &next(text.len()));
        let shown = kept.iter().take(MATCHES_MAX).take_while(|found| {
            list.push(json!({
                "line": found.line, "offset": found.begin, "text": find::shown(&text, found),
            }))
        });
        let shown = shown.count();
        let next = kept.get(shown).map(|found| next(found.begin));
        Ok(list.finish("matches", count, count - shown, next))
    }

    async fn parts(&self, handle: &str, path: &str, offset: usize) -> Result<ToolResult, Problem> {
        let parsed = Path::parse(path)?;
        let (head, pieces) = self.named(handle).await?;
        let name = head["handle"].clone();
        let Some(value) = path::json(&pieces) else {
            let message = format!(
                "{} is no JSON that a path could be applied to: {}. Use `regex`, or read it by `offset`.",
                name.as_str().unwrap_or_default(),
                outline(&pieces)
            );
            return Err(refused(kind::NOT_JSON, message));
        };
        let parts = parsed.parts(&value)?;
        if offset > 0 && offset >= parts.len() {
            let message =
                format!("The path names {} parts; {offset} cannot be skipped.", parts.len());
            return Err(refused(kind::BAD_OFFSET, message));
        }
        let next = |skip: usize| json!({"handle": name, "path": path, "offset": skip});
        let mut list = List::new(self.room, head, &next(parts.len()));
        let (mut places, mut shown) = (None, 0);
        for (at, part) in parts.iter().enumerate().skip(offset) {
            let item = if fits(part, list.room_max / 2) {
                (*part).clone()
            } else {
                let places = places.get_or_insert_with(|| parsed.places(&value));
                let place = places.get(at).map(String::as_str).unwrap_or_default();
                let is = outline(&[Content::Json((*part).clone())]);
                json!({"too_large": shortened(place, 300), "is": is})
            };
            if !list.push(item) {
                break;
            }
            shown += 1;
        }
        let left_out = parts.len() - offset - shown;
        let next = (left_out > 0).then(|| next(offset + shown));
        Ok(list.finish("values", parts.len(), left_out, next))
    }

    /// Reads all that can be searched, with the names of what cannot.
    async fn everything(&self, pace: &mut Pace) -> Result<(History, Vec<String>, Value), Problem> {
        let mut history = History::read(&self.store, &self.run, self.through).await?;
        let missing = history.fetch(&self.store).await?;
        let texts = history.texts(pace).await;
        Ok((history, texts, missing_note(&missing)))
    }

    async fn search(&self, query: &str, skip: usize) -> Result<ToolResult, Problem> {
        let Some(asked) = Asked::of(query) else {
            let message = "`query` holds no word. Give names, numbers or words that stand in what you \
                 look for, or use `regex` for marks.";
            return Err(refused(kind::INVALID_ARGUMENTS, message));
        };
        let mut pace = Pace::default();
        let (history, texts, missing) = self.everything(&mut pace).await?;
        let mut ranking = Ranking::new(&asked);
        for (entry, text) in texts.iter().enumerate() {
            let mut at = 0;
            while at < text.len() {
                let next = ranking.read_passage(entry, text, at);
                pace.walk(next - at).await;
                at = next;
            }
        }
        let hits = ranking.hits();
        check_skip(skip, hits.len())?;
        let next = |skip: usize| json!({"query": query, "offset": skip});
        let mut list = List::new(self.room, missing_head(missing), &next(hits.len()));
        let mut shown = 0;
        for hit in hits.iter().skip(skip).take(HITS_MAX) {
            let passage = &texts[hit.entry][hit.begin..hit.end];
            let (begin, end) = ranking.best_part(passage, EXCERPT_BYTES);
            let before = if begin > 0 { "…" } else { "" };
            let behind = if end < passage.len() { "…" } else { "" };
            let mut item = head(&history.entries[hit.entry]);
            item.insert("offset".to_owned(), json!(hit.begin + begin));
            let excerpt = format!("{before}{}{behind}", visible(&passage[begin..end]));
            item.insert("excerpt".to_owned(), json!(excerpt));
            if !list.push(item.into()) {
                break;
            }
            shown += 1;
        }
        let left_out = hits.len().saturating_sub(skip + shown);
        let next = (left_out > 0).then(|| next(skip + shown));
        Ok(list.finish("hits", hits.len(), left_out, next))
    }

    async fn search_lines(&self, pattern: &str, skip: usize) -> Result<ToolResult, Problem> {
        let regex = find::compile(pattern)?;
        let mut pace = Pace::default();
        let (history, texts, missing) = self.everything(&mut pace).await?;
        let (mut kept, mut count): (Vec<(usize, Found)>, usize) = (Vec::new(), 0);
        for (entry, text) in texts.iter().enumerate() {
            find::find(&regex, text, 0, &mut pace, |found| {
                if count >= skip && kept.len() < MATCHES_MAX {
                    kept.push((entry, found));
                }
                count += 1;
            })
            .await;
        }
        check_skip(skip, count)?;
        let next = |skip: usize| json!({"regex": pattern, "offset": skip});
        let mut list = List::new(self.room, missing_head(missing), &next(count));
        let shown = kept.iter().take_while(|(entry, found)| {
            let mut item = head(&history.entries[*entry]);
            item.insert("line".to_owned(), json!(found.line));
            item.insert("offset".to_owned(), json!(found.begin));
            item.insert("text".to_owned(), json!(find::shown(&texts[*entry], found)));
            list.push(item.into())
        });
        let shown = shown.count();
        let left_out = count.saturating_sub(skip + shown);
        let next = (left_out > 0).then(|| next(skip + shown));
        Ok(list.finish("matches", count, left_out, next))
    }
}

/// Finds on their way into an answer, as many as there is room for.
struct List {
    head: Map<String, Value>,
    items: Vec<Value>,
    room: usize,
    room_max: usize,
}

impl List {
    /// `next` is the longest that may have to be said of how to go on.
    fn new(room: usize, head: Map<String, Value>, next: &Value) -> Self {
        // The names of the members, and the counts.
        let taken = bytes(&head) + bytes(next) + 160;
        let room = room.saturating_sub(taken).min(LIST_BYTES_MAX);
        Self { head, items: Vec::new(), room, room_max: room }
    }

    /// Takes `item` in if there is room.
    fn push(&mut self, item: Value) -> bool {
        let Some(room) = self.room.checked_sub(bytes(&item) + 1) else { return false };
        self.room = room;
        self.items.push(item);
        true
    }

    fn finish(self, name: &str, found: usize, left_out: usize, next: Option<Value>) -> ToolResult {
        let mut head = self.head;
        head.insert("found".to_owned(), json!(found));
        head.insert(name.to_owned(), self.items.into());
        if found == 0 {
            let note = "Nothing matches. Try another spelling, fewer words, or a part of it.";
            head.insert("note".to_owned(), json!(note));
        }
        if left_out > 0 {
            head.insert("left_out".to_owned(), json!(left_out));
        }
        if let Some(next) = next {
            head.insert("next".to_owned(), next);
        }
        result(head, Vec::new())
    }
}

/// Lets others have their turn now and then, and a time limit its effect.
#[derive(Debug, Default)]
struct Pace {
    walked: usize,
}

impl Pace {
    async fn walk(&mut self, bytes: usize) {
        self.walked += bytes;
        if self.walked >= PACE_BYTES {
            self.walked = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn head(entry: &Entry) -> Map<String, Value> {
    let handle = entry.name.to_string();
    Map::from_iter([("handle".to_owned(), json!(handle)), ("what".to_owned(), json!(entry.what))])
}

fn result(head: Map<String, Value>, pieces: Vec<Content>) -> ToolResult {
    let content = std::iter::once(Content::Json(head.into())).chain(pieces).collect();
    ToolResult { content, whole: None }
}

/// Returns how many bytes a value has as JSON.
fn bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

/// Returns whether `value` has at most `bytes_max` bytes as JSON, without writing more of it than that.
fn fits(value: &Value, bytes_max: usize) -> bool {
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let left = self.0.checked_sub(bytes.len());
            self.0 = left.ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(bytes_max), value).is_ok()
}

fn beyond(name: &Value, offset: usize, bytes: usize) -> Problem {
    let name = name.as_str().unwrap_or_default();
    let message = format!("{name} has {bytes} bytes, and {offset} is beyond them. Begin at 0.");
    refused(kind::BAD_OFFSET, message)
}

fn check_skip(skip: usize, found: usize) -> Result<(), Problem> {
    if skip == 0 || skip < found {
        return Ok(());
    }
    let message = format!("There are {found} finds; {skip} cannot be skipped. Begin at 0.");
    Err(refused(kind::BAD_OFFSET, message))
}

/// Returns where a page ends that begins at `begin`: behind a line where one ends late in it.
fn page_end(text: &str, begin: usize, bytes_max: usize) -> usize {
    let end = text.floor_char_boundary(text.len().min(begin + bytes_max));
    if end == text.len() {
        return end;
    }
    let late = text.ceil_char_boundary(end - bytes_max / 4);
    text[late..end].rfind('\n').map_or(end, |at| late + at + 1)
}

fn missing_note(missing: &[Name]) -> Value {
    if missing.is_empty() {
        return Value::Null;
    }
    let named: Vec<String> =
        missing.iter().take(MISSING_NAMED_MAX).map(ToString::to_string).collect();
    let more = missing.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    json!(format!("{}{more}: too large, or no longer stored", named.join(", ")))
}

fn missing_head(note: Value) -> Map<String, Value> {
    let note = (!note.is_null()).then(|| ("not_searched".to_owned(), note));
    note.into_iter().collect()
}

/// Returns the first `bytes_max` bytes of what can be seen of `text`, on one line.
fn shortened(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    let line = visible(&text[..end]).replace('\n', " ");
    if end < text.len() { line + "…" } else { line }
}

/// Returns a text without control characters, but for ends of lines: as JSON they would take six times
/// their room.
fn visible(text: &str) -> String {
    let seen = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    text.chars().map(seen).collect()
}
