//! Which places of a history answer a question best: BM25 over passages.
//!
//! There is no index: a question is rare, a history grows with every turn, and all that has to be known
//! of a passage is how often it has the few words that are asked for, and how long it is.
//!
//! S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with
//! the inverse document frequency of Lucene, which is never negative.

use std::collections::BTreeMap;

use super::words::{Form, Words};

/// How much a second occurrence adds, and how much a passage's length counts: the usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Length of a passage, in bytes: about what one result of everyday size has. Larger texts are cut into
/// several, so that a word in a long log weighs what it weighs in a short answer.
const PASSAGE_BYTES: usize = 2_000;

/// Most different words of a question; more are not looked for.
const ASKED_MAX: usize = 64;

/// How much more an exact name counts than a word, and how much less a part of one: `KESTREL-7261` is
/// found where it stands, before all places that have to do with 7261.
const WHOLE: f64 = 3.0;
const PART: f64 = 0.5;

/// A question.
#[derive(Debug)]
pub(super) struct Asked {
    /// By hash, so that a word of the history is told quickly from all of them.
    words: Vec<(u64, String)>,
    /// Of each word.
    weights: Vec<f64>,
    /// Which hashes may be among them, by their lowest bits.
    maybe: [u64; 8],
}

/// Passages that have some of the words.
#[derive(Debug)]
pub(super) struct Ranking<'a> {
    asked: &'a Asked,
    words: Words,
    passages: Vec<Passage>,
    /// In how many passages each word is.
    documents: Vec<usize>,
    passages_all: usize,
    words_all: usize,
}

#[derive(Debug)]
struct Passage {
    entry: usize,
    begin: usize,
    end: usize,
    words: usize,
    /// Which of the words it has, and how often.
    has: Vec<(usize, usize)>,
}

/// The best passage of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    pub entry: usize,
    pub begin: usize,
    pub end: usize,
    pub score: f64,
}

impl Asked {
    /// Returns the words of a question; none if it has none.
    pub fn of(question: &str) -> Option<Self> {
        let mut asked: BTreeMap<(u64, String), f64> = BTreeMap::new();
        Words::default().each(question, |word, form, _| {
            let word = (hash(word), word.to_owned());
            let weight = match form {
                Form::Plain => 1.0,
                Form::Whole => WHOLE,
                Form::Part => PART,
            };
            if asked.len() < ASKED_MAX || asked.contains_key(&word) {
                let known = asked.entry(word).or_insert(weight);
                *known = known.max(weight);
            }
        });
        let (words, weights): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let mut maybe = [0; 8];
        for (hash, _) in &words {
            let (place, bit) = place(*hash);
            maybe[place] |= bit;
        }
        (!words.is_empty()).then_some(Self { words, weights, maybe })
    }

    fn find(&self, word: &str) -> Option<usize> {
        let hash = hash(word);
        let (place, bit) = place(hash);
        if self.maybe[place] & bit == 0 {
            return None;
        }
        self.words.binary_search_by(|(h, w)| (*h, w.as_str()).cmp(&(hash, word))).ok()
    }
}

fn place(hash: u64) -> (usize, u64) {
    ((hash & 7) as usize, 1 << ((hash >> 3) & 63))
}

/// FNV-1a: quick for short words.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<'a> Ranking<'a> {
    pub fn new(asked: &'a Asked) -> Self {
        Self {
            asked,
            words: Words::default(),
            passages: Vec::new(),
            documents: vec![0; asked.words.len()],
            passages_all: 0,
            words_all: 0,
        }
    }

    /// Takes in the text of an entry, from byte `begin` on to the end of a passage, and returns where
    /// the next one begins.
    pub fn read_passage(&mut self, entry: usize, text: &str, begin: usize) -> usize {
        let end = begin + passage_end(&text[begin..]);
        let (mut words, mut has) = (0, Vec::new());
        let asked = self.asked;
        self.words.each(&text[begin..end], |word, _, _| {
            words += 1;
            if let Some(found) = asked.find(word) {
                match has.iter_mut().find(|(known, _)| *known == found) {
                    Some((_, times)) => *times += 1,
                    None => has.push((found, 1)),
                }
            }
        });
        self.passages_all += 1;
        self.words_all += words;
        if !has.is_empty() {
            for (word, _) in &has {
                self.documents[*word] += 1;
            }
            self.passages.push(Passage { entry, begin, end, words, has });
        }
        end
    }

    /// Returns the best passage of each entry that has one, best first; of equals the newest.
    pub fn hits(&self) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        for passage in &self.passages {
            let score = self.score(passage);
            let Passage { entry, begin, end, .. } = *passage;
            let hit = Hit { entry, begin, end, score };
            match hits.last_mut().filter(|last| last.entry == entry) {
                Some(last) if score > last.score => *last = hit,
                Some(_) => {}
                None => hits.push(hit),
            }
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.entry.cmp(&a.entry)));
        hits
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn score(&self, passage: &Passage) -> f64 {
        let average = self.words_all as f64 / self.passages_all as f64;
        let length = passage.words as f64 / average;
        let weights = passage.has.iter().map(|(word, times)| {
            let times = *times as f64;
            self.worth(*word) * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length))
        });
        weights.sum()
    }

    /// Returns what an occurrence of a word is worth: the rarer it is, the more.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn worth(&self, word: usize) -> f64 {
        let (all, with) = (self.passages_all as f64, self.documents[word] as f64);
        self.asked.weights[word] * (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    /// Returns the part of a passage, at most `bytes` long, that has the most of what is asked for.
    pub fn best_part(&mut self, passage: &str, bytes: usize) -> (usize, usize) {
        let mut places: Vec<(usize, usize)> = Vec::new();
        let asked = self.asked;
        self.words.each(passage, |word, _, at| {
            places.extend(asked.find(word).map(|found| (at, found)));
        });
        places.sort_unstable();
        let weigh = |from: usize| {
            let within =
                places[from..].iter().take_while(|(at, _)| at - places[from].0 < bytes / 2);
            let mut seen: Vec<usize> = within.map(|(_, word)| *word).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.into_iter().map(|word| self.worth(word)).sum::<f64>()
        };
        let best = (0..places.len())
            .map(|from| (weigh(from), from))
            .reduce(|best, other| if other.0 > best.0 { other } else { best });
        let at = best.map_or(0, |(_, from)| places[from].0);
        let begin = passage.floor_char_boundary(at.saturating_sub(bytes / 4));
        let end = passage.floor_char_boundary((begin + bytes).min(passage.len()));
        (begin, end)
    }
}

