//! What the rules measure of a text: computed once, in one pass over its lines and one over its words.

use memchr::{memchr_iter, memmem};

use crate::ngrams::{NgramCounts, Ngrams};
use crate::table::Table;
use crate::words::each_word;

/// Characters that end a sentence, or a quotation of one.
pub const TERMINAL: &[char] = &[
    '.', '!', '?', '"', '\'', '”', '’', '»', '…', '。', '！', '？', '؟', '।', '۔',
];
/// Characters that a line of a list starts with.
const BULLETS: &[char] = &['•', '-'];
/// A line of at most this many characters is short (FineWeb).
const SHORT_LINE: u64 = 30;
const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// Counts of a text. A line is what stands between line feeds, without white space around it; blank lines count nowhere.
/// A paragraph is a run of lines without a blank line between them. Words: see `words`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Characters (code points), white space included.
    pub characters: u64,
    /// Line feeds.
    pub line_feeds: u64,
    /// Words.
    pub words: u64,
    /// Characters of all words.
    pub word_characters: u64,
    /// Number signs.
    pub hashes: u64,
    /// Ellipses, written as three periods or as one character.
    pub ellipses: u64,
    /// Words with an alphabetic character.
    pub alphabetic_words: u64,
    /// Different stop words of `STOP_WORDS`, whatever their case and the punctuation around them.
    pub stop_words: u64,
    /// Lines.
    pub lines: u64,
    /// Lines that start with a bullet or a hyphen.
    pub bullet_lines: u64,
    /// Lines that end with an ellipsis.
    pub ellipsis_lines: u64,
    /// Lines that end with a character of `TERMINAL`.
    pub punctuated_lines: u64,
    /// Lines of at most 30 characters.
    pub short_lines: u64,
    /// Lines that occurred before in the text.
    pub duplicate_lines: u64,
    /// Characters of those.
    pub duplicate_line_characters: u64,
    /// Paragraphs.
    pub paragraphs: u64,
    /// Paragraphs that occurred before in the text.
    pub duplicate_paragraphs: u64,
    /// Characters of those, with one line feed between lines.
    pub duplicate_paragraph_characters: u64,
    /// Repeated n-grams of words.
    pub ngrams: NgramCounts,
}

/// Computes [`Statistics`]; its buffers are reused from text to text and hold about 30 bytes per word.
#[derive(Default)]
pub struct Measure {
    table: Table,
    words: Vec<u32>,
    /// Characters of the words before each word.
    before: Vec<u32>,
    /// Of each different word: count, characters, whether it has an alphabetic character.
    counts: Vec<u32>,
    lengths: Vec<(u32, bool)>,
    lines: Vec<u32>,
    line_lengths: Vec<u64>,
    ngrams: Ngrams,
}

impl Measure {
    /// The counts of `text`.
    pub fn of(&mut self, text: &str) -> Statistics {
        let mut found = Statistics {
            characters: text.chars().count() as u64,
            line_feeds: memchr_iter(b'\n', text.as_bytes()).count() as u64,
            hashes: memchr_iter(b'#', text.as_bytes()).count() as u64,
            ellipses: occurrences(text, "...") + occurrences(text, "…"),
            ..Statistics::default()
        };
        self.measure_lines(text, &mut found);
        self.measure_words(text, &mut found);
        found.ngrams = self
            .ngrams
            .count(&self.words, &self.counts, &self.before, &mut self.table);
        found
    }

