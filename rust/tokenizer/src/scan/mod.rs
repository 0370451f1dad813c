//! Hand-written scanners: where the next piece of a text ends, without a regular-expression engine.
//!
//! Each scanner works on bytes. A byte that begins no well-formed UTF-8 character counts as a character of class
//! [`OTHER`], so that any bytes are cut into pieces and none are lost.
//! Every scanner looks at each byte a bounded number of times: a text of n bytes costs O(n), whatever it holds.
//!
//! Each exists twice: character by character ([`Scanner`], the reference), and over windows of 64 bytes ([`Windowed`]).

mod gpt2;
mod gpt4;
mod o200k;
mod simd;
mod window;

use crate::classes::{Classes, LETTER, NEWLINE, NUMBER, OTHER, SPACE, decode};
use crate::pattern::Pattern;

/// A pattern as code.
pub trait Scanner {
    /// End of the piece that starts at `start`, which lies inside the text. Always beyond `start`.
    fn piece_end(text: Text<'_>, start: usize) -> usize;
}

pub use gpt2::Gpt2;
pub use gpt4::Gpt4;
pub use o200k::O200k;
pub use simd::{Tier, prefetch};
pub use window::{ENDS, Ends, Windowed};

/// Calls `piece(start, end)` for each piece of `text`, in order; the pieces tile the text.
///
/// Places are 32-bit numbers: texts of 4 GiB and more are not for this function.
#[inline]
pub fn for_each_piece(pattern: Pattern, text: &[u8], mut piece: impl FnMut(usize, usize)) {
    let mut pieces = Pieces::of(pattern, text);
    let mut ends = [0; ENDS];
    let mut start = 0;
    while let Some(found) = pieces.fill(&mut ends) {
        for &end in &ends[..found] {
            piece(start, end as usize);
            start = end as usize;
        }
    }
}

/// The pieces of a text, some hundred at a time.
pub struct Pieces<'t> {
    text: Text<'t>,
    pattern: Pattern,
    tier: Tier,
    at: usize,
}

impl<'t> Pieces<'t> {
    /// Before the first piece.
    #[inline]
    pub fn of(pattern: Pattern, text: &'t [u8]) -> Self {
        Self::of_tier(pattern, text, Tier::of_machine())
    }

    /// As [`Pieces::of`], found in a way of one's choice.
    #[inline]
    pub fn of_tier(pattern: Pattern, text: &'t [u8], tier: Tier) -> Self {
        Self {
            text: Text::new(text),
            pattern,
            tier,
            at: 0,
        }
    }

    /// Writes where the next pieces end, and returns how many there are; `None` at the end of the text.
    #[inline]
    pub fn fill(&mut self, ends: &mut Ends) -> Option<usize> {
        let (tier, text, at) = (self.tier, self.text, self.at);
        let found = match self.pattern {
            Pattern::Gpt2 => tier.fill::<Gpt2>(text, at, ends),
            Pattern::Gpt4 => tier.fill::<Gpt4<3>>(text, at, ends),
            Pattern::Qwen => tier.fill::<Gpt4<1>>(text, at, ends),
            Pattern::O200k => tier.fill::<O200k>(text, at, ends),
        };
        self.at = *ends[..found].last()? as usize;
        Some(found)
    }
}

/// Bytes with the class tables beside them.
#[derive(Clone, Copy)]
pub struct Text<'t> {
    bytes: &'t [u8],
    classes: &'static Classes,
}

/// Class and length in bytes of a character; both 0 at the end of the text.
#[derive(Clone, Copy)]
pub struct Character {
    class: u8,
    len: usize,
}

impl Character {
    #[inline]
    fn is(self, mask: u8) -> bool {
        self.class & mask != 0
    }
}

impl<'t> Text<'t> {
    fn new(bytes: &'t [u8]) -> Self {
        Self {
            bytes,
            classes: Classes::get(),
        }
    }

    /// The byte at `at`, if there is one.
    #[inline]
    fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The character that starts at `at`.
    #[inline]
    fn character(self, at: usize) -> Character {
        match self.byte(at) {
            Some(byte) if byte < 0x80 => Character {
                class: self.classes.ascii[usize::from(byte)],
                len: 1,
            },
            Some(_) => self.wide_character(at),
            None => Character { class: 0, len: 0 },
        }
    }

    fn wide_character(self, at: usize) -> Character {
        match decode(&self.bytes[at..]) {
            Some((code, len)) => Character {
                class: self.classes.of(code),
                len,
            },
            None => Character {
                class: OTHER,
                len: 1,
            },
        }
    }

    /// End of the run of characters from `at` whose class meets `mask`.
    #[inline]
    fn run(self, mut at: usize, mask: u8) -> usize {
        loop {
            let character = self.character(at);
            if !character.is(mask) {
                return at;
            }
            at += character.len;
        }
    }

    /// End of the run of bytes from `at` that are in `set`.
    #[inline]
    fn run_of(self, mut at: usize, set: &[u8]) -> usize {
        while self.byte(at).is_some_and(|byte| set.contains(&byte)) {
            at += 1;
        }
        at
    }

    /// `\s+(?!\S)|\s+`: the white space from `start`, less its last character where something else follows.
    fn white_space(self, start: usize) -> usize {
        let mut last = start;
        let mut at = start;
        while let space @ Character { len: 1.., .. } = self.character(at)
            && space.is(SPACE)
        {
            last = at;
            at += space.len;
        }
        if at == self.bytes.len() || last == start {
            at
        } else {
            last
        }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last line end, else as [`Text::white_space`].
    fn white_space_by_lines(self, start: usize) -> usize {
        let (mut line_end, mut last, mut at) = (start, start, start);
        loop {
            let space = self.character(at);
            if !space.is(SPACE) {
                break;
            }
            last = at;
            at += space.len;
            if space.is(NEWLINE) {
                line_end = at;
            }
        }
        match () {
            () if line_end > start => line_end,
            () if at == self.bytes.len() || last == start => at,
            () => last,
        }
    }

    /// End of the contraction (`'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`) that starts at `at`, in any case.
    fn contraction(self, at: usize) -> Option<usize> {
        if self.byte(at) != Some(b'\'') {
            return None;
        }
        let lower = |offset: usize| self.byte(at + offset).map(|byte| byte.to_ascii_lowercase());
        match (lower(1)?, lower(2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
            (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(at + 3),
            // U+017F, the long s, folds to s under (?i).
            (0xC5, Some(0xBF)) => Some(at + 3),
            _ => None,
        }
    }

    /// `\p{N}{1,MOST}` from a number that starts at `at`.
    #[inline]
    fn numbers(self, mut at: usize, most: usize) -> usize {
        for _ in 0..most {
            let number = self.character(at);
            if !number.is(NUMBER) {
                break;
            }
            at += number.len;
        }
        at
    }

    /// `\p{L}+` from `at`.
    #[inline]
    fn letters(self, at: usize) -> usize {
        self.run(at, LETTER)
    }
}

/// Finds out what registers there are.
pub fn make_tables() {
    Tier::of_machine();
}

#[cfg(test)]
mod tests;
