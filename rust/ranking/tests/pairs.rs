//! The algebra of pairs: counts, order, symmetry.

#![allow(clippy::expect_used, clippy::panic)] // tests fail by panicking

use proptest::prelude::*;
use stategpt_ranking::{Completion, Group, Pair};

fn group(ranks: &[u32]) -> Group {
    let completion = |(index, &rank): (usize, &u32)| Completion {
        text: format!("answer {index}"),
        rank,
        ended: true,
        ids: None,
    };
    Group {
        id: "g".to_owned(),
        prompt: "p".to_owned(),
        completions: ranks.iter().enumerate().map(completion).collect(),
        stated_pairs: None,
        tokenizer: None,
    }
}

#[test]
fn four_distinct_ranks_give_six_pairs_winner_first() {
    let expected: Vec<Pair> = vec![[0, 3], [1, 0], [1, 2], [1, 3], [2, 0], [2, 3]];
    assert_eq!(group(&[3, 1, 2, 4]).pairs(), expected);
}

#[test]
fn stated_pairs_replace_those_of_the_ranks() {
    let mut stated = group(&[1, 2, 3]);
    stated.stated_pairs = Some(vec![[1, 2], [0, 2]]);
    assert_eq!(stated.pairs(), vec![[0, 2], [1, 2]]);
    assert_eq!(stated.ties(), 1);
}

#[test]
fn a_group_of_ties_is_a_group_without_pairs() {
    assert!(group(&[2, 2, 2]).pairs().is_empty());
    assert_eq!(group(&[2, 2, 2]).ties(), 3);
}

proptest! {
    #[test]
    fn pairs_are_all_of_k_over_two_minus_ties(ranks in prop::collection::vec(1_u32..6, 2..=16)) {
        let group = group(&ranks);
        let pairs = group.pairs();
        let tied: usize = (1..6).map(|rank| ranks.iter().filter(|&&r| r == rank).count()).map(|n| n * n.saturating_sub(1) / 2).sum();
        prop_assert_eq!(pairs.len(), ranks.len() * (ranks.len() - 1) / 2 - tied);
        prop_assert_eq!(group.ties(), tied);
        prop_assert!(pairs.iter().all(|&[winner, loser]| ranks[winner as usize] < ranks[loser as usize]));
        prop_assert!(pairs.windows(2).all(|two| two[0] < two[1]), "each once, in order");
    }

    #[test]
    fn reversing_the_ranks_swaps_every_pair(ranks in prop::collection::vec(1_u32..6, 2..=16)) {
        let reversed: Vec<u32> = ranks.iter().map(|rank| 6 - rank).collect();
        let mut swapped: Vec<Pair> = group(&reversed).pairs().iter().map(|&[winner, loser]| [loser, winner]).collect();
        swapped.sort_unstable();
        prop_assert_eq!(group(&ranks).pairs(), swapped);
    }

    #[test]
    fn the_order_of_the_completions_does_not_matter(
        (ranks, order) in prop::collection::vec(1_u32..6, 2..=16).prop_flat_map(|ranks| {
            let order: Vec<usize> = (0..ranks.len()).collect();
            (Just(ranks), Just(order).prop_shuffle())
        })
    ) {
        let permuted: Vec<u32> = order.iter().map(|&from| ranks[from]).collect();
        let mut renamed: Vec<Pair> =
            group(&permuted).pairs().iter().map(|&[winner, loser]| [order[winner as usize] as u32, order[loser as usize] as u32]).collect();
        renamed.sort_unstable();
        prop_assert_eq!(group(&ranks).pairs(), renamed);
    }
}
