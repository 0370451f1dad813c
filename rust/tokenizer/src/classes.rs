//! Character classes of the patterns: letter, number, white space, and the cases that o200k distinguishes.
//!
//! The ranges are those of Unicode 16.0 as `regex-syntax` contains them, the same data that tiktoken's regex engine matches with;
//! a test pins the number of code points per class, so that a new Unicode version does not go unnoticed.

use regex_syntax::hir::{Class, HirKind};
use std::sync::LazyLock;

/// `\p{L}`.
pub const LETTER: u8 = 1;
/// `\p{N}`.
pub const NUMBER: u8 = 1 << 1;
/// `\s`, line ends included.
pub const SPACE: u8 = 1 << 2;
/// `[\r\n]`, which are also white space.
pub const NEWLINE: u8 = 1 << 3;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: allowed in the capital part of an o200k word.
pub const CAPITAL: u8 = 1 << 4;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: allowed in the small part of an o200k word.
pub const SMALL: u8 = 1 << 5;
/// `[^\s\p{L}\p{N}]`: punctuation, symbols, marks, controls, unassigned, and each byte that is not UTF-8.
pub const OTHER: u8 = 1 << 6;

/// Unicode version of the tables.
pub const UNICODE_VERSION: &str = "16.0.0";

/// Code points per page of the two-level table.
const PAGE: usize = 256;

/// The kind of a non-ASCII character, for windows of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A letter of the small part of a word only.
    Small,
    /// A letter of the capital part only.
    Capital,
    /// A letter of either part.
    Either,
    /// Neither letter, number nor white space.
    Other,
    /// As [`Kind::Other`], but allowed in either part of a word.
    Mark,
    /// A number, white space, or no character.
    Scalar,
}

impl Kind {
    fn of(class: u8) -> Self {
        match class & (LETTER | OTHER) {
            LETTER => match class & (CAPITAL | SMALL) {
                CAPITAL => Self::Capital,
                SMALL => Self::Small,
                _ => Self::Either,
            },
            OTHER if class & SMALL != 0 => Self::Mark,
            OTHER => Self::Other,
            _ => Self::Scalar,
        }
    }
}

/// Class bits of every code point, equal pages stored once.
pub struct Classes {
    /// Class bits of the ASCII characters, the first lookup of every scan.
    pub ascii: [u8; 128],
    /// Kinds of the code points up to U+FFFF; surrogates and code points that are shorter in UTF-8 are [`Kind::Scalar`].
    kinds: Vec<Kind>,
    /// Page number of each block of 256 code points.
    pages: Vec<u16>,
    /// Class bits, page after page.
    bits: Vec<u8>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::build);

