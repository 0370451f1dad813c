//! Splits texts so that the parts have the pre-tokens of the whole.

use super::target::Documents;
use crate::pre_tokenizer::PreTokenizer;
use crate::split_point::{has_split_points, is_split_point};
use std::ops::Range;

/// Where texts may be split.
#[derive(Clone, Copy)]
pub struct SplitRule {
    /// After each line end.
    lines: bool,
    /// At each split point.
    split_points: bool,
}

impl SplitRule {
    /// At split points, if they are known for the pre-tokenizer; for documents by line, a text may also be split after each line
    /// end.
    pub fn of(pre_tokenizer: &PreTokenizer, rule: Documents) -> Self {
        Self {
            lines: rule == Documents::Lines,
            split_points: has_split_points(pre_tokenizer),
        }
    }

    fn any(self) -> bool {
        self.lines || self.split_points
    }

    fn allow(self, text: &[u8], at: usize) -> bool {
        self.lines && text[at - 1] == b'\n' || self.split_points && is_split_point(text, at)
    }
}

/// The last of these positions in `text`, except its ends, where it may be split.
pub fn last_split(rule: SplitRule, text: &[u8], places: Range<usize>) -> Option<usize> {
    let mut places = places.start.max(1)..places.end;
    rule.any()
        .then(|| places.rfind(|&at| rule.allow(text, at)))?
}

/// `text` in parts of about `bytes` bytes, split where it may be.
pub fn parts(rule: SplitRule, text: &[u8], bytes: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut searched = 0;
        let mut reach = bytes;
        while reach < rest.len() {
            if let Some(at) = last_split(rule, rest, searched..reach + 1) {
                let (part, after) = rest.split_at(at);
                rest = after;
                return Some(part);
            }
            (searched, reach) = (reach, reach + bytes);
        }
        (!rest.is_empty()).then(|| std::mem::take(&mut rest))
    })
}

/// `text` in chunks of whole lines (including line ends) that have the pre-tokens of their lines: scanning a chunk is faster than
/// scanning its lines one by one.
///
/// A line end between a visible ASCII character and an ASCII letter or number makes no difference to any named pattern: white
/// space of one line end is a pre-token, or the end of one, whether or not the text ends there.
pub fn line_chunks(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut ends = memchr::memchr_iter(b'\n', text).map(|at| at + 1);
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = ends
            .by_ref()
            .find(|&end| !joins_lines(text, end))
            .unwrap_or(text.len());
        let chunk = &text[start..end];
        start = end;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn joins_lines(text: &[u8], end: usize) -> bool {
    let visible = |at: usize| text.get(at).is_some_and(u8::is_ascii_graphic);
    end >= 2 && visible(end - 2) && text.get(end).is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use crate::scan::for_each_pre_token;
    use proptest::prelude::*;

    fn pre_tokens(pattern: Pattern, text: &[u8]) -> Vec<Vec<u8>> {
        let mut pre_tokens = Vec::new();
        for_each_pre_token(pattern, text, |start, end| {
            pre_tokens.push(text[start..end].to_vec())
        });
        pre_tokens
    }

    fn pre_tokens_of(pattern: Pattern, rule: Documents, text: &[u8]) -> Vec<Vec<u8>> {
        match rule {
            Documents::Whole => pre_tokens(pattern, text),
            Documents::Lines => crate::reading::lines(text)
                .flat_map(|line| pre_tokens(pattern, line))
                .collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn parts_have_the_pre_tokens_of_the_whole(text in "[ \\t\\n\\r\u{85}\u{a0}\u{3000}aA1'sS/.!é中²\u{301}ǅ-]{0,60}", bytes in 1_usize..12) {
            for name in Pattern::NAMES {
                let pattern = Pattern::named(name).unwrap();
                for rule in [Documents::Whole, Documents::Lines] {
                    let split_rule = SplitRule::of(&pattern.into(), rule);
                    let cut: Vec<_> = parts(split_rule, text.as_bytes(), bytes).collect();
                    prop_assert_eq!(cut.concat(), text.as_bytes());
                    let of_parts: Vec<_> = cut.iter().flat_map(|part| pre_tokens_of(pattern, rule, part)).collect();
                    prop_assert_eq!(of_parts, pre_tokens_of(pattern, rule, text.as_bytes()), "{} {:?}", name, rule);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn chunks_have_the_pre_tokens_of_their_lines(text in "[ \\t\\n\\n\\n\\r\u{85}\u{a0}aA1'sS/.!é中-]{0,60}") {
            for name in Pattern::NAMES {
                let pattern = Pattern::named(name).unwrap();
                let of_chunks: Vec<_> = line_chunks(text.as_bytes())
                    .flat_map(|chunk| pre_tokens(pattern, chunk))
                    .collect();
                let of_lines = pre_tokens_of(pattern, Documents::Lines, text.as_bytes());
                prop_assert_eq!(of_chunks, of_lines, "{}", name);
            }
        }
    }

    #[test]
    fn a_text_without_a_split_point_stays_whole() {
        let text = "\u{3002}".repeat(100);
        let rule = SplitRule::of(&Pattern::Gpt4.into(), Documents::Whole);
        assert_eq!(parts(rule, text.as_bytes(), 10).count(), 1);
        assert!(parts(rule, b"some words to cut", 5).count() > 2);
        let regex = PreTokenizer::of(r"\S+|\s+").unwrap();
        let rule = |rule| SplitRule::of(&regex, rule);
        assert_eq!(
            parts(rule(Documents::Whole), b"some words\nto cut", 5).count(),
            1
        );
        assert_eq!(
            parts(rule(Documents::Lines), b"some words\nto cut", 5).count(),
            2
        );
    }
}
