//! GPT-4o (o200k). Its words, with `U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and `L = [\p{Ll}\p{Lm}\p{Lo}\p{M}]`:
//! `[^\r\n\p{L}\p{N}]?U*L+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|...)?`, then as GPT-4, with `/` among the line ends that
//! follow punctuation.

use super::text::{Scanner, Text};
use super::window::{Window, Windowed};
use crate::classes::{CAPITAL, LETTER, NEWLINE, NUMBER, OTHER, SMALL};

/// The scanner of that pattern.
pub struct O200k;

impl Scanner for O200k {
    #[inline]
    fn pre_token_end(text: Text<'_>, start: usize) -> usize {
        let first = text.character(start);
        let after = start + first.len;
        if first.is(NUMBER) {
            return text.numbers(after, 2);
        }
        if let Some(end) = word(text, start, after) {
            return text.contraction(end).unwrap_or(end);
        }
        let second = text.character(after);
        let punctuation = match text.byte(start) {
            Some(b' ') if second.is(OTHER) => after + second.len,
            _ if first.is(OTHER) => after,
            _ => return text.white_space_by_lines(start),
        };
        text.run_of(text.run(punctuation, OTHER), b"\r\n/")
    }
}

/// The end of the word at `start` without its contraction; `after` is the end of its first character.
///
/// The order is that of the regular expression: both forms of `U*L+` (the first character as the optional one, then as part of
/// the word) before capitals alone.
#[inline]
fn word(text: Text<'_>, start: usize, after: usize) -> Option<usize> {
    let first = text.character(start);
    if first.is(LETTER) {
        return ends_small(text, start).or_else(|| capitals(text, start));
    }
    if first.is(NEWLINE) {
        return None;
    }
    // A mark may be the optional character before a word, or the word itself.
    ends_small(text, after)
        .or_else(|| ends_small(text, start))
        .or_else(|| capitals(text, after))
}

/// `U*L+` from `at`: capitals, then small letters; if no small letter follows, back to the last character of either part.
#[inline]
fn ends_small(text: Text<'_>, at: usize) -> Option<usize> {
    let mut end = at;
    let mut both = None;
    loop {
        let character = text.character(end);
        if !character.is(CAPITAL) {
            break;
        }
        end += character.len;
        if character.is(SMALL) {
            both = Some(end);
        }
    }
    let small = text.run(end, SMALL);
    if small > end { Some(small) } else { both }
}

/// `U+` from `at`. No small letter follows here, or [`ends_small`] would have matched.
#[inline]
fn capitals(text: Text<'_>, at: usize) -> Option<usize> {
    Some(text.run(at, CAPITAL)).filter(|&end| end > at)
}

impl Windowed for O200k {
    const MARKS_ARE_SCALAR: bool = true;

    #[inline(always)]
    fn boundaries(text: Text<'_>, start: usize, window: &Window) -> u64 {
        let taken = window.taken_newlines();
        // A letter of either part before a capital, or a slash after a line end: rare, and left to the scalar scanner.
        if (window.either & (window.capital >> 1)) | (window.slash & (taken << 1)) != 0 {
            return 0;
        }
        let (others, letters) = window.words_and_others();
        let small = window.letter & !window.capital & !window.either;
        // A character of either part that follows small letters belongs to the small part.
        let humps = window.capital & (small << 1);
        let boundaries =
            window.thirds() | others | letters | humps | window.white_boundaries(taken);
        contractions(text, start, window, boundaries)
    }
}

/// `boundaries` with contractions joined to the words before them.
#[inline(always)]
fn contractions(text: Text<'_>, start: usize, window: &Window, mut boundaries: u64) -> u64 {
    let mut quotes = window.quote & (window.letter << 1);
    let mut last_end = 0;
    while quotes != 0 {
        let at = quotes.trailing_zeros() as usize;
        if at + 3 > window.len() {
            return Window::before(boundaries, at);
        }
        quotes &= quotes - 1;
        // The letters before this one belong to the last contraction, not to a word.
        if at == last_end {
            continue;
        }
        if let Some(end) = text.contraction(start + at) {
            last_end = end - start;
            let end = 1_u64.checked_shl(last_end as u32).unwrap_or(0);
            boundaries = boundaries & !(end.wrapping_sub(1) & !((1 << at) - 1)) | end;
        }
    }
    boundaries
}