    fn measure_lines(&mut self, text: &str, found: &mut Statistics) {
        let is_ascii = found.characters == text.len() as u64;
        self.table.start(64);
        let hash = self.table.hash();
        self.lines.clear();
        self.line_lengths.clear();
        let mut firsts: Vec<&str> = Vec::new();
        let mut paragraph_ends = Vec::new();
        for line in lines(text) {
            if line.is_empty() {
                paragraph_ends.push(self.lines.len());
                continue;
            }
            let length = if is_ascii {
                line.len()
            } else {
                line.chars().count()
            } as u64;
            let (id, is_new) = self.table.id(hash.bytes(line.as_bytes()), |id| {
                firsts[id as usize] == line
            });
            if is_new {
                firsts.push(line);
                self.line_lengths.push(length);
            } else {
                found.duplicate_lines += 1;
                found.duplicate_line_characters += length;
            }
            self.lines.push(id);
            found.lines += 1;
            found.short_lines += u64::from(length <= SHORT_LINE);
            found.bullet_lines += u64::from(line.starts_with(BULLETS));
            found.ellipsis_lines += u64::from(line.ends_with("...") || line.ends_with('…'));
            found.punctuated_lines += u64::from(line.ends_with(TERMINAL));
        }
        paragraph_ends.push(self.lines.len());
        self.measure_paragraphs(&paragraph_ends, found);
    }

    /// A paragraph is the sequence of the ids of its lines.
    fn measure_paragraphs(&mut self, ends: &[usize], found: &mut Statistics) {
        self.table.start(64);
        let hash = self.table.hash();
        let mut firsts: Vec<&[u32]> = Vec::new();
        let mut start = 0;
        for &end in ends {
            let paragraph = &self.lines[start..end];
            start = end;
            if paragraph.is_empty() {
                continue;
            }
            found.paragraphs += 1;
            let (_, is_new) = self
                .table
                .id(hash.ids(paragraph), |id| firsts[id as usize] == paragraph);
            if is_new {
                firsts.push(paragraph);
                continue;
            }
            let lines = paragraph
                .iter()
                .map(|&line| self.line_lengths[line as usize]);
            found.duplicate_paragraphs += 1;
            found.duplicate_paragraph_characters += lines.sum::<u64>() + paragraph.len() as u64 - 1;
        }
    }

    fn measure_words(&mut self, text: &str, found: &mut Statistics) {
        self.words.clear();
        self.before.clear();
        self.counts.clear();
        self.lengths.clear();
        let mut firsts: Vec<&str> = Vec::new();
        let mut stop_words = 0_u8;
        let mut total = 0_u32;
        self.table.start(text.len() / 16);
        let hash = self.table.hash();
        let (table, counts, lengths) = (&mut self.table, &mut self.counts, &mut self.lengths);
        let (words, before) = (&mut self.words, &mut self.before);
        each_word(text, |word| {
            let (id, is_new) = table.id(hash.bytes(word.as_bytes()), |id| {
                firsts[id as usize] == word
            });
            if is_new {
                firsts.push(word);
                counts.push(0);
                lengths.push((word.chars().count() as u32, is_alphabetic(word)));
                stop_words |= stop_word(word);
            }
            counts[id as usize] += 1;
            words.push(id);
            before.push(total);
            total = total.wrapping_add(lengths[id as usize].0);
        });
        self.before.push(total);
        found.words = self.words.len() as u64;
        found.stop_words = u64::from(stop_words.count_ones());
        for (&count, &(length, alphabetic)) in self.counts.iter().zip(&self.lengths) {
            found.word_characters += u64::from(count) * u64::from(length);
            found.alphabetic_words += u64::from(count) * u64::from(alphabetic);
        }
    }
}

/// The lines of a text, without white space around them; a blank one is empty.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.map(move |end| {
        let line = text[start..end].trim();
        start = end + 1;
        line
    })
}

fn occurrences(text: &str, part: &str) -> u64 {
    memmem::find_iter(text.as_bytes(), part).count() as u64
}

fn is_alphabetic(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic())
        || (!word.is_ascii() && word.chars().any(char::is_alphabetic))
}

/// The bit of the stop word that `word` is, or 0.
fn stop_word(word: &str) -> u8 {
    let bare = word.trim_matches(|character: char| !character.is_alphanumeric());
    STOP_WORDS
        .iter()
        .position(|stop| bare.eq_ignore_ascii_case(stop))
        .map_or(0, |number| 1 << number)
}
