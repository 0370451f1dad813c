//! Windows: up to 64 bytes at a time, as one bit per byte and class, so that pre-token boundaries take a few word operations.
//!
//! A window always begins where a pre-token begins. No pattern looks behind its pre-token, so no state is carried from window to
//! window; and whatever is undecided at the end of a window (its last pre-token, white space that may continue) is left to the
//! next one, which begins where the last certain pre-token began. If a window decides no boundary, the scalar scanner, which is
//! also the reference for all of this, scans one pre-token.

use super::lanes::{Ascii, Common, Lanes, WINDOW};
use super::simd::prefetch::prefetch;
use super::text::{Scanner, Text};
use crate::classes::Kind;

/// The maximum number of pre-tokens found at a time.
pub const ENDS: usize = 256;

/// Bytes of text that are prefetched: while pre-tokens are looked up, nothing else loads the text to be scanned next.
const AHEAD: usize = 16 * WINDOW;

/// Shorter texts are scanned character by character, which is faster than a window.
const FEW: usize = 16;

/// Ends of consecutive pre-tokens.
pub type Ends = [u32; ENDS];

/// A pattern for windows.
pub trait Windowed: Scanner {
    /// Whether combining marks, which this pattern treats specially, are left to the scalar scanner.
    const MARKS_ARE_SCALAR: bool;

    /// The bytes of the window at `start` at which pre-tokens begin, as far as the window determines them.
    fn boundaries(text: Text<'_>, start: usize, window: &Window) -> u64;
}

/// The bytes of a window: the text from `start` on, padded with zeros.
#[derive(Clone, Copy)]
struct Block<'b> {
    text: Text<'b>,
    start: usize,
    bytes: &'b [u8; WINDOW],
    /// How many of them belong to the text.
    len: usize,
}

/// The bytes of a window by class. All bytes of a character have its bit; unknown bytes have none.
#[derive(Clone, Copy)]
pub struct Window {
    /// Known bytes: those of characters that are completely in the window.
    pub known: u64,
    /// `\p{L}`.
    pub letter: u64,
    /// Letters of the capital part of a word only.
    pub capital: u64,
    /// Letters of either part of a word.
    pub either: u64,
    /// `[0-9]`; other numbers end the known bytes.
    pub digit: u64,
    /// ASCII white space; other white space ends the known bytes.
    pub white: u64,
    /// The space.
    pub space: u64,
    /// `[\r\n]`.
    pub newline: u64,
    /// The apostrophe.
    pub quote: u64,
    /// `/`.
    pub slash: u64,
    /// `[^\s\p{L}\p{N}]`.
    pub other: u64,
    /// Second to last bytes of characters.
    pub continuation: u64,
}

/// The lowest `count` bits.
#[inline]
fn low_bits(count: usize) -> u64 {
    match count {
        0..64 => (1 << count) - 1,
        _ => u64::MAX,
    }
}

impl Window {
    /// The window of text that is not all ASCII.
    #[inline(always)]
    fn of_mixed<L: Lanes>(block: Block<'_>, ascii: &Ascii, marks_are_scalar: bool) -> Self {
        let mut window = Self::of_ascii(ascii, block.len);
        let high = ascii.high & window.known;
        let rare = window.add_common(&L::common(block.bytes), high);
        if rare != 0 {
            // A value whose address is taken does not stay in registers; hence the copy.
            let with_rare = window.with_rare(block.text, block.start, rare, marks_are_scalar);
            window = with_rare;
        }
        window
    }

    #[inline(always)]
    fn of_ascii(ascii: &Ascii, len: usize) -> Self {
        let known = low_bits(len);
        Self {
            known,
            letter: ascii.letter,
            capital: ascii.capital,
            either: 0,
            digit: ascii.digit,
            white: ascii.white,
            space: ascii.space,
            newline: ascii.newline,
            quote: ascii.quote,
            slash: ascii.slash,
            // Beyond the text the block is zeros, which have no class.
            other: known & !(ascii.letter | ascii.digit | ascii.white | ascii.high),
            continuation: known & ascii.continuation,
        }
    }

