//! Finds added tokens in a text: leftmost first, the longest of those that start at one position, with their flags as the
//! `tokenizers` library reads them.

use crate::error::Result;
use crate::keyed::KeyedSet;
use crate::memory::reserve;
use crate::model::{AddedToken, Model};
use crate::segment::nfc;
use crate::special::Special;
use aho_corasick::{AhoCorasick, MatchKind};
use regex_syntax::try_is_word_character;

/// A range of text that is either ordinary or one added token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Bytes `start..end` of the text, to be encoded as text.
    Text {
        /// First byte.
        start: usize,
        /// The end of its last byte.
        end: usize,
    },
    /// One added token.
    Added {
        /// Its id.
        id: u32,
        /// First byte, including the white space that it takes from its left.
        start: usize,
        /// The end of its last byte, including the white space that it takes from its right.
        end: usize,
    },
}

/// Whether merging can make an added token in a text from which the added tokens have been cut out.
///
/// It can if some tokens are matched as whole words only, or if normalization produces the text of a token that was searched for
/// before.
pub fn merging_can_make_added(model: &Model) -> bool {
    let added = &model.added;
    let any_word = added.iter().any(|token| token.single_word);
    let comes_late =
        |token: &AddedToken| model.nfc && !token.normalized && token.content.contains(DECOMPOSED);
    if !any_word && !added.iter().any(comes_late) {
        return false;
    }
    let merged: KeyedSet<u32> = model.merges.iter().map(|merge| merge.joined).collect();
    added.iter().any(|token| {
        let is_made = merged.contains(&token.id) || model.ignore_merges && token.content.len() > 1;
        is_made && (any_word || comes_late(token))
    })
}

/// The ASCII characters that have a non-ASCII character which NFC maps to them: the Kelvin sign, the Greek question mark and
/// varia.
const DECOMPOSED: [char; 3] = ['K', ';', '`'];

/// Finds added tokens.
#[derive(Default)]
pub struct AddedMatcher {
    /// Tokens matched in the given text.
    pub raw: Pass,
    /// Tokens matched, normalized themselves, in the normalized rest of the text.
    pub normalized: Pass,
}

impl AddedMatcher {
    /// A matcher of these tokens. `nfc`: text is normalized.
    pub fn of(added: &[AddedToken], nfc: bool) -> Self {
        let pass = |normalized: bool| {
            let tokens = added.iter().filter(|token| token.normalized == normalized);
            Pass::of(tokens, nfc && normalized)
        };
        Self {
            raw: pass(false),
            normalized: pass(true),
        }
    }
}

/// Added tokens that are searched for at the same time.
#[derive(Default)]
pub struct Pass {
    /// `None` if there are none, or more than an automaton can hold.
    automaton: Option<AhoCorasick>,
    tokens: Vec<Flags>,
}

#[derive(Clone, Copy)]
struct Flags {
    id: u32,
    lstrip: bool,
    rstrip: bool,
    single_word: bool,
    special: bool,
}

impl Pass {
    fn of<'a>(added: impl Iterator<Item = &'a AddedToken>, nfc: bool) -> Self {
        let mut added: Vec<&AddedToken> = added.collect();
        // Of two tokens that normalize to the same text, the one flagged special comes first, as in the `tokenizers` library.
        added.sort_by_key(|token| !token.special);
        let contents = added.iter().map(|token| {
            let bytes = token.content.as_bytes();
            if nfc {
                nfc::normalize(bytes).bytes
            } else {
                bytes.into()
            }
        });
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(contents);
        let flags = |token: &&AddedToken| Flags {
            id: token.id,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
            special: token.special,
        };
        Self {
            automaton: automaton.ok().filter(|_| !added.is_empty()),
            tokens: added.iter().map(flags).collect(),
        }
    }

    /// Splits `text` into segments, in order. O(bytes). They overlap where one token is in the white space that another one took.
    ///
    /// With [`Special::Unflagged`], the text of a token flagged special is ordinary text as a whole, even if it contains another
    /// token, as in the `tokenizers` library with `encode_special_tokens`.
    ///
    /// # Errors
    /// [`crate::TokenizerError::OutOfMemory`] if they do not fit into memory.
    pub fn segments(&self, text: &[u8], special: Special) -> Result<Vec<Segment>> {
        let mut segments = Vec::new();
        let mut from = 0;
        let mut space = Space::default();
        let matches = self
            .automaton
            .iter()
            .flat_map(|automaton| automaton.find_iter(text));
        for found in matches {
            let token = self.tokens[found.pattern().as_usize()];
            if !special.takes(token.special) {
                continue;
            }
            let (mut start, mut end) = (found.start(), found.end());
            if token.single_word
                && (ends_with_word(&text[..start]) || starts_with_word(&text[end..]))
            {
                continue;
            }
            if token.lstrip {
                start = space_before(text, start, from);
            }
            if token.rstrip {
                end = space.end(text, end);
            }
            // A token of white space, all of which the previous token took.
            if start >= end {
                continue;
            }
            reserve(&mut segments, 3, "added tokens")?;
            if from < start {
                segments.push(Segment::Text {
                    start: from,
                    end: start,
                });
            }
            segments.push(Segment::Added {
                id: token.id,
                start,
                end,
            });
            from = end;
        }
        if from < text.len() {
            segments.push(Segment::Text {
                start: from,
                end: text.len(),
            });
        }
        Ok(segments)
    }
}

