//! Derivations where a few merges come before their parts can be there.
//!
//! In a text without the bytes that such a merge makes neither it happens nor what comes of it. So what was derived without
//! them holds for all tokens but the doubtful ones, which have these bytes. Only those are merged, to see what becomes of them.
//!
//! Numbers stay in the order of ranks, so that the smallest number is still the next merge. A token may have a smaller one than
//! its parts: their border is joined as soon as both stand there, and a number below theirs says so wherever numbers are
//! compared. Only what is made of such a token cannot be undone by its number ([`super::boundary_filter`]).

use super::builder::{Builder, Order};
use super::merge_loop::{Joined, LoopBuffers, Merges, Ranks};
use super::token::NONE;
use crate::model::{Merge, Model};
use aho_corasick::AhoCorasick;

/// All derivations as these early merges make them, numbered by the ranks of their last merges like the others: a token may
/// be older than its parts then. `None` if this does not lead to a derivation of every part.
pub fn with_out_of_order<'m>(
    mut builder: Builder<'m>,
    out_of_order: &[Merge],
    order: &Order<'_>,
    bytes: &[u32; 256],
) -> Option<Builder<'m>> {
    let affected = affected_tokens(builder.model, out_of_order)?;
    let is_affected = |id: u32| affected.get(id as usize) == Some(&true);
    let into_affected = order
        .merges()
        .filter(|(_, merge)| is_affected(merge.joined));
    let into_affected = Ranks::of(into_affected, bytes);
    let others = builder
        .merges()
        .filter(|(_, merge)| !is_affected(merge.joined));
    let mut merges: Vec<(u32, Merge)> = others.collect();
    let ids = (0..).zip(&affected).filter(|(_, affected)| **affected);
    merges.extend(ids.filter_map(|(id, _)| last_merge(&builder, id, &into_affected)));
    // Two runs, of which the second one is short.
    merges.sort_by_key(|(rank, _)| *rank);
    builder.clear();
    join_all(&mut builder, &merges).then_some(builder)
}

/// Which tokens may have another derivation because of these early merges: those with the bytes of one.
fn affected_tokens(model: &Model, out_of_order: &[Merge]) -> Option<Vec<bool>> {
    let texts = out_of_order
        .iter()
        .map(|merge| model.tokens.get(merge.joined));
    let shortest = texts.clone().map(<[u8]>::len).min()?;
    let spelled = AhoCorasick::new(texts).ok()?;
    let mut affected = vec![false; model.tokens.len()];
    for (id, text) in model.tokens.iter() {
        affected[id as usize] = text.len() >= shortest && spelled.is_match(text);
    }
    Some(affected)
}

/// The merge that a doubtful token's bytes take last, with its rank, if merging arrives at the token.
fn last_merge(builder: &Builder<'_>, id: u32, into_affected: &Ranks) -> Option<(u32, Merge)> {
    let merges = AllBut {
        id,
        into_affected,
        derived: builder,
    };
    let mut parts = Vec::new();
    let text = builder.model.tokens.get(id);
    merges.merge(text, &mut LoopBuffers::default(), &mut parts);
    let &[left, right] = parts.as_slice() else {
        return None;
    };
    let last = into_affected.get(left, right);
    let merge = Merge {
        left,
        right,
        joined: id,
    };
    (last.id == id && last != Joined::NEVER && builder.spells(&merge)).then_some((last.rank, merge))
}

/// Derives the tokens of all these merges, each by one, in this order; `false` if a part is not among them.
fn join_all(builder: &mut Builder<'_>, merges: &[(u32, Merge)]) -> bool {
    for (number, (_, merge)) in (builder.ids.len() as u32..).zip(merges) {
        builder.numbers[merge.joined as usize] = number;
    }
    merges.iter().all(|(rank, merge)| {
        let [left, right, _] = builder.numbers(merge);
        let are_known = left != NONE && right != NONE;
        if are_known {
            builder.join(*rank, merge, [left, right]);
        }
        are_known
    })
}

/// The merges by which doubtful tokens are merged, but for those into one of them: its bytes end in its two parts then.
struct AllBut<'b> {
    id: u32,
    into_affected: &'b Ranks,
    /// What is derived without early merges; not asked for doubtful tokens, whose merges are all known.
    derived: &'b Builder<'b>,
}

impl Merges for AllBut<'_> {
    fn get(&self, left: u32, right: u32) -> Joined {
        match self.into_affected.get(left, right) {
            Joined::NEVER => self.derived.joined(left, right),
            joined if joined.id == self.id => Joined::NEVER,
            joined => joined,
        }
    }

    fn byte(&self, byte: u8) -> u32 {
        self.into_affected.byte(byte)
    }
}

