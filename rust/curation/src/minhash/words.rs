//! Words of a text as duplicates and contamination compare them: lower-case runs of letters and digits.
//!
//! White space, punctuation and symbols only separate words. Letters of scripts that are written without spaces between
//! words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are one word each. Text in another Unicode form than NFC has
//! other words where accents are characters of their own; `clean` brings text into NFC.

use super::hash::{hash_ascii_word, hash_bytes};

/// A word: its hash and where it is in the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Hash of its lower-case UTF-8 bytes.
    pub hash: u64,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

const WORD_SEED: u64 = 0;

/// 1 for ASCII letters and digits, 2 for bytes of other characters.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = if byte >= 128 {
            2
        } else {
            (byte as u8).is_ascii_alphanumeric() as u8
        };
        byte += 1;
    }
    class
};

/// Calls `found` for each word of the text, in order. `lower` is memory for words that are not ASCII.
pub fn each_word(text: &str, lower: &mut Vec<u8>, mut found: impl FnMut(Word)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match CLASS[usize::from(bytes[at])] {
            0 => at += 1,
            1 => {
                let start = at;
                while at < bytes.len() && CLASS[usize::from(bytes[at])] == 1 {
                    at += 1;
                }
                if at < bytes.len() && bytes[at] >= 128 {
                    at = other_words(text, start, lower, &mut found);
                } else {
                    let hash = hash_ascii_word(bytes, start, at, WORD_SEED);
                    found(Word {
                        hash,
                        start,
                        end: at,
                    });
                }
            }
            _ => at = other_words(text, at, lower, &mut found),
        }
    }
}

/// The words from `start` on up to the first separator, character by character; returns where it stopped.
fn other_words(
    text: &str,
    start: usize,
    lower: &mut Vec<u8>,
    found: &mut impl FnMut(Word),
) -> usize {
    lower.clear();
    let mut word_start = start;
    let mut stopped = text.len();
    let mut end_word = |from: usize, to: usize, lower: &mut Vec<u8>| {
        if to > from {
            let hash = hash_bytes(lower, WORD_SEED);
            found(Word {
                hash,
                start: from,
                end: to,
            });
        }
        lower.clear();
    };
    for (offset, character) in text[start..].char_indices() {
        let at = start + offset;
        let after = at + character.len_utf8();
        if !is_of_word(character) {
            end_word(word_start, at, lower);
            return after;
        }
        let alone = is_word_alone(character);
        if alone {
            end_word(word_start, at, lower);
            word_start = at;
        }
        push_lower(character, lower);
        if alone {
            end_word(word_start, after, lower);
            word_start = after;
        }
        stopped = after;
    }
    end_word(word_start, stopped, lower);
    stopped
}

pub(crate) fn push_lower(character: char, lower: &mut Vec<u8>) {
    for small in character.to_lowercase() {
        lower.extend_from_slice(small.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Letters, digits and combining accents.
pub(crate) fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&character)
}

/// Letters of scripts without spaces between words.
pub(crate) fn is_word_alone(character: char) -> bool {
    matches!(
        character,
        '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}
