//! Split points: positions at which a text can be split so that the pre-tokens of both parts are those of the whole.

use crate::classes::{CAPITAL, Classes, LETTER, NUMBER, OTHER, SMALL, SPACE, continues, decode};
use crate::pattern::Pattern;
use crate::pre_tokenizer::PreTokenizer;

/// Whether [`is_split_point`] is valid for this pre-tokenizer. Nothing is known about user-defined regular expressions.
pub(crate) fn has_split_points(pre_tokenizer: &PreTokenizer) -> bool {
    match pre_tokenizer {
        // Listed by name so that adding a pattern fails to compile here.
        PreTokenizer::Named(Pattern::Gpt2 | Pattern::Gpt4 | Pattern::Qwen | Pattern::O200k) => true,
        PreTokenizer::Steps(_) => false,
    }
}

/// A text can be split after a letter or number, before a character for which [`starts_after_split`] is true.
///
/// No pre-token of any pattern contains such a position, no pattern looks behind, and what looks ahead of the letters or numbers
/// on the left sees their end either way. So the position does not depend on the rest of the text.
#[inline]
fn ends_word(class: u8) -> bool {
    class & (LETTER | NUMBER) != 0
}

/// Neither a letter, number or mark nor an apostrophe; `byte` is the character's first byte.
#[inline]
fn starts_after_split(byte: u8, class: u8) -> bool {
    class & (OTHER | SPACE) != 0 && class & (CAPITAL | SMALL) == 0 && byte != b'\''
}

/// The first split point of `text` from `from` on, else its end.
pub(crate) fn first_split_point(text: &[u8], from: usize) -> usize {
    // A byte that is not a continuation byte begins a character, so characters are read as from the text's beginning.
    let start = (from..text.len()).find(|&at| !continues(text[at]));
    let mut at = start.unwrap_or(text.len());
    let classes = Classes::get();
    let mut after_word = false;
    while at < text.len() {
        let (class, len) = character(classes, text, at);
        if after_word && starts_after_split(text[at], class) {
            return at;
        }
        after_word = ends_word(class);
        at += len;
    }
    text.len()
}

/// Whether `text` can be split before its byte `at`, which is not its first.
#[inline]
pub(crate) fn is_split_point(text: &[u8], at: usize) -> bool {
    let classes = Classes::get();
    let starts = || starts_after_split(text[at], character(classes, text, at).0);
    !continues(text[at]) && starts() && is_behind_word(classes, text, at)
}

fn is_behind_word(classes: &Classes, text: &[u8], at: usize) -> bool {
    // The character that ends here begins at most four bytes earlier.
    let mut places = (at.saturating_sub(4)..at).rev();
    let start = places.find(|&start| !continues(text[start]));
    start.is_some_and(|start| {
        let (class, len) = character(classes, text, start);
        start + len == at && ends_word(class)
    })
}

/// Class and bytes of the character that begins at `at`.
#[inline]
fn character(classes: &Classes, text: &[u8], at: usize) -> (u8, usize) {
    match text[at] {
        byte @ ..=0x7F => (classes.ascii[usize::from(byte)], 1),
        _ => decode(&text[at..]).map_or((OTHER, 1), |(code, len)| (classes.of(code), len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::for_each_pre_token;
    use proptest::prelude::*;

    const TESTED: [Pattern; 4] = [Pattern::Gpt2, Pattern::Gpt4, Pattern::Qwen, Pattern::O200k];

    fn pre_tokens(pattern: Pattern, text: &[u8]) -> Vec<&[u8]> {
        let mut pre_tokens = Vec::new();
        for_each_pre_token(pattern, text, |start, end| {
            pre_tokens.push(&text[start..end])
        });
        pre_tokens
    }

    fn any_text() -> impl Strategy<Value = Vec<u8>> {
        let odd = "[ \n\r\t\u{3000}\u{85}aS'sſtlA12²/.,-中、é\u{301}ǅʰ🚀]{0,60}"
            .prop_map(String::into_bytes);
        prop_oneof![odd, proptest::collection::vec(any::<u8>(), 0..60)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_text_split_at_a_split_point_has_the_pre_tokens_of_both_parts(text in any_text()) {
            let backwards = (1..text.len()).filter(|&at| is_split_point(&text, at));
            let forwards = (0..text.len()).map(|from| first_split_point(&text, from));
            for at in backwards.chain(forwards) {
                for pattern in TESTED {
                    let (left, right) = text.split_at(at);
                    let both: Vec<&[u8]> = pre_tokens(pattern, left).into_iter().chain(pre_tokens(pattern, right)).collect();
                    prop_assert_eq!(both, pre_tokens(pattern, &text));
                }
            }
        }
    }

    #[test]
    fn words_have_split_points_and_floods_have_none() {
        for (text, from, expected) in [
            ("one two", 0, 3),
            ("one two", 4, 7),
            ("你好，世界", 1, 6),
            ("don't stop", 0, 5),
            ("aaaaaaaa", 2, 8),
            ("   \n  ", 1, 6),
            ("", 0, 0),
        ] {
            assert_eq!(first_split_point(text.as_bytes(), from), expected, "{text}");
        }
    }
}
