//! Canonical composition (NFC, Unicode Standard Annex 15), with the tables of Unicode 16.0, at nearly no cost for text that is
//! already composed, as nearly all text is.
//!
//! A character is *plain* if it has combining class 0 and cannot compose with a character before it (`NFC_QC=Yes`). Normalization
//! never crosses the start of a plain character, so text consists of ranges of one plain character and what follows up to the
//! next one, and only ranges of more than one character are processed.

use std::borrow::Cow;
use std::sync::LazyLock;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Beyond this, only the characters of [`FAR`] are not plain.
const NEAR: u32 = 0x2_0000;
/// Compatibility ideographs that decompose.
const FAR: std::ops::RangeInclusive<u32> = 0x2_F800..=0x2_FA1D;

/// One bit per character below [`NEAR`], set if it is not plain: 16 KiB.
static MARKED: LazyLock<Box<[u64]>> = LazyLock::new(|| {
    let mut bits = vec![0_u64; (NEAR / 64) as usize];
    for character in (0x300..NEAR).filter_map(char::from_u32) {
        if canonical_combining_class(character) != 0
            || is_nfc_quick(std::iter::once(character)) != IsNormalized::Yes
        {
            bits[character as usize / 64] |= 1 << (character as usize % 64);
        }
    }
    bits.into()
});

/// Builds the table of marked characters.
pub fn make_tables() {
    LazyLock::force(&MARKED);
}

/// A range of text that normalization changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Its bounds in the old text.
    pub old: (usize, usize),
    /// The bounds of its replacement in the new text.
    pub new: (usize, usize),
}

/// Normalized bytes, and the ranges that changed, in order.
#[derive(Debug)]
pub struct Normalized<'t> {
    /// The bytes, borrowed from the caller if nothing changed.
    pub bytes: Cow<'t, [u8]>,
    /// The changes.
    pub edits: Vec<Edit>,
}

impl Normalized<'_> {
    /// The end in the old text of what ends here in the new one; inside a change, the end of the change.
    pub fn end_origin(&self, at: usize) -> usize {
        let after = self.edits.partition_point(|edit| edit.new.1 < at);
        match self.edits.get(after) {
            Some(edit) if edit.new.0 < at => edit.old.1,
            _ => self.origin(at),
        }
    }

    /// The position in the old text of a position in the new one; inside a change, the beginning of the change.
    pub fn origin(&self, at: usize) -> usize {
        let after = self.edits.partition_point(|edit| edit.new.1 <= at);
        match self.edits.get(after) {
            Some(edit) if edit.new.0 <= at => return edit.old.0,
            _ => {}
        }
        match after.checked_sub(1).map(|last| self.edits[last]) {
            Some(edit) => at - edit.new.1 + edit.old.1,
            None => at,
        }
    }
}

/// `bytes` in NFC. Invalid UTF-8 is kept; the text before and after it is normalized separately.
pub fn normalize(bytes: &[u8]) -> Normalized<'_> {
    let mut builder = Builder {
        old: bytes,
        new: Vec::new(),
        copied: 0,
        edits: Vec::new(),
    };
    if !bytes.is_ascii() {
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            builder.normalize(chunk.valid(), at);
            at += chunk.valid().len() + chunk.invalid().len();
        }
    }
    builder.finish()
}

struct Builder<'t> {
    old: &'t [u8],
    /// The new text up to the last edit; empty if there is none.
    new: Vec<u8>,
    /// How much of the old text it covers.
    copied: usize,
    edits: Vec<Edit>,
}

impl<'t> Builder<'t> {
    /// Normalizes `text`, which begins at `base`.
    fn normalize(&mut self, text: &str, base: usize) {
        let marked = &**MARKED;
        let mut at = 0;
        // The start of the last plain character: what follows may compose with it.
        let mut plain = 0;
        while let Some((found, before)) = next_marked(marked, text, at, plain) {
            let end = end_of_marked(marked, text, found);
            self.normalize_range(&text[before..end], base + before);
            (at, plain) = (end, end);
        }
    }

    /// Replaces what normalization changes in a range that begins at `start`.
    fn normalize_range(&mut self, range: &str, start: usize) {
        if is_nfc_quick(range.chars()) == IsNormalized::Yes {
            return;
        }
        let mut from = 0;
        let begins = range
            .char_indices()
            .filter(|&(at, one)| at > 0 && starts_fresh(one));
        for (to, _) in begins {
            self.part(&range[from..to], start + from);
            from = to;
        }
        self.part(&range[from..], start + from);
    }

