//! Small corpora. The differential tests against the `tokenizers` library are in `tests/tokenizer/test_tokenizer_training.py`.

use super::*;
use crate::pattern::Pattern;
use proptest::prelude::*;
use std::collections::HashMap;

/// The model of a corpus of one text, GPT-2's pattern.
pub fn trained(text: &str, vocab_size: usize) -> Model {
    let mut trainer = Trainer::new(Pattern::Gpt2, Documents::Whole, Some(1));
    trainer.feed(&[text]).unwrap();
    trained_to(trainer, vocab_size)
}

fn trained_to(trainer: Trainer, vocab_size: usize) -> Model {
    let target = Target {
        vocab_size,
        ..Target::default()
    };
    trainer.train(&target).unwrap().model().clone()
}

fn texts(model: &Model) -> Vec<String> {
    let text = |merge: &crate::Merge| byte_level::write(model.tokens.get(merge.joined));
    model.merges.iter().map(text).collect()
}

#[test]
fn the_most_frequent_pair_comes_first_and_ties_go_to_smaller_ids() {
    assert_eq!(
        texts(&trained("low low low lower", 260)),
        ["lo", "low", "Ġlow", "er"]
    );
    assert_eq!(texts(&trained("ba dc", 257)), ["ba"]);
}

#[test]
fn counts_do_not_overflow_32_bits() {
    let mut trainer = Trainer::new(Pattern::Gpt2, Documents::Whole, Some(1));
    trainer
        .feed_counts(&[("ababab", 1 << 40), ("x", 1)])
        .unwrap();
    let target = Target {
        vocab_size: 257,
        min_frequency: 3 << 40,
        ..Target::default()
    };
    assert_eq!(texts(trainer.train(&target).unwrap().model()), ["ab"]);
}

#[test]
fn special_tokens_take_the_first_ids() {
    let mut trainer = Trainer::new(Pattern::Gpt4, Documents::Lines, None);
    trainer.feed(&["some text\nof lines\n"]).unwrap();
    let target = Target {
        vocab_size: 300,
        special_tokens: vec!["<|a|>".to_owned(), "<|b|>".to_owned()],
        min_frequency: 0,
    };
    let tokenizer = trainer.train(&target).unwrap();
    assert_eq!(tokenizer.special_id("<|b|>").unwrap(), 1);
    assert_eq!(tokenizer.token_bytes(2).unwrap(), b"!");
}

#[test]
fn a_corpus_that_takes_more_memory_than_allowed_is_refused() {
    let mut trainer =
        Trainer::new(Pattern::Gpt4, Documents::Whole, Some(1)).with_memory_limit(Some(10_000));
    let text = |number: usize| {
        format!(
            "a pre-token of {number} and more than fifteen: {}",
            "x".repeat(number)
        )
    };
    let refused = (0..400).find_map(|number| trainer.feed(&[text(number)]).err());
    let message = refused.unwrap().to_string();
    assert!(
        message.contains("more than memory_limit 10000"),
        "{message}"
    );
}

#[test]
fn a_watch_that_returns_false_ends_training() {
    let mut trainer = Trainer::new(Pattern::Gpt4, Documents::Whole, Some(1));
    trainer.feed(&["some text"]).unwrap();
    let target = Target {
        vocab_size: 300,
        ..Target::default()
    };
    let ended = trainer.train_watched(&target, &mut Watch::new(&mut |_| false));
    assert!(matches!(
        ended,
        Err(TokenizerError::TrainingInterrupted { .. })
    ));
}

/// Pairs and the tokens they become, found by counting all pairs again for each merge.
fn slow_merges(words: &[(String, u64)], vocab_size: usize) -> Vec<(u32, u32, u32)> {
    let (mut tokens, bytes) = first_tokens(&[]);
    let ids = |word: &String| word.bytes().map(|byte| bytes[usize::from(byte)]).collect();
    let mut split: Vec<(Vec<u32>, u64)> = words
        .iter()
        .map(|(word, count)| (ids(word), *count))
        .collect();
    let mut merges = Vec::new();
    while tokens.bytes.len() < vocab_size {
        let mut counts = HashMap::<(u32, u32), u64>::new();
        for (word, count) in &split {
            for two in word.windows(2) {
                *counts.entry((two[0], two[1])).or_default() += count;
            }
        }
        let first = |(&pair, &count): (&(u32, u32), &u64)| (std::cmp::Reverse(count), pair);
        let Some((_, (left, right))) = counts.iter().map(first).min() else {
            break;
        };
        let joined = tokens.bytes.len() as u32;
        tokens.bytes.push(
            [
                &tokens.bytes[left as usize][..],
                &tokens.bytes[right as usize],
            ]
            .concat(),
        );
        merges.push((left, right, joined));
        for (word, _) in &mut split {
            let mut place = 0;
            while place + 1 < word.len() {
                if (word[place], word[place + 1]) == (left, right) {
                    word.splice(place..place + 2, [joined]);
                }
                place += 1;
            }
        }
    }
    merges
}

fn fast_merges<S: Symbol>(
    words: &[(String, u64)],
    vocab_size: usize,
    keep: fn(usize) -> usize,
) -> Vec<(u32, u32, u32)> {
    let (mut tokens, bytes) = first_tokens(&[]);
    let mut flat = Words::<S>::default();
    for (word, count) in words {
        flat.push(word.as_bytes(), *count, &bytes);
    }
    let target = Target {
        vocab_size,
        ..Target::default()
    };
    let plan = Plan {
        target: &target,
        first_byte: 0,
        keep,
    };
    let merges = merge_all(flat, &mut tokens, &plan, &mut Watch::new(&mut |_| true)).unwrap();
    // Each token is made of one pair only, which the threshold relies on.
    assert_eq!(tokens.bytes.len(), 256 + merges.len());
    let parts = |merge: &Merge| (merge.left, merge.right, merge.joined);
    merges.iter().map(parts).collect()
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,12}",
        "[abc]{1,40}",
        "[a-e]{1,8}",
        "a{200,300}",
        "[ab]{240,280}",
        "(ab){120,140}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// For any threshold, any width of a symbol, and pre-tokens as words or as long words.
    #[test]
    fn merges_equal_those_of_counting_again(
        words in prop::collection::vec((word(), 1_u64..9), 1..12),
        merges in 1_usize..60,
    ) {
        let slow = slow_merges(&words, 256 + merges);
        prop_assert_eq!(&fast_merges::<u16>(&words, 256 + merges, keep), &slow);
        prop_assert_eq!(&fast_merges::<u32>(&words, 256 + merges, |_| 1), &slow);
        prop_assert_eq!(&fast_merges::<u16>(&words, 256 + merges, |missing| missing / 4), &slow);
    }
}
