//! GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.

use super::text::{Scanner, Text};
use super::window::{Window, Windowed};
use crate::classes::{LETTER, NUMBER, OTHER, SPACE};

/// The scanner of that pattern.
pub struct Gpt2;

impl Scanner for Gpt2 {
    #[inline]
    fn pre_token_end(text: Text<'_>, start: usize) -> usize {
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

/// As [`Text::contraction`], but small letters only.
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

impl Windowed for Gpt2 {
    const MARKS_ARE_SCALAR: bool = false;

    #[inline(always)]
    fn boundaries(text: Text<'_>, start: usize, window: &Window) -> u64 {
        let numbers = window.digit & !(window.digit << 1);
        let others = window.other_starts() & !(window.space << 1);
        let words = (window.letter_starts() | numbers) & !(window.space << 1);
        let white = window.white & !(window.white << 1) | window.last_white(window.white);
        let boundaries = others | words | white;
        contractions(
            text,
            start,
            window,
            others,
            window.without_open_white(boundaries, window.white),
        )
    }
}

/// `boundaries` with those of the contractions that begin at one of `starts`.
#[inline(always)]
fn contractions(
    text: Text<'_>,
    start: usize,
    window: &Window,
    starts: u64,
    mut boundaries: u64,
) -> u64 {
    let mut quotes = starts & window.quote;
    while quotes != 0 {
        let at = quotes.trailing_zeros() as usize;
        if at + 3 > window.len() {
            return Window::before(boundaries, at + 1);
        }
        if let Some(end) = contraction(text, start + at) {
            boundaries &= !(2 << at);
            boundaries |= 1_u64.checked_shl((end - start) as u32).unwrap_or(0);
        }
        quotes &= quotes - 1;
    }
    boundaries
}