/// Returns where the first passage of `text` ends: behind a line, or else behind a word.
fn passage_end(text: &str) -> usize {
    if text.len() <= PASSAGE_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(PASSAGE_BYTES);
    let half = text.floor_char_boundary(PASSAGE_BYTES / 2);
    let late = &text[half..end];
    let cut = late.rfind('\n').or_else(|| late.rfind(|c: char| !c.is_alphanumeric()));
    match cut {
        // Behind the character, which may be more than one byte long.
        Some(at) => half + text[half + at..].chars().next().map_or(at, |c| at + c.len_utf8()),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(question: &str, texts: &[&str]) -> Vec<usize> {
        let asked = Asked::of(question).unwrap();
        let mut ranking = Ranking::new(&asked);
        for (entry, text) in texts.iter().enumerate() {
            let mut at = 0;
            while at < text.len() {
                at = ranking.read_passage(entry, text, at);
            }
        }
        ranking.hits().iter().map(|hit| hit.entry).collect()
    }

    #[test]
    fn rare_words_and_short_passages_count_for_more() {
        let texts = ["the order is late", "the order KESTREL-7261 is late", "nothing"];
        assert_eq!(rank("order kestrel-7261", &texts), [1, 0]);
        let long = format!("kestrel {}", "and so on ".repeat(50));
        assert_eq!(rank("kestrel", &[&long, "kestrel"]), [1, 0]);
        // The exact name counts for more than many mentions of a part.
        assert_eq!(
            rank("KESTREL-7261", &[&long.replace("kestrel", "kestrel-7261"), "7261 7261"]),
            [0, 1]
        );
        // Of equals the newest comes first.
        assert_eq!(rank("kestrel", &["kestrel", "kestrel", "x"]), [1, 0]);
        assert!(rank("none of it", &["x"]).is_empty());
        assert!(Asked::of(" – ").is_none());
    }

    #[test]
    fn a_long_text_is_ranked_by_its_best_passage() {
        let text =
            format!("{}\nKESTREL-7261 is here\n{}", "x y\n".repeat(2000), "z\n".repeat(2000));
        let asked = Asked::of("kestrel-7261").unwrap();
        let mut ranking = Ranking::new(&asked);
        let (mut at, mut passages) = (0, 0);
        while at < text.len() {
            let next = ranking.read_passage(0, &text, at);
            assert!(next > at && next - at <= PASSAGE_BYTES);
            (at, passages) = (next, passages + 1);
        }
        assert!(passages > 5, "{passages}");
        let [hit] = ranking.hits()[..] else { panic!("one entry") };
        let passage = &text[hit.begin..hit.end];
        assert!(passage.contains("KESTREL-7261"));
        let (begin, end) = ranking.best_part(passage, 60);
        assert!(passage[begin..end].contains("KESTREL-7261 is here"), "{}", &passage[begin..end]);
    }

    #[test]
    fn a_text_without_any_place_to_cut_is_cut_all_the_same() {
        for text in [
            "ä".repeat(5_000),
            "a".repeat(5_000),
            format!("{}—{}", "a".repeat(1_500), "b".repeat(3_000)),
        ] {
            let end = passage_end(&text);
            assert!(text.is_char_boundary(end) && end > 0 && end <= PASSAGE_BYTES, "{end}");
        }
    }
}
