//! GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.

use super::{Scanner, Text};
use crate::classes::{LETTER, NUMBER, OTHER, SPACE};

/// The scanner of that pattern.
pub struct Gpt2;

impl Scanner for Gpt2 {
    #[inline]
    fn piece_end(text: Text<'_>, start: usize) -> usize {
        if let Some(end) = contraction(text, start) {
            return end;
        }
        let first = text.character(start);
        let after = start + first.len;
        if !first.is(SPACE) {
            return text.run(after, first.class & (LETTER | NUMBER | OTHER));
        }
        let second = text.character(after);
        if text.byte(start) == Some(b' ') && second.is(LETTER | NUMBER | OTHER) {
            return text.run(after + second.len, second.class & (LETTER | NUMBER | OTHER));
        }
        text.white_space(start)
    }
}

/// As [`Text::contraction`], small letters only.
#[inline]
fn contraction(text: Text<'_>, at: usize) -> Option<usize> {
    if text.byte(at) != Some(b'\'') {
        return None;
    }
    match (text.byte(at + 1)?, text.byte(at + 2)) {
        (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(at + 3),
        _ => None,
    }
}
