//! GPT-4 (cl100k), Llama 3 and Qwen:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.

use super::text::{Scanner, Text};
use super::window::{Window, Windowed};
use crate::classes::{LETTER, NEWLINE, NUMBER, OTHER};

/// The scanner of that pattern with `\p{N}{1,NUMBERS}`: 3 for GPT-4 and Llama 3, 1 for Qwen.
pub struct Gpt4<const NUMBERS: usize>;

impl<const NUMBERS: usize> Scanner for Gpt4<NUMBERS> {
    #[inline]
    fn pre_token_end(text: Text<'_>, start: usize) -> usize {
        let first = text.character(start);
        let after = start + first.len;
        if first.is(LETTER) {
            return text.letters(after);
        }
        if first.is(NUMBER) {
            return text.numbers(after, NUMBERS - 1);
        }
        if let Some(end) = text.contraction(start) {
            return end;
        }
        let second = text.character(after);
        if second.is(LETTER) && !first.is(NEWLINE) {
            return text.letters(after + second.len);
        }
        let punctuation = match text.byte(start) {
            Some(b' ') if second.is(OTHER) => after + second.len,
            _ if first.is(OTHER) => after,
            _ => return text.white_space_by_lines(start),
        };
        text.run_of(text.run(punctuation, OTHER), b"\r\n")
    }
}

impl<const NUMBERS: usize> Windowed for Gpt4<NUMBERS> {
    const MARKS_ARE_SCALAR: bool = false;

    #[inline(always)]
    fn boundaries(text: Text<'_>, start: usize, window: &Window) -> u64 {
        let numbers = if NUMBERS == 1 {
            window.digit
        } else {
            window.thirds()
        };
        let taken = window.taken_newlines();
        let (others, letters) = window.words_and_others();
        let boundaries = numbers | others | letters | window.white_boundaries(taken);
        boundaries | contractions(text, start, window, others)
    }
}

/// Ends of the contractions that begin at one of `starts`.
#[inline(always)]
fn contractions(text: Text<'_>, start: usize, window: &Window, starts: u64) -> u64 {
    let mut quotes = starts & window.quote & (window.letter >> 1);
    let mut ends = 0;
    while quotes != 0 {
        let at = quotes.trailing_zeros() as usize;
        if let Some(end) = text.contraction(start + at) {
            ends |= 1_u64.checked_shl((end - start) as u32).unwrap_or(0);
        }
        quotes &= quotes - 1;
    }
    ends
}
