//! Where a text can be cut, so that its pre-tokens are those of both parts.

use crate::classes::{CAPITAL, Classes, LETTER, NUMBER, OTHER, SMALL, SPACE, continues, decode};
use crate::pattern::Pattern;
use crate::pre_tokenizer::PreTokenizer;

/// Whether texts that `pre_tokenizer` cuts have borders that [`is_split_point`] knows. Of somebody else's regular expression nothing is known.
pub(crate) fn has_split_points(pre_tokenizer: &PreTokenizer) -> bool {
    match pre_tokenizer {
        // Each by its name, so that whoever adds one is led here.
        PreTokenizer::Named(Pattern::Gpt2 | Pattern::Gpt4 | Pattern::Qwen | Pattern::O200k) => true,
        PreTokenizer::Steps(_) => false,
    }
}

/// A text can be cut behind a letter or number where [`begins_apart`].
///
/// No pattern's pre-token spans such a place, none looks behind its beginning, and what looks ahead of the letters or numbers on the
/// left sees their end either way. So it does not depend on the rest of the text.
#[inline]
fn ends_word(class: u8) -> bool {
    class & (LETTER | NUMBER) != 0
}

/// Neither a letter, number or mark nor an apostrophe; `byte` is the character's first.
#[inline]
fn begins_apart(byte: u8, class: u8) -> bool {
    class & (OTHER | SPACE) != 0 && class & (CAPITAL | SMALL) == 0 && byte != b'\''
}

/// The first place from `from` on where `text` can be cut, else its end.
pub(crate) fn first_split_point(text: &[u8], from: usize) -> usize {
    // A byte that continues no character begins one, so that characters are read as from the text's beginning.
    let start = (from..text.len()).find(|&at| !continues(text[at]));
    let mut at = start.unwrap_or(text.len());
    let classes = Classes::get();
    let mut after_word = false;
    while at < text.len() {
        let (class, len) = character(classes, text, at);
        if after_word && begins_apart(text[at], class) {
            return at;
        }
        after_word = ends_word(class);
        at += len;
    }
    text.len()
}

/// Whether `text` can be cut before its byte `at`, which is not its first.
#[inline]
pub(crate) fn is_split_point(text: &[u8], at: usize) -> bool {
    let classes = Classes::get();
    let apart = || begins_apart(text[at], character(classes, text, at).0);
    !continues(text[at]) && apart() && is_behind_word(classes, text, at)
}

fn is_behind_word(classes: &Classes, text: &[u8], at: usize) -> bool {
    // The character that ends here begins at most four bytes before.
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

    const ALL: [Pattern; 4] = [Pattern::Gpt2, Pattern::Gpt4, Pattern::Qwen, Pattern::O200k];

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
        fn a_text_cut_at_a_border_has_the_pre_tokens_of_both_parts(text in any_text()) {
            let backwards = (1..text.len()).filter(|&at| is_split_point(&text, at));
            let forwards = (0..text.len()).map(|from| first_split_point(&text, from));
            for at in backwards.chain(forwards) {
                for pattern in ALL {
                    let (left, right) = text.split_at(at);
                    let both: Vec<&[u8]> = pre_tokens(pattern, left).into_iter().chain(pre_tokens(pattern, right)).collect();
                    prop_assert_eq!(both, pre_tokens(pattern, &text));
                }
            }
        }
    }

    #[test]
    fn words_have_borders_and_floods_have_none() {
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