    /// Replaces what changes in a part across whose ends nothing composes; equal text at its ends is kept.
    fn part(&mut self, part: &str, start: usize) {
        if is_nfc_quick(part.chars()) == IsNormalized::Yes {
            return;
        }
        let composed: String = part.nfc().collect();
        if composed == part {
            return;
        }
        let same = |pairs: &mut dyn Iterator<Item = (char, char)>| -> usize {
            let same = pairs.take_while(|(old, new)| old == new);
            same.map(|(old, _)| old.len_utf8()).sum()
        };
        let before = same(&mut part.chars().zip(composed.chars()));
        let (old, new) = (&part[before..], &composed[before..]);
        let after = same(&mut old.chars().rev().zip(new.chars().rev()));
        let (range, composed) = (&old[..old.len() - after], &new[..new.len() - after]);
        let start = start + before;
        self.new.extend_from_slice(&self.old[self.copied..start]);
        let begin = self.new.len();
        self.new.extend_from_slice(composed.as_bytes());
        self.copied = start + range.len();
        self.edits.push(Edit {
            old: (start, self.copied),
            new: (begin, self.new.len()),
        });
    }

    fn finish(mut self) -> Normalized<'t> {
        if self.edits.is_empty() {
            return Normalized {
                bytes: Cow::Borrowed(self.old),
                edits: self.edits,
            };
        }
        self.new.extend_from_slice(&self.old[self.copied..]);
        Normalized {
            bytes: Cow::Owned(self.new),
            edits: self.edits,
        }
    }
}

/// Whether no character before this one can compose with it or with its decomposition, or be reordered with it.
fn starts_fresh(character: char) -> bool {
    let first = std::iter::once(character).nfd().next().unwrap_or(character);
    canonical_combining_class(first) == 0
        && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

#[inline]
fn is_marked(marked: &[u64], character: char) -> bool {
    let code = u32::from(character);
    match marked.get(code as usize / 64) {
        Some(bits) => bits >> (code % 64) & 1 == 1,
        None => FAR.contains(&code),
    }
}

/// The first marked character at `at` or later, and the plain one before it (itself, if nothing precedes).
#[inline]
fn next_marked(
    marked: &[u64],
    text: &str,
    mut at: usize,
    mut plain: usize,
) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    loop {
        let length = match *bytes.get(at)? {
            0..=0x7F => {
                // Eight at a time: most text is mostly ASCII.
                while let Some(word) = bytes.get(at + 1..at + 9)
                    && word.is_ascii()
                {
                    at += 8;
                }
                1
            }
            // Below U+0300, and U+4000 to U+9FFF: all plain.
            0xC2..=0xCB => 2,
            0xE4..=0xE9 => 3,
            _ => {
                let character = text[at..].chars().next()?;
                if is_marked(marked, character) {
                    return Some((at, plain));
                }
                character.len_utf8()
            }
        };
        plain = at;
        at += length;
    }
}

/// The end of the marked characters from `at`.
fn end_of_marked(marked: &[u64], text: &str, at: usize) -> usize {
    let plain = text[at..]
        .char_indices()
        .find(|&(_, character)| !is_marked(marked, character));
    plain.map_or(text.len(), |(offset, _)| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        let expected: String = text.nfc().collect();
        let normalized = normalize(text.as_bytes());
        assert_eq!(
            String::from_utf8_lossy(&normalized.bytes),
            expected,
            "{text:?}"
        );
        let mut rebuilt = 0;
        for edit in &normalized.edits {
            assert_eq!(normalized.origin(edit.new.0), edit.old.0);
            assert_eq!(normalized.origin(edit.new.1), edit.old.1);
            assert_eq!(normalized.end_origin(edit.new.1), edit.old.1);
            assert_eq!(normalized.end_origin(edit.new.0), edit.old.0);
            assert!(edit.new.0 < edit.new.1 && edit.old.0 < edit.old.1);
            rebuilt += 1;
        }
        assert_eq!(rebuilt == 0, matches!(normalized.bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn the_tables_are_those_of_unicode_16() {
        assert_eq!(unicode_normalization::UNICODE_VERSION, (16, 0, 0));
        for character in (NEAR..=0x10_FFFF).filter_map(char::from_u32) {
            let plain = canonical_combining_class(character) == 0
                && is_nfc_quick(std::iter::once(character)) == IsNormalized::Yes;
            assert_eq!(plain, !FAR.contains(&u32::from(character)), "{character:?}");
        }
    }

    #[test]
    fn every_character_alone_and_between_others() {
        for character in ('\0'..=char::MAX).filter(|&one| one as u32 >= 0x80) {
            check(&format!(
                "a{character}\u{301}e\u{301}{character}{character}z"
            ));
        }
    }

    #[test]
    fn invalid_bytes_are_kept_and_separate_text() {
        let bytes = b"e\xFF\xCC\x81 e\xCC\x81\xC3";
        assert_eq!(&*normalize(bytes).bytes, b"e\xFF\xCC\x81 \xC3\xA9\xC3");
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,30}", marks in "[aeé\u{300}-\u{330}\u{1100}-\u{1175}\u{11a8}가각\u{5b0}-\u{5bc}क़\u{93c}\u{2f800}]{0,30}") {
            check(&text);
            check(&marks);
            check(&format!("{text}{marks}{text}"));
        }
    }
}