    /// Adds the common non-ASCII characters, and returns the bytes of the others.
    #[inline(always)]
    fn add_common(&mut self, common: &Common, high: u64) -> u64 {
        self.letter |= common.small | common.capital | common.either;
        self.capital |= common.capital;
        self.either |= common.either;
        self.other |= common.other;
        high & !(common.small | common.capital | common.either | common.other)
    }

    /// Adds the characters whose bytes are `rest`, up to the first one that the bit patterns do not cover.
    // By value: a window whose address is not taken stays in registers.
    #[inline(never)]
    fn with_rare(
        mut self,
        text: Text<'_>,
        start: usize,
        mut rest: u64,
        marks_are_scalar: bool,
    ) -> Self {
        let bytes = text.bytes;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            let (kind, len) = text.classes.wide(bytes, start + at);
            let mut end = at + len;
            // Consecutive characters of one script mostly have one kind.
            while end < WINDOW && rest >> end & 1 == 1 {
                let (next, len) = text.classes.wide(bytes, start + end);
                if next != kind || end + len > WINDOW {
                    break;
                }
                end += len;
            }
            if end > WINDOW || kind == Kind::Scalar || marks_are_scalar && kind == Kind::Mark {
                self.forget_from(at);
                return self;
            }
            let bits = low_bits(end) & !low_bits(at);
            match kind {
                Kind::Small => self.letter |= bits,
                Kind::Capital => {
                    self.letter |= bits;
                    self.capital |= bits;
                }
                Kind::Either => {
                    self.letter |= bits;
                    self.either |= bits;
                }
                Kind::Other | Kind::Mark | Kind::Scalar => self.other |= bits,
            }
            rest &= !bits;
        }
        self
    }

    /// Makes the bytes from `at` on unknown.
    #[inline]
    fn forget_from(&mut self, at: usize) {
        let known = low_bits(at);
        self.known &= known;
        for bits in [
            &mut self.letter,
            &mut self.capital,
            &mut self.either,
            &mut self.digit,
            &mut self.white,
            &mut self.space,
            &mut self.newline,
            &mut self.quote,
            &mut self.slash,
            &mut self.other,
            &mut self.continuation,
        ] {
            *bits &= known;
        }
    }

    /// First bytes of letter runs.
    #[inline]
    pub fn letter_starts(&self) -> u64 {
        self.letter & !(self.letter << 1)
    }

    /// First bytes of runs of [`crate::classes::OTHER`].
    #[inline]
    pub fn other_starts(&self) -> u64 {
        self.other & !(self.other << 1)
    }

    /// The bytes after each character whose first byte is in `starts`.
    #[inline]
    pub fn after(&self, starts: u64) -> u64 {
        // The sum carries from a character's second byte through its last one into the next character.
        (starts << 1).wrapping_add(self.continuation) & !self.continuation
    }

    /// `\p{N}{1,3}` from each first digit on.
    #[inline]
    pub fn thirds(&self) -> u64 {
        let digit = self.digit;
        let mut starts = digit & !(digit << 1);
        let four = digit & (digit << 1) & (digit << 2) & (digit << 3);
        let mut next = (starts << 3) & four;
        while next != 0 {
            starts |= next;
            next = (next << 3) & four;
        }
        starts
    }

    /// Those of `white` that are followed by something other than white space.
    #[inline]
    pub fn last_white(&self, white: u64) -> u64 {
        white & ((self.known & !self.white) >> 1)
    }

    /// Removes the boundaries in white space at the end of the known bytes: what follows decides on them. `white` is the white
    /// space that forms pre-tokens.
    #[inline]
    pub fn without_open_white(&self, boundaries: u64, white: u64) -> u64 {
        let last = self.known & !(self.known >> 1);
        if white & last == 0 {
            return boundaries;
        }
        let starts = white & !(white << 1);
        boundaries & low_bits(64 - starts.leading_zeros() as usize)
    }

    /// Removes the boundaries from `at` on.
    #[inline]
    pub fn before(boundaries: u64, at: usize) -> u64 {
        boundaries & low_bits(at)
    }

    /// The number of known bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.known.trailing_ones() as usize
    }

    /// Boundaries in white space for GPT-4 and similar patterns, `\s*[\r\n]+|\s+(?!\S)|\s+`, after punctuation has taken the line
    /// ends that follow it (`taken`).
    #[inline]
    pub fn white_boundaries(&self, taken: u64) -> u64 {
        let white = self.white & !taken;
        let starts = white & !(white << 1);
        let blank = self.white & !self.newline;
        // After a line end, unless another one follows in the same white space.
        let after_line = blank & (self.newline << 1);
        let beyond = blank.wrapping_add(after_line) & !blank;
        let after_last_line = match beyond & self.newline {
            0 => after_line,
            ends => self.without_later_lines(after_line, blank, ends),
        };
        self.without_open_white(starts | self.last_white(blank) | after_last_line, white)
    }

    /// The starts of blanks that do not end at one of `ends`.
    #[inline(never)]
    fn without_later_lines(&self, mut starts: u64, blank: u64, ends: u64) -> u64 {
        let mut kept = starts;
        while starts != 0 {
            let start = starts & starts.wrapping_neg();
            let end = blank.wrapping_add(start) & !blank & !(start - 1);
            // The first byte that is not blank after this start.
            let end = end & end.wrapping_neg();
            if end & ends != 0 {
                kept &= !start;
            }
            starts &= starts - 1;
        }
        kept
    }

    /// Boundaries before punctuation and before letters, for GPT-4 and similar patterns: a space joins the punctuation that
    /// follows it; a single character that is neither letter, number nor line end joins the letters that follow it.
    #[inline]
    pub fn words_and_others(&self) -> (u64, u64) {
        let others = self.other_starts() & !(self.space << 1);
        let blank = self.white & !self.newline;
        (
            others,
            self.letter_starts() & !(blank << 1) & !self.after(others),
        )
    }

    /// The line ends that follow a run of [`crate::classes::OTHER`] directly.
    #[inline]
    pub fn taken_newlines(&self) -> u64 {
        let first = self.newline & (self.other << 1);
        self.newline & !self.newline.wrapping_add(first)
    }
}

