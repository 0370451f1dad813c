//! Any bytes, encoded and decoded.

use std::sync::LazyLock;

use crate::calls;
use stategpt_tokenizer::{
    Documents, ENDS, Merge, Pattern, PreTokens, Special, Target, Tier, Tokenizer, Trainer,
    for_each_pre_token,
};

const TEXT: &str = include_str!("../seeds/encode/text");

/// A small tokenizer of each pattern.
static TOKENIZERS: LazyLock<Vec<(Pattern, Tokenizer)>> = LazyLock::new(|| {
    let patterns = Pattern::NAMES
        .iter()
        .filter_map(|name| Pattern::named(name).ok());
    patterns.map(|pattern| (pattern, train(pattern))).collect()
});

/// The tiers available on this machine.
static TIERS: LazyLock<Vec<Tier>> = LazyLock::new(Tier::available);

#[allow(
    clippy::expect_used,
    reason = "without a tokenizer there is nothing to test"
)]
fn train(pattern: Pattern) -> Tokenizer {
    let mut trainer = Trainer::new(pattern, Documents::Whole, Some(1));
    let _ = trainer.feed(&[TEXT]);
    let target = Target {
        vocab_size: 600,
        special_tokens: vec!["<|end|>".to_owned(), "ing ".to_owned()],
        ..Target::default()
    };
    trainer.train(&target).expect("the text has pairs to merge")
}

/// The first byte selects a pattern, the rest is the text.
///
/// # Panics
/// If ids, pre-tokens or the decoded text are wrong.
pub fn encode(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let (pattern, tokenizer) = &TOKENIZERS[usize::from(choice) % TOKENIZERS.len()];
    calls::check(tokenizer, text);
    let ids = calls::ids(tokenizer, text, Special::Text);
    assert!(ids.is_some(), "a named pattern has no limit of steps");
    let ends = tiles(*pattern, text);
    for &tier in TIERS.iter() {
        assert_eq!(
            ends,
            of_tier(*pattern, text, tier),
            "{tier:?} cuts where the scalar scanner does"
        );
    }
    assert_eq!(
        ids.unwrap_or_default(),
        textbook(tokenizer, &ends, text),
        "the ids are the textbook's"
    );
}

/// The ends of pre-tokens; each begins where the previous one ended.
fn tiles(pattern: Pattern, text: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    for_each_pre_token(pattern, text, |start, end| {
        assert!(
            start == at && end > start,
            "pre-token {start}..{end} after {at}"
        );
        at = end;
        ends.push(end);
    });
    assert_eq!(at, text.len(), "the pre-tokens tile the text");
    ends
}

fn of_tier(pattern: Pattern, text: &[u8], tier: Tier) -> Vec<usize> {
    let mut pre_tokens = PreTokens::of_tier(pattern, text, tier);
    let (mut ends, mut all) = ([0; ENDS], Vec::new());
    while let Some(found) = pre_tokens.fill(&mut ends) {
        all.extend(ends[..found].iter().map(|&end| end as usize));
    }
    all
}

/// Merges by definition: in each pre-token the pair that was learned first, from the left, until none is left.
fn textbook(tokenizer: &Tokenizer, ends: &[usize], text: &[u8]) -> Vec<u32> {
    let model = tokenizer.model();
    let byte_id = |byte: u8| {
        model
            .tokens
            .iter()
            .find(|(_, bytes)| *bytes == [byte])
            .map_or(0, |(id, _)| id)
    };
    let byte_ids: Vec<u32> = (0..=255).map(byte_id).collect();
    let mut ids = Vec::new();
    let mut start = 0;
    for &end in ends {
        let pre_token = text[start..end]
            .iter()
            .map(|&byte| byte_ids[usize::from(byte)]);
        ids.extend(merged(&model.merges, pre_token.collect()));
        start = end;
    }
    ids
}

fn merged(merges: &[Merge], mut ids: Vec<u32>) -> Vec<u32> {
    let rank = |pair: &[u32]| {
        merges
            .iter()
            .position(|merge| [merge.left, merge.right] == *pair)
    };
    while let Some((first, at)) = (0..ids.len().saturating_sub(1))
        .filter_map(|at| rank(&ids[at..at + 2]).map(|rank| (rank, at)))
        .min()
    {
        ids[at] = merges[first].joined;
        ids.remove(at + 1);
    }
    ids
}
