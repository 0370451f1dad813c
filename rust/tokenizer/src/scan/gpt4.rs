//! GPT-4 (cl100k), Llama 3 and Qwen:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.

use super::{Scanner, Text};
use crate::classes::{LETTER, NEWLINE, NUMBER, OTHER};

/// The scanner of that pattern with `\p{N}{1,NUMBERS}`: 3 for GPT-4 and Llama 3, 1 for Qwen.
pub struct Gpt4<const NUMBERS: usize>;

impl<const NUMBERS: usize> Scanner for Gpt4<NUMBERS> {
    #[inline]
    fn piece_end(text: Text<'_>, start: usize) -> usize {
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
