//! What a server returns, as the model may see it.

use std::fmt::Write as _;

use base64::Engine as _;
use prusik_core::message::{Content, Image};
use prusik_core::outcome::{Refusal, Reply, ToolResult};
use prusik_core::schema;
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use serde_json::Value;

/// Largest image that is shown, in bytes of base64: what model providers take.
const IMAGE_BYTES_MAX: usize = 5 * 1024 * 1024;
/// The kinds of image that model providers take.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Returns what `result` means for the call.
///
/// A result that does not fit the tool's own output schema still says that the call was made.
pub(super) fn reply_of(result: CallToolResult, output_schema: Option<&Value>) -> Reply {
    let structured = result.structured_content;
    let mut content: Vec<Content> = Vec::new();
    for block in result.content {
        if !repeats(&block, structured.as_ref()) {
            content.push(content_of(block));
        }
    }
    if result.is_error == Some(true) {
        content.extend(structured.clone().map(Content::Json));
        let message = ToolResult { content, whole: None }.plain_text();
        let message = if message.trim().is_empty() {
            "the tool says that it failed, and no more".to_owned()
        } else {
            message
        };
        return Reply::Refused(Refusal { value: structured, ..Refusal::new(message) });
    }
    let problem = output_schema.and_then(|schema| misfit(schema, structured.as_ref()));
    if let Some(value) = structured {
        content.insert(0, Content::Json(value));
    }
    let result = ToolResult { content, whole: None };
    match problem {
        Some(problem) => Reply::Unfit { result, problem },
        None => Reply::Returned(result),
    }
}

/// Returns what is wrong with a structured result.
fn misfit(schema: &Value, structured: Option<&Value>) -> Option<String> {
    let problem = match structured {
        None => "it has no structured part".to_owned(),
        Some(value) => {
            let found = schema::mismatches(schema, value);
            if found.is_empty() {
                return None;
            }
            let each = found.iter().map(|mismatch| {
                let at = if mismatch.at.is_empty() { "the top" } else { &mismatch.at };
                format!("at {at}: {} (schema: {})", mismatch.problem, mismatch.schema_at)
            });
            each.collect::<Vec<_>>().join("; ")
        }
    };
    Some(problem)
}

/// Servers repeat the structured result as text for clients that know no better.
fn repeats(block: &ContentBlock, structured: Option<&Value>) -> bool {
    match (block, structured) {
        (ContentBlock::Text(text), Some(value)) => {
            serde_json::from_str::<Value>(&text.text).is_ok_and(|parsed| parsed == *value)
        }
        (_, _) => false,
    }
}

fn content_of(block: ContentBlock) -> Content {
    match block {
        ContentBlock::Text(text) => Content::Text(text.text),
        ContentBlock::Image(image) => image_of(image.data, &image.mime_type, "image"),
        ContentBlock::Audio(audio) => {
            let bytes = decoded_bytes(&audio.data);
            Content::Text(format!("[audio {}, {bytes} bytes, not shown]", audio.mime_type))
        }
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                Content::Text(format!("[resource {uri}]\n{text}"))
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                image_of(blob, mime_type.as_deref().unwrap_or("unknown type"), &uri)
            }
            // The SDK's enum is open.
            _ => Content::Text("[a resource of a kind that is not known]".to_owned()),
        },
        ContentBlock::ResourceLink(link) => Content::Text(link_of(&link)),
        _ => Content::Text("[content of a kind that is not known]".to_owned()),
    }
}

/// Returns an image that a model can take, else a description of what is there.
fn image_of(data: String, media_type: &str, what: &str) -> Content {
    let media_type = media_type.to_ascii_lowercase();
    let is_valid = base64::engine::general_purpose::STANDARD.decode(&data).is_ok();
    if IMAGE_TYPES.contains(&media_type.as_str()) && is_valid && data.len() <= IMAGE_BYTES_MAX {
        return Content::Image(Image { media_type, data });
    }
    let flaw = if is_valid { "" } else { ", not valid base64" };
    let bytes = decoded_bytes(&data);
    Content::Text(format!("[{what}: {media_type}, {bytes} bytes{flaw}, not shown]"))
}

/// Returns about how many bytes a base64 text stands for.
fn decoded_bytes(data: &str) -> usize {
    data.trim_end_matches('=').len() * 3 / 4
}