#[cfg(test)]
mod tests {
    use crate::format::huggingface;
    use crate::merge::tests::{Noise, Pair, all_strings, listed, published};
    use crate::model::{MergeOrder, Model};
    use crate::train::tests::trained;
    use proptest::prelude::*;

    /// With some merges moved to the front by so many places.
    fn hurried(mut model: Model, moves: &[(usize, usize)]) -> Model {
        let count = model.merges.len();
        for &(place, by) in moves.iter().filter(|_| count > 0) {
            let place = place % count;
            model.merges[place - by.min(place)..=place].rotate_right(1);
        }
        model
    }

    /// The bytes of the tokens that are older than a part.
    fn out_of_order(pair: &Pair) -> Vec<Vec<u8>> {
        let merger = &pair.merger;
        let tokens = (0..).zip(&merger.tables.tokens[..merger.tables.whole_only_from as usize]);
        let out_of_order =
            tokens.filter(|(number, token)| token.parts.iter().any(|part| part > number));
        let text = |number: u32| pair.model.tokens.get(merger.tables.ids[number as usize]);
        out_of_order
            .map(|(number, _)| text(number).to_vec())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_few_merges_before_their_parts(
            corpus in "[abc ]{1,300}",
            merges in 0_usize..80,
            moves in proptest::collection::vec((any::<usize>(), 1_usize..40), 1..4),
            ignore_merges: bool,
            pre_tokens in proptest::collection::vec("[abc ]{1,150}", 8),
            max_ids in 0_usize..20,
        ) {
            let model = hurried(trained(&corpus, 256 + merges), &moves);
            let mut pair = Pair::of(Model { ignore_merges, ..model });
            prop_assert!(pair.is_undone());
            let tokens: Vec<Vec<u8>> = pair.model.tokens.iter().map(|(_, token)| token.to_vec()).collect();
            let texts = pre_tokens.iter().map(String::as_bytes);
            for pre_token in texts.chain(tokens.iter().map(Vec::as_slice)) {
                pair.agrees(pre_token)?;
                if !ignore_merges {
                    pair.begins(pre_token, max_ids, 4);
                }
            }
        }
    }

    #[test]
    fn a_merge_happens_when_its_parts_are_there() {
        // abcd and abc come before abc and ab can be there.
        let [a, b, c, ab, abc, d] = [97, 98, 99, 256, 257, 100];
        let mut model = listed(&[(a, b), (ab, c), (abc, d)], MergeOrder::Listed).unwrap();
        model.merges.reverse();
        let mut pair = Pair::of(model);
        assert!(pair.is_undone());
        assert_eq!(out_of_order(&pair), [b"abcd", &b"abc"[..]]);
        for pre_token in all_strings(b"abcd", 7) {
            pair.agrees(&pre_token).unwrap();
        }
    }

    #[test]
    fn the_place_that_makes_a_part_first_has_it_joined_first() {
        // Of "abab" the left "ab" takes the next "a" before that can become "ab", too.
        let [a, b, ab] = [97, 98, 256];
        let mut model = listed(&[(a, b), (ab, a)], MergeOrder::Listed).unwrap();
        model.merges.reverse();
        let mut pair = Pair::of(model);
        assert_eq!(out_of_order(&pair), [b"aba"]);
        assert_eq!(pair.encode(b"abab"), [257, b]);
        for pre_token in all_strings(b"ab", 13).chain([b"ab".repeat(40), b"aab".repeat(30)]) {
            pair.agrees(&pre_token).unwrap();
        }
    }

    #[test]
    #[ignore = "needs llama3.json; tests/native/test_published_vocabularies.py"]
    fn published_vocabulary() {
        let model = huggingface::parse(&published("llama3.json")).unwrap();
        for ignore_merges in [true, false] {
            let mut pair = Pair::of(Model {
                ignore_merges,
                ..model.clone()
            });
            assert!(pair.is_undone());
            let out_of_order = out_of_order(&pair);
            assert!(
                (80..100).contains(&out_of_order.len()),
                "{}",
                out_of_order.len()
            );
            let mut noise = Noise(5);
            for round in 0..2000 {
                let mut pre_token = noise.of_tokens(&model, round % 4);
                pre_token.extend_from_slice(&out_of_order[noise.below(out_of_order.len())]);
                pre_token.extend(noise.of_tokens(&model, round % 5));
                pair.agrees(&pre_token).unwrap();
            }
        }
    }
}
