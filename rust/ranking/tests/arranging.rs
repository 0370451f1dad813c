//! Batches: the reward token last in every branch, the same visible tokens in both arrangements.

#![allow(clippy::expect_used, clippy::panic)] // tests fail by panicking

use proptest::prelude::*;
use stategpt_ranking::{Arrangement, Batch, Error, TokenGroup, arrange};

const REWARD: u32 = 900;
const PAD: u32 = 901;

/// Ids a token sees, itself last, read off the layout.
fn visible(batch: &Batch, token: usize) -> Vec<u32> {
    let prefix = batch.layout.segments.segment_start[token] as usize
        ..batch.layout.prefix_end[token] as usize;
    let branch = batch.layout.branch_start[token] as usize..token + 1;
    batch.tokens[prefix]
        .iter()
        .chain(&batch.tokens[branch])
        .copied()
        .collect()
}

fn groups(ids: &[(Vec<u32>, Vec<Vec<u32>>)]) -> Vec<TokenGroup<'_>> {
    ids.iter()
        .map(|(prompt, completions)| TokenGroup {
            prompt,
            completions: completions.iter().map(Vec::as_slice).collect(),
        })
        .collect()
}

#[test]
fn a_small_group_in_both_arrangements() {
    let ids = [(vec![1, 2], vec![vec![3], vec![4, 5]])];
    let rows = arrange(&groups(&ids), Arrangement::Rows, REWARD, PAD).expect("fits");
    assert_eq!(rows.tokens, [1, 2, 3, REWARD, PAD, 1, 2, 4, 5, REWARD]);
    assert_eq!(
        rows.layout.segments.segment_start,
        [0, 0, 0, 0, 4, 5, 5, 5, 5, 5]
    );
    assert_eq!(
        rows.layout.segments.position,
        [0, 1, 2, 3, 0, 0, 1, 2, 3, 4]
    );
    assert_eq!(
        (rows.reward_index, rows.row_tokens, rows.token_count),
        (vec![3, 9], 5, 9)
    );

    let shared = arrange(&groups(&ids), Arrangement::SharedPrefix, REWARD, PAD).expect("fits");
    assert_eq!(shared.tokens, [1, 2, 3, REWARD, 4, 5, REWARD]);
    assert_eq!(shared.layout.segments.segment_start, [0; 7]);
    assert_eq!(shared.layout.prefix_end, [0, 0, 2, 2, 2, 2, 2]);
    assert_eq!(shared.layout.branch_start, [0, 0, 2, 2, 4, 4, 4]);
    assert_eq!(shared.layout.segments.position, [0, 1, 2, 3, 2, 3, 4]);
    assert_eq!(
        (shared.reward_index, shared.row_tokens, shared.token_count),
        (vec![3, 6], 7, 7)
    );
}

#[test]
fn nine_completions_of_256_behind_a_prompt_of_512_cost_2825_tokens_instead_of_6921() {
    let ids = [(vec![1; 512], vec![vec![2; 256]; 9])];
    let count = |arrangement| {
        arrange(&groups(&ids), arrangement, REWARD, PAD)
            .expect("fits")
            .token_count
    };
    assert_eq!(count(Arrangement::SharedPrefix), 512 + 9 * 257); // 9 of them reward tokens
    assert_eq!(count(Arrangement::Rows), 9 * (512 + 257));
}

#[test]
fn an_empty_prompt_is_an_error_with_the_group() {
    let ids = [(vec![1], vec![vec![2]]), (vec![], vec![vec![2]])];
    let error = arrange(&groups(&ids), Arrangement::Rows, REWARD, PAD).expect_err("no prompt");
    assert!(matches!(
        error,
        Error::EmptyGroup {
            group: 1,
            prompt_tokens: 0,
            completions: 1
        }
    ));
}

#[test]
fn no_groups_are_an_empty_batch() {
    assert_eq!(
        arrange(&[], Arrangement::SharedPrefix, REWARD, PAD).expect("empty"),
        Batch::default()
    );
}

fn some_groups() -> impl Strategy<Value = Vec<(Vec<u32>, Vec<Vec<u32>>)>> {
    let ids = |least| prop::collection::vec(0_u32..800, least..12);
    prop::collection::vec((ids(1), prop::collection::vec(ids(0), 1..6)), 0..5)
}

proptest! {
    #[test]
    fn every_reward_token_sees_its_prompt_and_completion_and_nothing_else(ids in some_groups(), shared in any::<bool>()) {
        let arrangement = if shared { Arrangement::SharedPrefix } else { Arrangement::Rows };
        let batch = arrange(&groups(&ids), arrangement, REWARD, PAD).expect("fits");
        let expected: Vec<Vec<u32>> = ids
            .iter()
            .flat_map(|(prompt, completions)| completions.iter().map(|c| [prompt.as_slice(), c, &[REWARD]].concat()))
            .collect();
        prop_assert_eq!(batch.reward_index.len(), expected.len());
        for (&index, expected) in batch.reward_index.iter().zip(&expected) {
            prop_assert_eq!(&visible(&batch, index as usize), expected);
            prop_assert_eq!(batch.layout.segments.position[index as usize] as usize, expected.len() - 1);
        }
        prop_assert_eq!(batch.tokens.iter().filter(|&&id| id == REWARD).count(), expected.len());
        prop_assert_eq!(batch.tokens.iter().filter(|&&id| id != PAD).count(), batch.token_count);
    }

    #[test]
    fn every_arrangement_is_a_valid_layout(ids in some_groups(), shared in any::<bool>()) {
        let arrangement = if shared { Arrangement::SharedPrefix } else { Arrangement::Rows };
        let batch = arrange(&groups(&ids), arrangement, REWARD, PAD).expect("fits");
        batch.layout.view(batch.row_tokens.max(1)).validate().expect("valid");
    }

    #[test]
    fn sharing_the_prefix_saves_exactly_the_repeated_prompts(ids in some_groups()) {
        let count = |arrangement| arrange(&groups(&ids), arrangement, REWARD, PAD).expect("fits").token_count;
        let repeated: usize = ids.iter().map(|(prompt, completions)| prompt.len() * (completions.len() - 1)).sum();
        prop_assert_eq!(count(Arrangement::Rows) - repeated, count(Arrangement::SharedPrefix));
    }

    #[test]
    fn a_pad_token_sees_only_itself_and_rows_are_whole(ids in some_groups()) {
        let batch = arrange(&groups(&ids), Arrangement::Rows, REWARD, PAD).expect("fits");
        prop_assert!(batch.row_tokens == 0 || batch.tokens.len().is_multiple_of(batch.row_tokens));
        for token in (0..batch.tokens.len()).filter(|&token| batch.tokens[token] == PAD) {
            prop_assert_eq!(visible(&batch, token), vec![PAD]);
        }
    }
}
