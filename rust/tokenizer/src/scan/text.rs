//! Text with its character classes, and the scanners' common steps.

use crate::classes::{Classes, LETTER, NEWLINE, NUMBER, OTHER, SPACE, decode};

/// A pattern as a scanner.
pub trait Scanner {
    /// The end of the pre-token that begins at `start`, which is inside the text. Always greater than `start`.
    fn pre_token_end(text: Text<'_>, start: usize) -> usize;
}

/// Bytes, and the class tables.
#[derive(Clone, Copy)]
pub struct Text<'t> {
    /// The text.
    pub bytes: &'t [u8],
    /// The classes of all characters.
    pub classes: &'static Classes,
}

/// Class and length in bytes of a character; both 0 at the end of the text.
#[derive(Clone, Copy)]
pub struct Character {
    /// Its class; 0 at the end of the text.
    pub class: u8,
    /// Its bytes; 0 at the end of the text.
    pub len: usize,
}

impl Character {
    #[inline]
    pub fn is(self, mask: u8) -> bool {
        self.class & mask != 0
    }
}

impl<'t> Text<'t> {
    pub fn new(bytes: &'t [u8]) -> Self {
        Self {
            bytes,
            classes: Classes::get(),
        }
    }

    /// The byte at `at`, if there is one.
    #[inline]
    pub fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The character that starts at `at`.
    #[inline]
    pub fn character(self, at: usize) -> Character {
        match self.byte(at) {
            Some(byte) if byte < 0x80 => Character {
                class: self.classes.ascii[usize::from(byte)],
                len: 1,
            },
            Some(_) => self.wide_character(at),
            None => Character { class: 0, len: 0 },
        }
    }

    pub fn wide_character(self, at: usize) -> Character {
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
    pub fn run(self, mut at: usize, mask: u8) -> usize {
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
    pub fn run_of(self, mut at: usize, set: &[u8]) -> usize {
        while self.byte(at).is_some_and(|byte| set.contains(&byte)) {
            at += 1;
        }
        at
    }

    /// `\s+(?!\S)|\s+`: the white space from `start`, without its last character if something else follows.
    pub fn white_space(self, start: usize) -> usize {
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
    pub fn white_space_by_lines(self, start: usize) -> usize {
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
    pub fn contraction(self, at: usize) -> Option<usize> {
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

    /// `\p{N}{1,max}` from a number that starts at `at`.
    #[inline]
    pub fn numbers(self, mut at: usize, max: usize) -> usize {
        for _ in 0..max {
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
    pub fn letters(self, at: usize) -> usize {
        self.run(at, LETTER)
    }
}
