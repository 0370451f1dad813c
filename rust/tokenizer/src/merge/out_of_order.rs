//! Derivations where a few merges are listed before their parts can exist.
//!
//! A text that does not contain the bytes of such a merge's token contains neither the token nor anything made of it. So
//! derivations found without these merges hold for all tokens except the affected ones, which contain these bytes. Only those are
//! merged, to find their derivations.
//!
//! Numbers stay in the order of ranks, so that the smallest number is still the next merge. A token may have a smaller number
//! than its parts: the parts are joined as soon as both exist, and a number smaller than theirs expresses that in every
//! comparison. Only a token that contains such a token cannot be undone by its number ([`super::boundary_filter`]).

use super::builder::{Builder, Order};
use super::merge_loop::{Joined, LoopBuffers, Merges, Ranks};
use super::token::NONE;
use crate::model::{Merge, Model};
use aho_corasick::AhoCorasick;

/// All derivations with the effect of these merges, numbered by the ranks of their last merges like the others: a token may be
/// older than its parts then. `None` if some part has no derivation.
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
    // Two sorted runs, of which the second one is short.
    merges.sort_by_key(|(rank, _)| *rank);
    builder.clear();
    join_all(&mut builder, &merges).then_some(builder)
}

/// The tokens that may have another derivation because of these merges: those that contain the bytes of one.
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

/// The last merge of an affected token's bytes, with its rank, if merging gives the token.
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

/// Derives the tokens of all these merges, each by one merge, in this order; `false` if a part is missing.
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

/// The merges for affected tokens, except those into one of them, so that its bytes end as its two parts.
struct AllBut<'b> {
    id: u32,
    into_affected: &'b Ranks,
    /// What is derived without the merges out of order; not consulted for affected tokens, all of whose merges are known.
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

    /// Moves some merges forward in the list.
    fn hurried(mut model: Model, moves: &[(usize, usize)]) -> Model {
        let count = model.merges.len();
        for &(place, by) in moves.iter().filter(|_| count > 0) {
            let place = place % count;
            model.merges[place - by.min(place)..=place].rotate_right(1);
        }
        model
    }

    /// The bytes of the tokens that are older than one of their parts.
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
    fn a_merge_happens_once_its_parts_exist() {
        // abcd and abc are listed before abc and ab can exist.
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
    fn the_first_part_made_is_joined_first() {
        // In "abab", the left "ab" joins the next "a" before that "a" can become "ab", too.
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
