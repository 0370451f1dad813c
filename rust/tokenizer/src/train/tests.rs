//! Small corpora. The differential tests against the `tokenizers` library are in `tests/data/test_tokenizer_training.py`.

use super::*;
use crate::pattern::Pattern;

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
