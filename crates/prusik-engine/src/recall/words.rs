//! Words of a text, as a search wants them.
//!
//! What agents look for is mostly not prose: `KESTREL-7261`, `src/run/reply.rs`, `orderId`. So such a
//! thing is a word as a whole and by its parts, and nothing is dropped for being common. Case, accents
//! and widths do not count; endings of English words are taken off, beside the word itself. Scripts
//! that put no spaces between words are taken by single characters and by pairs.

/// Longest word, in bytes: longer ones are no words but encoded bytes, which nobody looks for.
const WORD_BYTES_MAX: usize = 256;

/// What a word is to the thing that it was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it, where nothing else can be taken from it.
    Plain,
    /// All of a thing that has parts: most likely what was meant exactly.
    Whole,
    /// A part, or a word without its ending.
    Part,
}

/// Takes a text apart. Kept from one text to the next for its buffers.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// What stands between white space and marks, folded: `kestrel-7261`.
    whole: String,
    whole_at: usize,
    parts: usize,
    /// The part that is being read, folded: `kestrel`.
    part: String,
    part_at: usize,
    /// Where case or kind changes within the part, as offsets into it: `order|id`.
    seams: Vec<usize>,
    last: Option<Kind>,
    /// The character before this one, if it is written without spaces.
    dense: Option<char>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upper,
    Lower,
    Digit,
}

impl Words {
    /// Calls `take` with each word of `text`, its form, and the byte where it begins.
    pub fn each(&mut self, text: &str, mut take: impl FnMut(&str, Form, usize)) {
        let mut at = 0;
        while let Some((class, c)) = class_at(text, at) {
            match class {
                Class::Word(_) if c.is_ascii() => {
                    self.dense = None;
                    at = self.ascii_chars(text, at);
                    continue;
                }
                Class::Word(kind) => self.word_char(kind, c, at),
                Class::Joint if self.goes_on(text, at + c.len_utf8()) => {
                    self.end_of_part(true, &mut take);
                    if self.whole.len() <= WORD_BYTES_MAX {
                        self.whole.push(c);
                    }
                }
                Class::Joint | Class::Other => self.end_of_whole(&mut take),
                Class::Dense => {
                    self.end_of_whole(&mut take);
                    self.dense_char(c, at, &mut take);
                }
            }
            if class != Class::Dense {
                self.dense = None;
            }
            at += c.len_utf8();
        }
        self.dense = None;
        self.end_of_whole(&mut take);
    }

    /// Returns whether a word goes on at `next`, behind a joint.
    fn goes_on(&self, text: &str, next: usize) -> bool {
        let follows = |class| matches!(class, Class::Word(_));
        !self.part.is_empty() && class_at(text, next).is_some_and(|(class, _)| follows(class))
    }

    /// Takes in the letters and digits from `at` on that are ASCII, and returns where they end.
    fn ascii_chars(&mut self, text: &str, at: usize) -> usize {
        self.begin_part(at);
        let (bytes, first) = (text.as_bytes(), self.part.len());
        let mut end = at;
        while let Some(Class::Word(kind)) = bytes.get(end).and_then(|byte| ascii(*byte)) {
            if self.last != Some(kind) {
                self.see(kind, first + end - at);
            }
            end += 1;
        }
        self.part.push_str(&text[at..end]);
        self.part[first..].make_ascii_lowercase();
        end
    }

    fn word_char(&mut self, kind: Kind, c: char, at: usize) {
        self.begin_part(at);
        self.see(kind, self.part.len());
        fold(c, &mut self.part);
    }

    fn begin_part(&mut self, at: usize) {
        if self.part.is_empty() {
            self.part_at = at;
            if self.parts == 0 {
                self.whole_at = at;
            }
        }
    }

    /// Notes the kind of the character that comes at `offset` of the part.
    fn see(&mut self, kind: Kind, offset: usize) {
        let is_seam = match (self.last, kind) {
            (Some(Kind::Digit), Kind::Upper | Kind::Lower)
            | (Some(Kind::Upper | Kind::Lower), Kind::Digit)
            | (Some(Kind::Lower), Kind::Upper) => true,
            (Some(Kind::Upper), Kind::Upper | Kind::Lower)
            | (Some(Kind::Lower), Kind::Lower)
            | (Some(Kind::Digit), Kind::Digit)
            | (None, _) => false,
        };
        if is_seam {
            self.seams.push(offset);
        }
        self.last = Some(kind);
    }

