//! How an answer is cut into the pieces that a stream brings.

/// Length of a piece of JSON, in characters: short enough that keys, escapes and numbers are cut.
const JSON_PIECE_CHARS: usize = 7;

/// Returns `text` word by word.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// Returns `json` in short pieces that respect nothing but characters.
pub fn json_pieces(json: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = json;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(JSON_PIECE_CHARS).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
