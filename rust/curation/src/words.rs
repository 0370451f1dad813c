//! Words: the longest runs of characters that are not white space (Unicode's `White_Space`).

/// 1: ASCII white space. 2: first byte of a character that may be white space.
const KIND: [u8; 256] = {
    let mut kind = [0; 256];
    let spaces = b"\t\n\x0b\x0c\r ";
    let mut number = 0;
    while number < spaces.len() {
        kind[spaces[number] as usize] = 1;
        number += 1;
    }
    kind[0xc2] = 2;
    kind[0xe1] = 2;
    kind[0xe2] = 2;
    kind[0xe3] = 2;
    kind
};

/// Bytes of the white space that `bytes`, the rest of a text, starts with; 0 for another character.
#[inline]
fn wide_space(bytes: &[u8]) -> usize {
    match *bytes {
        [0xc2, 0x85 | 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => 3,
        [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..] => 3,
        _ => 0,
    }
}

/// Calls `visit` with each word of `text`.
#[inline]
pub fn each_word<'text>(text: &'text str, mut visit: impl FnMut(&'text str)) {
    let bytes = text.as_bytes();
    let (mut start, mut place) = (0, 0);
    while place < bytes.len() {
        let width = match KIND[bytes[place] as usize] {
            0 => 0,
            1 => 1,
            _ => wide_space(&bytes[place..]),
        };
        if width == 0 {
            place += 1;
            continue;
        }
        if place > start {
            visit(&text[start..place]);
        }
        place += width;
        start = place;
    }
    if start < bytes.len() {
        visit(&text[start..]);
    }
}

/// Whether a word of the text has more than `longest` characters.
pub fn has_longer_word(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    let mut start = 0;
    // A longer word has more bytes than `longest`: where there is white space among that many, none begins before it.
    while bytes.len() - start > longest {
        let next = &bytes[start..=start + longest];
        let Some(space) = next.iter().rposition(|byte| KIND[*byte as usize] == 1) else {
            let mut found = false;
            each_word(text, |word| {
                found |= word.len() > longest && word.chars().count() > longest
            });
            return found;
        };
        start += space + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_longer_word_is_found_wherever_it_is(
            text in "[aé\u{2003} \n]{0,9}[ \n][aé]{0,12}[ \n][aé\u{2003} \n]{0,9}", longest in 0_usize..9
        ) {
            let expected = text.split_whitespace().any(|word| word.chars().count() > longest);
            prop_assert_eq!(has_longer_word(&text, longest), expected);
        }

        #[test]
        fn words_are_those_of_the_standard_library(
            text in "[a-z\u{85}\u{a0}\u{c2}\u{1680}\u{2000}-\u{2030}\u{205f}\u{3000}\u{3001} \t\n\r]{0,40}"
        ) {
            let mut words = Vec::new();
            each_word(&text, |word| words.push(word.to_owned()));
            let expected: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(words, expected);
        }
    }
}
