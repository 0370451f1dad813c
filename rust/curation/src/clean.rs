//! Cleaning: one Unicode form, no control characters, regular white space. Cleaning a text twice changes nothing more.

use std::borrow::Cow;

use memchr::memchr_iter;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The text in Unicode normalization form C, without control characters, with regular white space.
///
/// * Line ends (CR LF, CR, vertical tab, form feed, U+0085, U+2028, U+2029) become a line feed.
/// * Control characters (category Cc but tab and line feed), the byte order mark and soft hyphens are removed.
/// * Every other white space character becomes a space. Tabs, indentation and runs of spaces inside a line stay.
/// * White space at the end of lines, blank lines at both ends of the text and all but one of several blank lines go.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let text = if text.is_ascii() && !text.bytes().any(is_odd) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(characters(text))
    };
    if has_regular_lines(&text) {
        return text;
    }
    Cow::Owned(white_space(&text))
}

/// Whether an ASCII byte is a control character that `characters` replaces.
fn is_odd(byte: u8) -> bool {
    byte == 0x7f || (byte < 0x20 && byte != b'\t' && byte != b'\n')
}

/// Replaces or removes single characters, then composes.
fn characters(text: &str) -> String {
    let mut mapped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\r' if rest.peek() == Some(&'\n') => {}
            '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => mapped.push('\n'),
            '\t' | '\n' => mapped.push(character),
            '\u{feff}' | '\u{ad}' => {}
            _ if character.is_control() => {}
            _ if character.is_whitespace() => mapped.push(' '),
            _ => mapped.push(character),
        }
    }
    if mapped.is_ascii() || is_nfc_quick(mapped.chars()) == IsNormalized::Yes {
        return mapped;
    }
    mapped.nfc().collect()
}

/// Whether [`white_space`] would change nothing.
fn has_regular_lines(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return true;
    };
    if first == b'\n' || last == b'\n' || last == b' ' || last == b'\t' {
        return false;
    }
    // The byte before a line feed exists: the first byte is not one.
    memchr_iter(b'\n', bytes).all(|place| {
        let before = bytes[place - 1];
        before != b' '
            && before != b'\t'
            && !(before == b'\n' && place >= 2 && bytes[place - 2] == b'\n')
    })
}

fn white_space(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut blank_before = false;
    for line in text.split('\n') {
        let line = line.trim_end_matches([' ', '\t']);
        if line.is_empty() {
            blank_before = true;
            continue;
        }
        if !found.is_empty() {
            found.push_str(if blank_before { "\n\n" } else { "\n" });
        }
        blank_before = false;
        found.push_str(line);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_odd_character_is_made_regular() {
        assert_eq!(
            clean("\u{feff}a\r\nb\rc\u{2028}d\u{0}\u{ad}e"),
            "a\nb\nc\nde"
        );
        assert_eq!(clean("  x\u{a0}y \t\n\n \n\n\tz\n\n"), "  x y\n\n\tz");
        assert_eq!(clean("e\u{301}\u{0}"), "é");
        assert_eq!(clean("e\u{0}\u{301}"), "é");
        assert_eq!(clean(" \n\t\n "), "");
        assert_eq!(clean(" "), "");
    }

    #[test]
    fn a_regular_text_is_not_copied() {
        assert!(matches!(clean("a\n\n  b"), Cow::Borrowed(_)));
        assert!(matches!(clean(""), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_more(text in "[a-c \t\n\r\u{b}\u{85}\u{a0}\u{ad}\u{feff}\u{301}\u{2000}\u{2029}é]{0,30}") {
            let once = clean(&text).into_owned();
            prop_assert_eq!(clean(&once).into_owned(), once.clone());
            // The short cut gives what the long way gives.
            prop_assert_eq!(white_space(&characters(&text)), once);
        }

        #[test]
        fn a_word_keeps_its_letters(text in "\\PC{0,30}") {
            let letters = |text: &str| text.nfc().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&clean(&text)), letters(&text));
        }
    }
}