impl Classes {
    /// The tables, built at first use (about a millisecond).
    pub fn get() -> &'static Self {
        &CLASSES
    }

    /// Class bits of a code point.
    #[inline]
    pub fn of(&self, code: u32) -> u8 {
        let page = self.pages[code as usize / PAGE] as usize;
        self.bits[page * PAGE + code as usize % PAGE]
    }

    /// Kind and length of the non-ASCII character at `at`.
    #[inline]
    pub fn wide(&self, bytes: &[u8], at: usize) -> (Kind, usize) {
        let Some(&[a, b, c, _]) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            return self.wide_at_the_end(bytes, at);
        };
        let low = |byte: u8| usize::from(byte & 0x3F);
        let continues = |byte: u8| byte & 0xC0 == 0x80;
        match a {
            0xE0..=0xEF if continues(b) && continues(c) => {
                let code = usize::from(a & 0x0F) << 12 | low(b) << 6 | low(c);
                // Below U+0800, three bytes are an overlong form.
                (
                    if code < 0x800 {
                        Kind::Scalar
                    } else {
                        self.kinds[code]
                    },
                    3,
                )
            }
            0xC2..=0xDF if continues(b) => (self.kinds[usize::from(a & 0x1F) << 6 | low(b)], 2),
            _ => self.wide_at_the_end(bytes, at),
        }
    }

    #[inline(never)]
    fn wide_at_the_end(&self, bytes: &[u8], at: usize) -> (Kind, usize) {
        decode(&bytes[at..]).map_or((Kind::Scalar, 1), |(code, len)| {
            (Kind::of(self.of(code)), len)
        })
    }

    fn build() -> Self {
        let mut flat = vec![0_u8; 0x11_0000];
        for (class, bits) in [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", SPACE),
            (r"[\r\n]", NEWLINE),
            (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", CAPITAL),
            (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", SMALL),
            (r"[^\s\p{L}\p{N}]", OTHER),
        ] {
            for (first, last) in ranges(class) {
                flat[first as usize..=last as usize]
                    .iter_mut()
                    .for_each(|slot| *slot |= bits);
            }
        }
        Self::compress(&flat)
    }

    fn compress(flat: &[u8]) -> Self {
        let mut seen = crate::keyed::KeyedMap::<&[u8], u16>::default();
        let (mut pages, mut bits) = (Vec::with_capacity(flat.len() / PAGE), Vec::new());
        for page in flat.chunks_exact(PAGE) {
            let next = seen.len() as u16;
            pages.push(*seen.entry(page).or_insert_with(|| {
                bits.extend_from_slice(page);
                next
            }));
        }
        let mut ascii = [0; 128];
        ascii.copy_from_slice(&flat[..128]);
        let kind = |code: usize| match code {
            0..0x80 | 0xD800..0xE000 => Kind::Scalar,
            _ => Kind::of(flat[code]),
        };
        Self {
            ascii,
            kinds: (0..0x1_0000).map(kind).collect(),
            pages,
            bits,
        }
    }
}

/// The code points a character class matches, as inclusive ranges.
fn ranges(class: &str) -> Vec<(u32, u32)> {
    let Ok(hir) = regex_syntax::parse(class) else {
        return Vec::new();
    };
    match hir.kind() {
        HirKind::Class(Class::Unicode(set)) => set
            .iter()
            .map(|r| (r.start() as u32, r.end() as u32))
            .collect(),
        HirKind::Class(Class::Bytes(set)) => set
            .iter()
            .map(|r| (r.start() as u32, r.end() as u32))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a byte of UTF-8 is not the first byte of its character.
#[inline]
pub fn continues(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Code point and length of the well-formed UTF-8 character that `bytes` begins with; `None` if there is none.
#[inline]
pub fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let low = |byte: u8| u32::from(byte & 0x3F);
    // The ranges are those of the Unicode Standard, table 3-7: no surrogates, nothing overlong, nothing above U+10FFFF.
    match *bytes {
        [a @ ..=0x7F, ..] => Some((u32::from(a), 1)),
        [a @ 0xC2..=0xDF, b @ 0x80..=0xBF, ..] => Some((u32::from(a & 0x1F) << 6 | low(b), 2)),
        [a @ 0xE0, b @ 0xA0..=0xBF, c @ 0x80..=0xBF, ..]
        | [
            a @ (0xE1..=0xEC | 0xEE | 0xEF),
            b @ 0x80..=0xBF,
            c @ 0x80..=0xBF,
            ..,
        ]
        | [a @ 0xED, b @ 0x80..=0x9F, c @ 0x80..=0xBF, ..] => {
            Some((u32::from(a & 0x0F) << 12 | low(b) << 6 | low(c), 3))
        }
        [
            a @ 0xF0,
            b @ 0x90..=0xBF,
            c @ 0x80..=0xBF,
            d @ 0x80..=0xBF,
            ..,
        ]
        | [
            a @ 0xF1..=0xF3,
            b @ 0x80..=0xBF,
            c @ 0x80..=0xBF,
            d @ 0x80..=0xBF,
            ..,
        ]
        | [
            a @ 0xF4,
            b @ 0x80..=0x8F,
            c @ 0x80..=0xBF,
            d @ 0x80..=0xBF,
            ..,
        ] => Some((
            u32::from(a & 0x07) << 18 | low(b) << 12 | low(c) << 6 | low(d),
            4,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_unicode_16() {
        let count = |bits: u8| {
            (0..0x11_0000)
                .filter(|&code| Classes::get().of(code) & bits != 0)
                .count()
        };
        assert_eq!(count(LETTER), 141_028);
        assert_eq!(count(NUMBER), 1_911);
        assert_eq!(count(SPACE), 25);
        assert_eq!(count(NEWLINE), 2);
        assert_eq!(count(CAPITAL), 1_858 + 31 + 404 + 136_477 + 2_501);
        assert_eq!(count(SMALL), 2_258 + 404 + 136_477 + 2_501);
        // Surrogates count as OTHER; no well-formed text holds one.
        assert_eq!(count(OTHER), 0x11_0000 - 141_028 - 1_911 - 25);
    }

    #[test]
    fn the_kind_of_a_character_is_that_of_its_class() {
        let classes = Classes::get();
        for character in (0x80..0x11_0000).filter_map(char::from_u32) {
            let kind = Kind::of(classes.of(character as u32));
            let alone = character.to_string();
            assert_eq!(classes.wide(alone.as_bytes(), 0), (kind, alone.len()));
            let followed = format!("{character}abc");
            assert_eq!(classes.wide(followed.as_bytes(), 0), (kind, alone.len()));
        }
        for broken in [
            &[0xE0, 0x80, 0x80, b'a'][..],
            &[0xED, 0xA0, 0x80, b'a'],
            &[0xC1, 0x80, b'a', b'a'],
            &[0xE2, 0x82, b'a', b'a'],
            &[0x80; 4],
        ] {
            assert_eq!(classes.wide(broken, 0).0, Kind::Scalar, "{broken:x?}");
        }
    }

    #[test]
    fn decode_agrees_with_the_standard_library_on_every_character() {
        let mut buffer = [0; 4];
        for character in (0..0x11_0000).filter_map(char::from_u32) {
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(decode(encoded), Some((character as u32, encoded.len())));
            assert_eq!(decode(&encoded[..encoded.len() - 1]), None);
        }
    }

    #[test]
    fn decode_refuses_what_is_not_utf8() {
        for bytes in [
            &[0x80][..],
            &[0xC0, 0x80],
            &[0xE0, 0x80, 0x80],
            &[0xED, 0xA0, 0x80],
            &[0xF4, 0x90, 0x80, 0x80],
            &[0xFF],
        ] {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
    }
}
