//! How bytes are kept: as they are, or as a zstd frame where that is smaller.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// The longest body, blob or snapshot that is stored, in bytes. SQLite ends at 1 GB.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// Shorter bytes are not worth the time: a frame alone takes about ten bytes.
const PACK_BYTES_MIN: usize = 128;

/// Literals are entropy-coded from the lowest level on, which is most of what short texts gain.
const LEVEL: i32 = 1;

/// What the JSON of events repeats: a record is too short to learn it from. It is a part of the
/// format: stores that were written with it need it as it is, to the byte.
const DICTIONARY: &[u8] = include_bytes!("events.dictionary");

/// How bytes are kept, as it stands in the column `encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain = 0,
    /// A zstd frame.
    Zstd = 1,
    /// A zstd frame that needs the dictionary of events.
    Event = 2,
}

impl Encoding {
    pub fn column(self) -> i64 {
        self as i64
    }

    fn from_column(column: i64) -> Option<Self> {
        [Self::Plain, Self::Zstd, Self::Event].into_iter().find(|it| it.column() == column)
    }
}

thread_local! {
    static PACK: RefCell<Compressor<'static>> =
        RefCell::new(Compressor::new(LEVEL).expect("the level is a valid one"));
    static PACK_EVENT: RefCell<Compressor<'static>> = RefCell::new(
        Compressor::with_dictionary(LEVEL, DICTIONARY).expect("any bytes are a dictionary"),
    );
    static UNPACK: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("a context needs memory alone"));
    static UNPACK_EVENT: RefCell<Decompressor<'static>> = RefCell::new(
        Decompressor::with_dictionary(DICTIONARY).expect("any bytes are a dictionary"),
    );
}

/// Bytes as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub encoding: Encoding,
    /// None if the bytes are stored as they are.
    frame: Option<Vec<u8>>,
}

impl Packed {
    /// Packs any bytes, if that makes them smaller.
    pub fn new(bytes: &[u8]) -> Self {
        Self::with(Encoding::Zstd, bytes)
    }

    /// Packs the JSON of an event, if that makes it smaller.
    pub fn event(json: &[u8]) -> Self {
        Self::with(Encoding::Event, json)
    }

    fn with(encoding: Encoding, bytes: &[u8]) -> Self {
        let compressor = match encoding {
            Encoding::Zstd => &PACK,
            Encoding::Event => &PACK_EVENT,
            Encoding::Plain => return Self { encoding, frame: None },
        };
        if bytes.len() < PACK_BYTES_MIN {
            return Self { encoding: Encoding::Plain, frame: None };
        }
        // A buffer shorter than the input makes the compressor fail where it does not pay.
        let mut frame = Vec::with_capacity(bytes.len() - 1);
        match compressor.with_borrow_mut(|it| it.compress_to_buffer(bytes, &mut frame)) {
            Ok(_) => Self { encoding, frame: Some(frame) },
            Err(_) => Self { encoding: Encoding::Plain, frame: None },
        }
    }

    /// Returns what is stored of `bytes`, from which this was made.
    pub fn stored<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        self.frame.as_deref().unwrap_or(bytes)
    }
}

/// Returns the stored bytes as they were; none if they are not what [`Packed`] made.
pub fn unpack(column: i64, stored: &[u8]) -> Option<Vec<u8>> {
    let decompressor = match Encoding::from_column(column)? {
        Encoding::Plain => return Some(stored.to_vec()),
        Encoding::Zstd => &UNPACK,
        Encoding::Event => &UNPACK_EVENT,
    };
    // The frame says how long its content is, and may lie if the disk did.
    let bytes = usize::try_from(get_frame_content_size(stored).ok()??).ok()?;
    if bytes > VALUE_BYTES_MAX {
        return None;
    }
    decompressor
        .with_borrow_mut(|it| it.decompress(stored, bytes))
        .ok()
        .filter(|unpacked| unpacked.len() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(packed: &Packed, bytes: &[u8]) {
        let stored = packed.stored(bytes);
        assert_eq!(unpack(packed.encoding.column(), stored).as_deref(), Some(bytes));
    }

    #[test]
    fn text_shrinks_and_comes_back() {
        let text = "the quick brown fox ".repeat(100).into_bytes();
        for packed in [Packed::new(&text), Packed::event(&text)] {
            assert!(packed.stored(&text).len() < text.len() / 10);
            round_trip(&packed, &text);
        }
    }

    #[test]
    fn an_event_shrinks_though_it_repeats_nothing() {
        let json = br#"{"model_answered":{"turn":7,"attempt":1,"content":[{"text":"Done."}],
            "stop":"end_turn","usage":{"in":812,"out":9},"nano_usd":12345,"model":"m","ms":81}}"#;
        let (any, event) = (Packed::new(json), Packed::event(json));
        assert!(event.stored(json).len() * 3 < any.stored(json).len() * 2);
        round_trip(&event, json);
    }

    #[test]
    fn noise_and_short_bytes_stay_as_they_are() {
        let mut noise = Vec::new();
        while noise.len() < 2000 {
            noise.extend(prusik_core::ids::Digest::of(&noise).0);
        }
        for bytes in [&noise[..], b"short", b""] {
            let packed = Packed::new(bytes);
            assert_eq!((packed.encoding, packed.stored(bytes)), (Encoding::Plain, bytes));
            round_trip(&packed, bytes);
        }
    }

    #[test]
    fn damaged_frames_are_refused() {
        let text = b"abcdefgh".repeat(100);
        let packed = Packed::new(&text);
        let frame = packed.stored(&text);
        for column in [1, 2] {
            assert_eq!(unpack(column, &frame[..frame.len() - 3]), None);
            assert_eq!(unpack(column, b"not a frame"), None);
            assert_eq!(unpack(column, b""), None);
            // A frame that claims 2^56 bytes of content must not be believed.
            let mut liar = vec![0x28, 0xB5, 0x2F, 0xFD, 0xE0];
            liar.extend([0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]);
            assert_eq!(unpack(column, &liar), None);
        }
        assert_eq!(unpack(7, frame), None);
        assert_eq!(unpack(-1, frame), None);
    }

    #[test]
    fn the_dictionary_is_the_one_that_stores_were_written_with() {
        let digest = prusik_core::ids::Digest::of(DICTIONARY).short();
        assert_eq!(digest, "dde3049e5a07", "add an encoding with a new dictionary instead");
    }
}