/// A run of white space that was scanned before, so that tokens inside it do not make the search quadratic.
#[derive(Default)]
struct Space {
    start: usize,
    end: usize,
}

impl Space {
    /// The end of the white space from `at` on.
    fn end(&mut self, text: &[u8], at: usize) -> usize {
        if !(self.start..self.end).contains(&at) {
            let mut end = at;
            while let Some(character) = first(&text[end..])
                && character.is_whitespace()
            {
                end += character.len_utf8();
            }
            *self = Self { start: at, end };
        }
        self.end
    }
}

/// Where the white space before `end` begins, at `min_start` at the earliest.
fn space_before(text: &[u8], end: usize, min_start: usize) -> usize {
    let mut start = end;
    while start > min_start
        && let Some(character) = last(&text[..start])
        && character.is_whitespace()
    {
        start -= character.len_utf8();
    }
    start.max(min_start)
}

fn starts_with_word(text: &[u8]) -> bool {
    first(text).is_some_and(is_word)
}

fn ends_with_word(text: &[u8]) -> bool {
    last(text).is_some_and(is_word)
}

fn is_word(character: char) -> bool {
    try_is_word_character(character).unwrap_or(false)
}

/// The character that `text` begins with, if it is one.
fn first(text: &[u8]) -> Option<char> {
    text[..text.len().min(4)]
        .utf8_chunks()
        .next()?
        .valid()
        .chars()
        .next()
}

/// The character that `text` ends with, if it is one.
fn last(text: &[u8]) -> Option<char> {
    (1..=text.len().min(4)).find_map(|length| {
        let tail = std::str::from_utf8(&text[text.len() - length..]).ok()?;
        tail.chars().next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str, flags: &str) -> AddedToken {
        AddedToken {
            id,
            content: content.to_owned(),
            special: true,
            normalized: flags.contains('n'),
            lstrip: flags.contains('l'),
            rstrip: flags.contains('r'),
            single_word: flags.contains('w'),
        }
    }

    /// Segments as text: added tokens in brackets.
    fn shown(tokens: &[AddedToken], text: &str) -> Vec<String> {
        let matcher = AddedMatcher::of(tokens, false);
        let show = |segment| match segment {
            Segment::Text { start, end } => text[start..end].to_owned(),
            Segment::Added { id, start, end } => format!("[{id}:{}]", &text[start..end]),
        };
        matcher
            .raw
            .segments(text.as_bytes(), Special::Allow)
            .unwrap()
            .into_iter()
            .map(show)
            .collect()
    }

    #[test]
    fn the_leftmost_longest_token_wins() {
        let tokens = [token(1, "<a", ""), token(2, "<ab>", ""), token(3, "b>", "")];
        assert_eq!(
            shown(&tokens, "x<ab><a b>"),
            ["x", "[2:<ab>]", "[1:<a]", " ", "[3:b>]"]
        );
    }

    #[test]
    fn flags_take_white_space_and_whole_words() {
        let tokens = [
            token(1, "<l>", "l"),
            token(2, "<r>", "r"),
            token(3, "wo", "w"),
        ];
        assert_eq!(
            shown(&tokens, "a \u{3000}<l> b"),
            ["a", "[1: \u{3000}<l>]", " b"]
        );
        assert_eq!(shown(&tokens, "<r> \n <l>"), ["[2:<r> \n ]", "[1:<l>]"]);
        assert_eq!(
            shown(&tokens, "wo word (wo)"),
            ["[3:wo]", " word (", "[3:wo]", ")"]
        );
        assert_eq!(shown(&tokens, "éwo wo_"), ["éwo wo_"]);
    }

    #[test]
    fn the_text_of_a_flagged_token_is_ordinary_as_a_whole() {
        let plain = |id, content| AddedToken {
            special: false,
            ..token(id, content, "")
        };
        let tokens = [token(1, "<ab>", ""), plain(2, "ab"), plain(3, ">c")];
        let matcher = AddedMatcher::of(&tokens, false);
        let text = |start, end| Segment::Text { start, end };
        let added = |id, start, end| Segment::Added { id, start, end };
        let segments = |special| matcher.raw.segments(b"ab<ab>c>c", special).unwrap();
        assert_eq!(segments(Special::Text), [text(0, 9)]);
        // `ab` and `>c` within or across `<ab>` are not searched for.
        assert_eq!(
            segments(Special::Unflagged),
            [added(2, 0, 2), text(2, 7), added(3, 7, 9)]
        );
        assert_eq!(
            segments(Special::Allow),
            [added(2, 0, 2), added(1, 2, 6), text(6, 7), added(3, 7, 9)]
        );
    }

    #[test]
    fn a_white_space_token_is_found_in_the_space_another_took() {
        let tokens = [token(1, "<r>", "r"), token(2, " ", "r")];
        assert_eq!(
            shown(&tokens, "<r>  a"),
            ["[1:<r>  ]", "[2:  ]", "[2: ]", "a"]
        );
        // Linear: the end of the run is found once.
        let flood = " ".repeat(1 << 20);
        let matcher = AddedMatcher::of(&tokens[1..], false);
        assert_eq!(
            matcher
                .raw
                .segments(flood.as_bytes(), Special::Allow)
                .unwrap()
                .len(),
            1 << 20
        );
    }
}