fn link_of(link: &Resource) -> String {
    let mut text = format!("[link to resource {} ({})", link.uri, link.name);
    if let Some(media_type) = &link.mime_type {
        let _ = write!(text, ", {media_type}");
    }
    if let Some(description) = &link.description {
        let _ = write!(text, ": {description}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(result: Value, schema: Option<&Value>) -> Reply {
        reply_of(serde_json::from_value(result).unwrap(), schema)
    }

    fn returned(reply: Reply) -> Vec<Content> {
        match reply {
            Reply::Returned(result) => result.content,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_that_repeats_the_structured_result_is_dropped() {
        let result = json!({
            "content": [
                {"type": "text", "text": "{ \"b\": 2, \"a\": 1 }"},
                {"type": "text", "text": "and more"},
            ],
            "structuredContent": {"a": 1, "b": 2},
        });
        let content = returned(reply(result, None));
        let expected =
            [Content::Json(json!({"a": 1, "b": 2})), Content::Text("and more".to_owned())];
        assert_eq!(content, expected);
    }

    #[test]
    fn a_misfit_is_returned_with_a_note_because_the_call_was_made() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let result = json!({"content": [], "structuredContent": {"n": "x"}});
        let Reply::Unfit { result, problem } = reply(result, Some(&schema)) else { panic!() };
        assert_eq!(result.content, [Content::Json(json!({"n": "x"}))]);
        assert!(problem.contains("/n") && problem.contains("/properties/n/type"), "{problem}");
        let result = json!({"content": [{"type": "text", "text": "done"}]});
        let unfit = reply(result, Some(&schema));
        assert!(matches!(unfit, Reply::Unfit { problem, .. } if problem.contains("no structured")));
        let result = json!({"content": [], "structuredContent": {"n": 1}});
        assert_eq!(returned(reply(result, Some(&schema))).len(), 1);
    }

    #[test]
    fn an_error_is_a_refusal_with_all_that_it_says() {
        let result =
            json!({"isError": true, "content": [{"type": "text", "text": "no such user"}]});
        let Reply::Refused(refusal) = reply(result, None) else { panic!() };
        assert_eq!(refusal, Refusal::new("no such user"));
        let Reply::Refused(refusal) = reply(json!({"isError": true, "content": []}), None) else {
            panic!()
        };
        assert!(!refusal.message.is_empty());
    }

    #[test]
    fn what_a_model_cannot_take_is_described() {
        let png = json!({"type": "image", "data": "iVBORw==", "mimeType": "image/png"});
        let bad = json!({"type": "image", "data": "%%%", "mimeType": "image/png"});
        let tiff = json!({"type": "image", "data": "AAAA", "mimeType": "image/tiff"});
        let audio = json!({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"});
        let text = json!({"type": "resource", "resource": {"uri": "x://t", "text": "hello"}});
        let blob = json!({"type": "resource",
            "resource": {"uri": "x://b", "mimeType": "image/png", "blob": "iVBORw=="}});
        let zip = json!({"type": "resource",
            "resource": {"uri": "x://z", "mimeType": "application/zip", "blob": "AAAA"}});
        let link = json!({"type": "resource_link", "uri": "x://l", "name": "l",
            "mimeType": "text/plain"});
        let content = [png, bad, tiff, audio, text, blob, zip, link];
        let content = returned(reply(json!({"content": content}), None));
        let image =
            Content::Image(Image { media_type: "image/png".into(), data: "iVBORw==".into() });
        assert_eq!((&content[0], &content[5]), (&image, &image));
        let texts: Vec<String> = [1, 2, 3, 4, 6, 7]
            .map(|index: usize| match &content[index] {
                Content::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            })
            .to_vec();
        assert!(texts[0].contains("not valid base64"), "{texts:?}");
        assert!(texts[1].contains("image/tiff"), "{texts:?}");
        assert!(texts[2].contains("audio/wav, 3 bytes"), "{texts:?}");
        assert_eq!(texts[3], "[resource x://t]\nhello");
        assert!(texts[4].contains("x://z: application/zip"), "{texts:?}");
        assert!(texts[5].contains("x://l"), "{texts:?}");
    }
}