    fn dense_char(&mut self, c: char, at: usize, take: &mut impl FnMut(&str, Form, usize)) {
        let mut pair = String::with_capacity(8);
        if let Some(before) = self.dense.replace(c) {
            pair.push(before);
            pair.push(c);
            take(&pair, Form::Plain, at - before.len_utf8());
            pair.clear();
        }
        pair.push(c);
        take(&pair, Form::Part, at);
    }

    fn end_of_part(&mut self, goes_on: bool, take: &mut impl FnMut(&str, Form, usize)) {
        if self.part.is_empty() {
            return;
        }
        self.parts += 1;
        if self.part.len() <= WORD_BYTES_MAX {
            let form = match (goes_on || self.parts > 1, self.seams.is_empty()) {
                (true, _) => Form::Part,
                (false, true) => Form::Plain,
                (false, false) => Form::Whole,
            };
            take(&self.part, form, self.part_at);
            if !self.seams.is_empty() {
                let ends = self.seams.iter().copied().chain([self.part.len()]);
                let mut begin = 0;
                for end in ends {
                    // One letter alone says nothing.
                    if end - begin > 1 {
                        take(&self.part[begin..end], Form::Part, self.part_at);
                    }
                    begin = end;
                }
            } else if let Some(stem) = stem(&self.part) {
                take(stem, Form::Part, self.part_at);
            }
        }
        if self.whole.len() <= WORD_BYTES_MAX {
            self.whole.push_str(&self.part);
        }
        self.part.clear();
        self.seams.clear();
        self.last = None;
    }

    fn end_of_whole(&mut self, take: &mut impl FnMut(&str, Form, usize)) {
        if self.parts == 0 && self.part.is_empty() {
            return;
        }
        self.end_of_part(false, take);
        if self.parts > 1 && self.whole.len() <= WORD_BYTES_MAX {
            take(&self.whole, Form::Whole, self.whole_at);
        }
        self.whole.clear();
        self.parts = 0;
    }
}

/// What a character is to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Word(Kind),
    /// It may stand within a word, between two letters or digits.
    Joint,
    /// It is written without spaces.
    Dense,
    Other,
}

impl Class {
    const fn of_ascii(byte: u8) -> Self {
        match byte {
            b'a'..=b'z' => Self::Word(Kind::Lower),
            b'A'..=b'Z' => Self::Word(Kind::Upper),
            b'0'..=b'9' => Self::Word(Kind::Digit),
            b'-' | b'_' | b'.' | b'/' | b'\\' | b':' | b'@' | b'#' | b'\'' => Self::Joint,
            _ => Self::Other,
        }
    }

    fn of(c: char) -> Self {
        match c {
            '’' => Self::Joint,
            c if is_dense(c) => Self::Dense,
            c if is_accent(c) || c.is_lowercase() => Self::Word(Kind::Lower),
            c if c.is_uppercase() => Self::Word(Kind::Upper),
            c if c.is_numeric() => Self::Word(Kind::Digit),
            c if c.is_alphabetic() => Self::Word(Kind::Lower),
            _ => Self::Other,
        }
    }
}

/// Nearly all of what is read is ASCII.
const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = Class::of_ascii(byte);
        byte += 1;
    }
    classes
};

fn ascii(byte: u8) -> Option<Class> {
    ASCII.get(usize::from(byte)).copied()
}

fn class_at(text: &str, at: usize) -> Option<(Class, char)> {
    let byte = *text.as_bytes().get(at)?;
    if let Some(class) = ascii(byte) {
        return Some((class, char::from(byte)));
    }
    let c = text[at..].chars().next()?;
    Some((Class::of(c), c))
}

/// An accent that follows its letter.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Returns whether `c` belongs to a script that puts no spaces between words, or none that help.
fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Burmese
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3005}' | '\u{3040}'..='\u{30ff}' // Kana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' // Han
        | '\u{ac00}'..='\u{d7a3}' // Hangul
    )
}

