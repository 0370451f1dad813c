//! The classes of a window's bytes, and the trait that computes them with wide registers.

/// Bytes of a window.
pub const WINDOW: usize = 64;

/// One bit per byte of a window, for each class of ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ascii {
    /// `[A-Za-z]`.
    pub letter: u64,
    /// `[A-Z]`.
    pub capital: u64,
    /// `[0-9]`.
    pub digit: u64,
    /// `[\t\n\v\f\r ]`.
    pub white: u64,
    /// The space.
    pub space: u64,
    /// `[\r\n]`.
    pub newline: u64,
    /// The apostrophe.
    pub quote: u64,
    /// `/`.
    pub slash: u64,
    /// Not ASCII.
    pub high: u64,
    /// `10......` in binary, which begins no character of UTF-8.
    pub continuation: u64,
}

/// Non-ASCII characters that are so common that a whole window of them is classified at once. All bytes of a character have its
/// bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Common {
    /// Letters of the small part of a word only.
    pub small: u64,
    /// Letters of the capital part only.
    pub capital: u64,
    /// Letters of either part.
    pub either: u64,
    /// Punctuation.
    pub other: u64,
}

/// [`Common`] by `within(first, count)`, the bytes from `first` to `first + count - 1`.
#[inline(always)]
pub fn common(within: impl Fn(u8, u8) -> u64) -> Common {
    let is = |byte: u8| within(byte, 1);
    // A character is found at its first byte; the bits of the bytes after it are one and two places higher.
    let second = |bits: u64| bits >> 1;
    let third = |bits: u64| bits >> 2;
    let two = |starts: u64| starts | starts << 1;
    let three = |starts: u64| starts | starts << 1 | starts << 2;
    let continues = within(0x80, 0x40);
    // U+4E00 to U+9FFF (Han) and U+B000 to U+CFFF (most of Hangul).
    let han = (within(0xE5, 5) | within(0xEB, 2) | is(0xE4) & second(within(0xB8, 8)))
        & second(continues)
        & third(continues);
    // U+3041 to U+307F; to U+3096, and U+30A1 to U+30BF; U+30C0 to U+30FF without the middle dot U+30FB.
    let kana = is(0xE3)
        & (second(is(0x81)) & third(within(0x81, 0x3F))
            | second(is(0x82)) & third(within(0x80, 0x17) | within(0xA1, 0x1F))
            | second(is(0x83)) & third(within(0x80, 0x3B) | within(0xBC, 4)));
    // U+2010 to U+2027; U+3001 to U+3003, U+3008 to U+3011; U+FF01 to U+FF0F, U+FF1A to U+FF20.
    let other = is(0xE2) & second(is(0x80)) & third(within(0x90, 0x18))
        | is(0xE3) & second(is(0x80)) & third(within(0x81, 3) | within(0x88, 10))
        | is(0xEF) & second(is(0xBC)) & third(within(0x81, 15) | within(0x9A, 7));
    // U+0400 to U+042F; U+00C0 to U+00DE without the multiplication sign.
    let capital =
        is(0xD0) & second(within(0x80, 0x30)) | is(0xC3) & second(within(0x80, 0x1F) & !is(0x97));
    // U+0430 to U+043F, U+0440 to U+045F; U+00DF to U+00FF without the division sign.
    let small = is(0xD0) & second(within(0xB0, 0x10))
        | is(0xD1) & second(within(0x80, 0x20))
        | is(0xC3) & second(within(0x9F, 0x21) & !is(0xB7));
    Common {
        small: two(small),
        capital: two(capital),
        either: three(han | kana),
        other: three(other),
    }
}

/// A way to classify a window.
pub trait Lanes {
    /// The classes of 64 bytes.
    fn classify(block: &[u8; WINDOW]) -> Ascii;

    /// The common characters beyond ASCII among 64 bytes.
    fn common(block: &[u8; WINDOW]) -> Common;

    /// Writes `from` plus the position of each set bit; the entries after these are meaningless.
    #[inline(always)]
    fn places(mut bits: u64, from: u32, places: &mut [u32; WINDOW]) {
        let count = bits.count_ones() as usize;
        // Most windows have at most 16 pre-tokens. A loop of constant length is not mispredicted.
        for place in &mut places[..16] {
            *place = from.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        if count > 16 {
            for place in &mut places[16..count] {
                *place = from + bits.trailing_zeros();
                bits &= bits - 1;
            }
        }
    }
}
