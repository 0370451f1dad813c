//! Encodes only the first tokens of a text.

use crate::classes::continues;
use crate::encode::bounds::CHUNK_BYTES;
use crate::encode::pre_tokens::encode_text;
use crate::encode::scratch::Scratch;
use crate::encode::tables::Tables;
use crate::error::Result;
use crate::merge::{MergeBuffers, PreTokenEncoder};
use crate::pattern::Pattern;
use crate::scan::{ENDS, PreTokens};
use crate::split_point::is_split_point;

/// The maximum average number of bytes of a token, in text that has words. If this is too low, another chunk is encoded.
const BYTES_PER_TOKEN: usize = 5;
/// Bytes within which such text has a split point.
const NEAR_BYTES: usize = 1 << 12;
/// Bytes of a long pre-token that determine its first tokens, for each token and at least. If this is too low, the pre-token's
/// end has to be found.
const LONG_BYTES_PER_TOKEN: usize = 128;
const LONG_BYTES: usize = 1 << 14;

/// Appends the ids of a prefix of `text` that has at least `max_ids` ids (or of all of it), and returns where the prefix ends.
///
/// # Errors
/// As [`crate::Tokenizer::encode`].
pub fn encode_prefix(
    tables: &Tables,
    pattern: Pattern,
    text: &[u8],
    max_ids: usize,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<usize> {
    let words = max_ids
        .saturating_mul(BYTES_PER_TOKEN)
        .clamp(64, CHUNK_BYTES);
    let mut places = words..text.len().min(words + NEAR_BYTES);
    let near = places.find(|&at| is_split_point(text, at));
    if near.is_none() && words + NEAR_BYTES < text.len() {
        let merger = tables.merger(scratch.merges_added());
        let buffers = &mut MergeBuffers::default();
        return Ok(encode_pre_tokens(
            merger, pattern, text, max_ids, buffers, ids,
        ));
    }
    let end = near.unwrap_or(text.len());
    encode_text(tables, &text[..end], scratch, ids)?;
    Ok(end)
}

/// As [`encode_prefix`], in text without a split point, such as a long pre-token.
fn encode_pre_tokens(
    merger: &PreTokenEncoder,
    pattern: Pattern,
    text: &[u8],
    max_ids: usize,
    buffers: &mut MergeBuffers,
    ids: &mut Vec<u32>,
) -> usize {
    let seen = max_ids
        .saturating_mul(LONG_BYTES_PER_TOKEN)
        .clamp(LONG_BYTES, text.len().max(LONG_BYTES));
    let pre_token = first_pre_token(pattern, text, seen.min(text.len()));
    if merger.append_certain_prefix(pre_token, max_ids, buffers, ids) {
        return pre_token.len();
    }
    let wanted = ids.len() + max_ids;
    let mut ends = [0; ENDS];
    let found = PreTokens::of(pattern, text).fill(&mut ends).unwrap_or(0);
    let mut start = 0;
    for end in ends[..found].iter().map(|&end| end as usize) {
        let missing = wanted.saturating_sub(ids.len());
        if missing == 0 {
            break;
        }
        merger.append_at_most(&text[start..end], missing, buffers, ids);
        start = end;
    }
    start
}

/// A prefix of the first pre-token of `text`, as far as the first `seen` bytes determine it; empty if the first pre-token ends
/// within them.
///
/// More text can make the first pre-token longer. It cannot make it shorter than what was one pre-token, less its last character:
/// that one may be white space which belongs to the text that follows.
fn first_pre_token(pattern: Pattern, text: &[u8], seen: usize) -> &[u8] {
    let begins = |at: &usize| text.get(*at).is_none_or(|&byte| !continues(byte));
    let seen = (0..=seen).rev().find(begins).unwrap_or(0);
    let last = (0..seen).rev().find(begins).unwrap_or(0);
    let mut ends = [0; ENDS];
    let found = PreTokens::of(pattern, &text[..seen]).fill(&mut ends);
    let reaches = found.is_some() && ends[0] as usize == seen;
    if reaches { &text[..last] } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::CancelFlag;
    use crate::model::Model;
    use crate::scan::for_each_pre_token;
    use crate::special::Special;
    use crate::tokenizer::Tokenizer;
    use crate::train::tests::trained;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const TESTED: [Pattern; 4] = [Pattern::Gpt2, Pattern::Gpt4, Pattern::Qwen, Pattern::O200k];

    static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let of_pattern = |pattern: Pattern| Model {
            pre_tokenizer: pattern.into(),
            ..trained("aaaaaaaa the thing. 。。。 AAA 中中 \n\n\n    ", 290)
        };
        let made = TESTED.map(|pattern| Tokenizer::new(of_pattern(pattern)).unwrap());
        made.into()
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn a_pre_token_of_a_prefix_is_no_longer_than_that_of_the_text(
            text in "[ \n\r\t\u{3000}aAǅ中]{0,4}([ ]{0,9}|[\n ]{0,9}|[aA中]{0,9}|[.。\u{301}]{0,9}|'s|'re|12²)[ \n\u{3000}aA1'sreSſ/.中\u{301}ǅʰ🚀]{0,6}",
            seen in 0_usize..30,
        ) {
            for pattern in TESTED {
                let text = text.as_bytes();
                let mut first = None;
                for_each_pre_token(pattern, text, |_, end| { first.get_or_insert(end); });
                let known = first_pre_token(pattern, text, seen.min(text.len()));
                prop_assert!(known.len() <= first.unwrap_or(0));
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_ids_of_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..9), times in 1_usize..4000, most in prop_oneof![0_usize..90, 4000_usize..9000]) {
            let text = text.repeat(times);
            for tokenizer in TOKENIZERS.iter() {
                let all = tokenizer.encode(&text, Special::Text).unwrap();
                let first = tokenizer.encode_at_most(&text, Special::Text, most, &CancelFlag::default()).unwrap();
                prop_assert_eq!(&first[..], &all[..most.min(all.len())]);
            }
        }
    }

    #[test]
    fn the_work_for_the_first_ids_does_not_depend_on_the_length() {
        let tokenizer = &TOKENIZERS[1];
        for unit in ["a", "。", "中", " ", "\n", "ab"] {
            let [small, large] = [1 << 16, 1 << 22].map(|bytes| {
                let text = unit.repeat(bytes / unit.len());
                let (mut buffers, mut ids) = (MergeBuffers::default(), Vec::new());
                encode_pre_tokens(
                    tokenizer.tables.merger(false),
                    Pattern::Gpt4,
                    text.as_bytes(),
                    20,
                    &mut buffers,
                    &mut ids,
                );
                let all = tokenizer.encode(text.as_bytes(), Special::Text).unwrap();
                assert_eq!(ids[..20], all[..20]);
                buffers.steps()
            });
            assert!(
                small == large && large < 10_000,
                "{unit:?}: {small} {large}"
            );
        }
    }

    #[test]
    fn more_ids_than_exist_take_the_work_of_all() {
        let tokenizer = &TOKENIZERS[1];
        for unit in ["a", "。", "中", " ", "\n", "ab"] {
            let text = unit.repeat(50_000);
            let [mut all, mut most] = [MergeBuffers::default(), MergeBuffers::default()];
            let (mut ids, mut same) = (Vec::new(), Vec::new());
            let text = text.as_bytes();
            let end = encode_pre_tokens(
                tokenizer.tables.merger(false),
                Pattern::Gpt4,
                text,
                usize::MAX >> 1,
                &mut most,
                &mut ids,
            );
            tokenizer
                .tables
                .merger(false)
                .append(text, &mut all, &mut same);
            assert_eq!((end, &ids), (text.len(), &same));
            assert_eq!(most.steps(), all.steps(), "{unit:?}");
        }
    }

    #[test]
    fn a_prefix_determines_most_of_a_long_pre_token() {
        for unit in ["a", "A", "。", "中", " ", "\n", "é"] {
            let text = unit.repeat(1000);
            for pattern in TESTED {
                let known = first_pre_token(pattern, text.as_bytes(), 500).len();
                assert!(known > 490, "{pattern:?} {unit:?} {known}");
            }
        }
    }
}