/// Finds the ends of pre-tokens from `start` on, as many as fit; at least one unless the text has ended.
#[inline(always)]
pub fn fill<L: Lanes, P: Windowed>(text: Text<'_>, mut start: usize, ends: &mut Ends) -> usize {
    let mut found = 0;
    while found <= ENDS - WINDOW && start < text.bytes.len() {
        if text.bytes.len() - start < FEW {
            start = P::pre_token_end(text, start);
            ends[found] = start as u32;
            found += 1;
            continue;
        }
        prefetch(text.bytes, start + AHEAD);
        let boundaries = boundaries::<L, P>(text, start);
        if boundaries == 0 {
            start = P::pre_token_end(text, start);
            ends[found] = start as u32;
            found += 1;
            continue;
        }
        let Some(places) = ends[found..].first_chunk_mut() else {
            break;
        };
        L::places(boundaries, start as u32, places);
        found += boundaries.count_ones() as usize;
        start = ends[found - 1] as usize;
    }
    found
}

/// The bytes of the window at `start` at which further pre-tokens begin, as far as the window determines them.
#[inline(always)]
fn boundaries<L: Lanes, P: Windowed>(text: Text<'_>, start: usize) -> u64 {
    let rest = &text.bytes[start..];
    let mut padded = [0; WINDOW];
    let (bytes, len) = match rest.first_chunk::<WINDOW>() {
        Some(bytes) => (bytes, WINDOW),
        None => {
            padded[..rest.len()].copy_from_slice(rest);
            (&padded, rest.len())
        }
    };
    let ascii = L::classify(bytes);
    let boundaries = |window: &Window| {
        // A pre-token begins at the first byte, which is known and is not an end.
        P::boundaries(text, start, window) & window.known & !1
    };
    // Two copies in machine code: most windows of most texts are ASCII, and need half of the work.
    if ascii.high == 0 {
        boundaries(&Window::of_ascii(&ascii, len))
    } else {
        let block = Block {
            text,
            start,
            bytes,
            len,
        };
        boundaries(&Window::of_mixed::<L>(block, &ascii, P::MARKS_ARE_SCALAR))
    }
}