/// Appends `c` without case, accent and width.
fn fold(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c.to_ascii_lowercase());
        return;
    }
    for c in c.to_lowercase() {
        match c {
            'à'..='å' | 'ā' | 'ă' | 'ą' => out.push('a'),
            'æ' => out.push_str("ae"),
            'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => out.push('c'),
            'ð' | 'ď' | 'đ' => out.push('d'),
            'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => out.push('e'),
            'ĝ' | 'ğ' | 'ġ' | 'ģ' => out.push('g'),
            'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => out.push('i'),
            'ĺ' | 'ļ' | 'ľ' | 'ł' => out.push('l'),
            'ñ' | 'ń' | 'ņ' | 'ň' => out.push('n'),
            'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => out.push('o'),
            'œ' => out.push_str("oe"),
            'ŕ' | 'ŗ' | 'ř' => out.push('r'),
            'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => out.push('s'),
            'ß' => out.push_str("ss"),
            'ţ' | 'ť' | 'ț' => out.push('t'),
            'þ' => out.push_str("th"),
            'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => out.push('u'),
            'ý' | 'ÿ' => out.push('y'),
            'ź' | 'ż' | 'ž' => out.push('z'),
            // Letters and digits of full width, as they are written beside Chinese and Japanese.
            '\u{ff01}'..='\u{ff5e}' => {
                let narrow = char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c);
                out.push(narrow.to_ascii_lowercase());
            }
            c if is_accent(c) => {}
            c => out.push(c),
        }
    }
}

/// Returns an English word without its ending; none if it has none that is known.
///
/// It only has to bring the forms of one word together, not to find the word itself: `orders` and
/// `order`, `failed` and `failing`, `stories` and `story`.
fn stem(word: &str) -> Option<&str> {
    const ENDINGS: [&str; 7] = ["ies", "ied", "ing", "es", "ed", "y", "s"];
    let may_end = matches!(word.as_bytes().last(), Some(b's' | b'd' | b'g' | b'y'));
    if !may_end || word.len() < 4 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let rest = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending))?;
    let rest = rest.strip_suffix('e').unwrap_or(rest);
    (rest.len() >= 3 && !word.ends_with("ss")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        Words::default().each(text, |word, _, at| {
            assert!(text.is_char_boundary(at) && at < text.len(), "{word} at {at}");
            all.push(word.to_owned());
        });
        all
    }

    #[test]
    fn a_thing_is_a_word_as_a_whole_and_by_its_parts() {
        for (text, expected) in [
            ("KESTREL-7261.", vec!["kestrel", "7261", "kestrel-7261"]),
            ("src/run/reply.rs", vec!["src", "run", "reply", "repl", "rs", "src/run/reply.rs"]),
            ("orderId", vec!["orderid", "order", "id"]),
            ("INV20391", vec!["inv20391", "inv", "20391"]),
            ("(a, b)", vec!["a", "b"]),
            ("the the", vec!["the", "the"]),
            ("a--b", vec!["a", "b"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_says_whether_it_is_all_of_a_thing() {
        let mut forms = Vec::new();
        Words::default().each("an A-7 orderId 注文 stories", |word, form, _| {
            forms.push(format!("{word} {form:?}"));
        });
        let expected = [
            "an Plain",
            "a Part",
            "7 Part",
            "a-7 Whole",
            "orderid Whole",
            "order Part",
            "id Part",
            "注 Part",
            "注文 Plain",
            "文 Part",
            "stories Plain",
            "stor Part",
        ];
        assert_eq!(forms, expected);
    }

    #[test]
    fn case_accents_and_widths_do_not_count() {
        for text in ["Müller", "MÜLLER", "Mu\u{308}ller", "muller", "Ｍüller"] {
            assert_eq!(words(text), ["muller"], "{text}");
        }
        assert_eq!(words("Straße"), words("STRASSE"));
        assert_eq!(words("Ørsted"), words("orsted"));
    }

    #[test]
    fn what_is_written_without_spaces_is_taken_by_characters_and_pairs() {
        assert_eq!(words("注文7"), ["注", "注文", "文", "7"]);
        assert_eq!(words("x注"), ["x", "注"]);
        assert_eq!(words("한 국"), ["한", "국"]);
    }

    #[test]
    fn forms_of_a_word_meet() {
        let stem_of = |word| words(word).last().unwrap().clone();
        for [one, other] in [
            ["orders", "ordered"],
            ["stories", "story"],
            ["failing", "failed"],
            ["updates", "updating"],
            ["boxes", "boxed"],
        ] {
            assert_eq!(stem_of(one), stem_of(other), "{one} {other}");
        }
        assert_eq!(words("class"), ["class"]);
    }

    #[test]
    fn encoded_bytes_are_no_words_and_a_digest_is_one() {
        let digest = "ab12".repeat(16);
        assert_eq!(words(&digest)[0], digest);
        assert!(words(&"A".repeat(100_000)).is_empty());
        assert!(words(&"ab.".repeat(100_000)).iter().all(|word| word == "ab"));
    }
}
