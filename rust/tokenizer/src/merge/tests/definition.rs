//! Any merges, in any order, on any pre-token.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn trained_merges(corpus in "[ab ]{1,200}", pre_tokens in proptest::collection::vec("[ab ]{1,150}", 8), merges in 0_usize..80) {
        let mut pair = Pair::of(trained(&corpus, 256 + merges));
        prop_assert!(pair.is_undone());
        for pre_token in pre_tokens {
            pair.agrees(pre_token.as_bytes())?;
        }
    }

    #[test]
    fn any_merges_in_the_order_they_were_made(merges in wild_merges(), pre_tokens in proptest::collection::vec("[abc]{1,100}", 8)) {
        for order in [MergeOrder::Listed, MergeOrder::JoinedId] {
            let mut pair = Pair::of(listed(&merges, order).unwrap());
            for pre_token in &pre_tokens {
                pair.agrees(pre_token.as_bytes())?;
            }
        }
    }

    #[test]
    fn any_merges_in_any_order(merges in wild_merges(), seed: u64, pre_tokens in proptest::collection::vec("[abc]{1,100}", 8)) {
        let mut pair = Pair::of(shuffled(listed(&merges, MergeOrder::Listed).unwrap(), seed));
        for pre_token in &pre_tokens {
            pair.agrees(pre_token.as_bytes())?;
        }
    }

    #[test]
    fn every_split_of_a_token_as_in_rank_files(merges in wild_merges(), seed: u64, whole: bool, pre_tokens in proptest::collection::vec("[abc]{1,100}", 8)) {
        let mut pair = Pair::of(ranked(&listed(&merges, MergeOrder::Listed).unwrap(), seed, whole));
        for pre_token in &pre_tokens {
            pair.agrees(pre_token.as_bytes())?;
        }
        let tokens: Vec<Vec<u8>> = pair.model.tokens.iter().map(|(_, token)| token.to_vec()).collect();
        for token in tokens {
            pair.agrees(&token)?;
        }
    }
}

#[test]
fn all_short_strings_of_two_letters() {
    for (corpus, merges) in [
        ("aaaaaaaaaaaaaaaa", 6),
        ("abaababaabaababaababa", 20),
        ("aabbabab abab bbaa", 30),
    ] {
        let mut pair = Pair::of(trained(corpus, 256 + merges));
        for pre_token in all_strings(b"ab", 13) {
            pair.agrees(&pre_token).unwrap();
        }
    }
}

/// All lists of `count` merges of existing tokens.
fn all_merges(there: u32, count: usize) -> Vec<Vec<(u32, u32)>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let id = |place: u32| {
        if place < 2 {
            u32::from(b'a') + place
        } else {
            254 + place
        }
    };
    let mut all = Vec::new();
    for rest in all_merges(there, count - 1) {
        let there = there + rest.len() as u32;
        for pair in 0..there * there {
            let mut merges = rest.clone();
            merges.push((id(pair / there), id(pair % there)));
            all.push(merges);
        }
    }
    all
}

#[test]
fn every_model_of_three_merges_in_every_order() {
    let pre_tokens: Vec<Vec<u8>> = all_strings(b"ab", 7).collect();
    for merges in all_merges(2, 3) {
        // Merges that spell one token twice leave numbers without a token.
        let Some(model) = listed(&merges, MergeOrder::Listed) else {
            continue;
        };
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let there = |place: &usize| model.merges.get(*place).copied();
            let merges: Vec<Merge> = order.iter().filter_map(there).collect();
            let mut pair = Pair::of(Model {
                merges,
                ..model.clone()
            });
            for pre_token in &pre_tokens {
                pair.agrees_merged(pre_token).unwrap();
            }
        }
    }
}

#[test]
fn equal_ranks_are_joined_from_the_left() {
    let mut pair = Pair::of(trained("aa aa", 257));
    assert_eq!(
        pair.encode(b"aaa"),
        [256, pair.model.validate().unwrap()[usize::from(b'a')]]
    );
    for len in 1..200 {
        pair.agrees(&vec![b'a'; len]).unwrap();
    }
}

#[test]
fn a_merge_listed_twice_has_its_last_rank() {
    let [a, b, c, ab] = [97, 98, 99, 256];
    let mut model = listed(&[(a, b), (b, c), (ab, c)], MergeOrder::Listed).unwrap();
    model.merges.push(model.merges[0]);
    let mut pair = Pair::of(model);
    assert!(!pair.is_undone());
    for pre_token in all_strings(b"abc", 7) {
        pair.agrees(&pre_token).unwrap();
    }
}

#[test]
fn pre_tokens_of_every_length_around_the_limits_of_each_algorithm() {
    let mut pair = Pair::of(trained("abcabcabc abab cabc abcab", 290));
    let mut noise = Noise(3);
    for len in (1..70).chain(126..132) {
        for _ in 0..20 {
            pair.agrees(&noise.of("abc ", len)).unwrap();
        }
    }
}
