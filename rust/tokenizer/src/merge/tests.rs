//! Longest tokens with a way back against merging as it is defined.

use super::check::Check;
use super::merge_loop::{LoopBuffers, Ranks};
use super::{MergeBuffers, PieceMerger};
use crate::model::{Merge, MergeOrder, Model, TokenTable};
use crate::pattern::Pattern;
use crate::train::tests::trained;
use proptest::prelude::*;

/// A model, its tables, and the definition to compare them with.
pub struct Pair {
    model: Model,
    pub merger: PieceMerger,
    ranks: Ranks,
    buffers: MergeBuffers,
}

impl Pair {
    pub fn of(model: Model) -> Self {
        let bytes = model.validate().unwrap();
        let rank = |place: usize, merge: &Merge| match model.order {
            MergeOrder::Listed => place as u32,
            MergeOrder::JoinedId => merge.joined,
        };
        let added: Vec<u32> = model.added.iter().map(|token| token.id).collect();
        let merges = model.merges.iter().enumerate();
        let ranked = merges.map(|(place, merge)| (rank(place, merge), *merge));
        let ranks = Ranks::of(
            ranked.filter(|(_, merge)| !added.contains(&merge.joined)),
            &bytes,
        );
        Self {
            merger: PieceMerger::of(&model, &bytes),
            ranks,
            buffers: MergeBuffers::default(),
            model,
        }
    }

    pub fn is_undone(&self) -> bool {
        matches!(self.merger.check, Check::Undo(_))
    }

    pub fn encode(&mut self, piece: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        self.merger.append(piece, &mut self.buffers, &mut ids);
        ids
    }

    /// By definition: a whole token where the model says so, else merged.
    pub fn define(&mut self, piece: &[u8]) -> Vec<u32> {
        if self.model.whole_pieces
            && let Some((id, _)) = self.model.tokens.iter().find(|(_, token)| *token == piece)
        {
            return vec![id];
        }
        let mut ids = Vec::new();
        self.ranks
            .merge(piece, &mut LoopBuffers::default(), &mut ids);
        ids
    }

    /// Cold, and from the caches of before.
    pub fn agrees(&mut self, piece: &[u8]) -> Result<(), TestCaseError> {
        let defined = self.define(piece);
        prop_assert_eq!(self.encode(piece), defined.clone());
        prop_assert_eq!(self.encode(piece), defined);
        Ok(())
    }
}

/// Bytes as tokens 0 to 255, then these merges, each of two tokens that are there or not.
fn listed(merges: &[(u32, u32)], order: MergeOrder) -> Option<Model> {
    let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    let mut kept = Vec::new();
    for &(left, right) in merges {
        let joined = [
            tokens.get(left as usize)?.as_slice(),
            tokens.get(right as usize)?,
        ]
        .concat();
        // A merge that spells an older token takes its id.
        let id = tokens
            .iter()
            .position(|token| *token == joined)
            .unwrap_or(tokens.len()) as u32;
        if id as usize == tokens.len() {
            tokens.push(joined);
        }
        kept.push(Merge {
            left,
            right,
            joined: id,
        });
    }
    kept = crate::format::keep_last(kept);
    Some(Model {
        nfc: false,
        prefix_space: false,
        cutter: Pattern::Gpt2.into(),
        tokens: TokenTable::of((0..).zip(tokens).collect()),
        merges: kept,
        order,
        whole_pieces: false,
        added: Vec::new(),
        post_processor: serde_json::Value::Null,
    })
}

/// Merges of a few letters with one another and with what came of them, in an order that need not make sense.
fn wild_merges() -> impl Strategy<Value = Vec<(u32, u32)>> {
    proptest::collection::vec((any::<u16>(), any::<u16>()), 1..40).prop_map(|choices| {
        let mut there: Vec<u32> = vec![u32::from(b'a'), u32::from(b'b'), u32::from(b'c')];
        let mut texts: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for (left, right) in choices {
            let [left, right] =
                [left, right].map(|choice| there[usize::from(choice) % there.len()]);
            let text = [texts[left as usize].as_slice(), &texts[right as usize]].concat();
            if text.len() <= 24 {
                merges.push((left, right));
                if !texts.contains(&text) {
                    there.push(texts.len() as u32);
                    texts.push(text);
                }
            }
        }
        merges
    })
}

/// All strings of these letters up to a length.
fn all_strings(letters: &[u8], most: usize) -> impl Iterator<Item = Vec<u8>> {
    let count = letters.len();
    (1..=most).flat_map(move |len| {
        (0..count.pow(len as u32)).map(move |mut number| {
            let mut text = vec![0; len];
            for byte in &mut text {
                *byte = letters[number % count];
                number /= count;
            }
            text
        })
    })
}

fn shuffled(mut model: Model, seed: u64) -> Model {
    let mut state = seed | 1;
    for place in (1..model.merges.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        model
            .merges
            .swap(place, (state >> 33) as usize % (place + 1));
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn trained_merges(corpus in "[ab ]{1,200}", pieces in proptest::collection::vec("[ab ]{1,150}", 8), merges in 0_usize..80) {
        let mut pair = Pair::of(trained(&corpus, 256 + merges));
        prop_assert!(pair.is_undone());
        for piece in pieces {
            pair.agrees(piece.as_bytes())?;
        }
    }

    #[test]
    fn any_merges_in_the_order_they_were_made(merges in wild_merges(), pieces in proptest::collection::vec("[abc]{1,100}", 8)) {
        for order in [MergeOrder::Listed, MergeOrder::JoinedId] {
            let mut pair = Pair::of(listed(&merges, order).unwrap());
            for piece in &pieces {
                pair.agrees(piece.as_bytes())?;
            }
        }
    }

    #[test]
    fn any_merges_in_any_order(merges in wild_merges(), seed: u64, pieces in proptest::collection::vec("[abc]{1,100}", 8)) {
        let mut pair = Pair::of(shuffled(listed(&merges, MergeOrder::Listed).unwrap(), seed));
        for piece in &pieces {
            pair.agrees(piece.as_bytes())?;
        }
    }

    #[test]
    fn every_cut_of_a_token_as_in_rank_files(merges in wild_merges(), seed: u64, whole: bool, pieces in proptest::collection::vec("[abc]{1,100}", 8)) {
        let mut pair = Pair::of(ranked(&listed(&merges, MergeOrder::Listed).unwrap(), seed, whole));
        for piece in &pieces {
            pair.agrees(piece.as_bytes())?;
        }
        let tokens: Vec<Vec<u8>> = pair.model.tokens.iter().map(|(_, token)| token.to_vec()).collect();
        for token in tokens {
            pair.agrees(&token)?;
        }
    }
}

/// The rank file with these tokens, in this order or (odd seeds) any other.
fn ranked(model: &Model, seed: u64, whole_pieces: bool) -> Model {
    let mut order: Vec<u32> = (256..model.tokens.len() as u32).collect();
    if seed % 2 == 1 {
        order.sort_by_key(|&id| u64::from(id).wrapping_mul(seed).rotate_left(31));
    }
    let bytes = (0..256).map(|byte| (byte, vec![byte as u8]));
    let rest = (256..).zip(order.iter().map(|&id| model.tokens.get(id).to_vec()));
    let tokens: Vec<(u32, Vec<u8>)> = bytes.chain(rest).collect();
    let id = |text: &[u8]| {
        tokens
            .iter()
            .find(|(_, token)| token == text)
            .map(|(id, _)| *id)
    };
    let mut merges = Vec::new();
    for (joined, text) in &tokens {
        for cut in 1..text.len() {
            if let (Some(left), Some(right)) = (id(&text[..cut]), id(&text[cut..])) {
                merges.push(Merge {
                    left,
                    right,
                    joined: *joined,
                });
            }
        }
    }
    Model {
        merges,
        order: MergeOrder::JoinedId,
        whole_pieces,
        tokens: TokenTable::of(tokens),
        ..model.clone()
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
        for piece in all_strings(b"ab", 13) {
            pair.agrees(&piece).unwrap();
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
fn a_merge_that_comes_before_its_parts_is_checked_by_merging() {
    // abc is made before ab can be there: nothing but merging tells when.
    let [a, b, c, ab, abc, d] = [97, 98, 99, 256, 257, 100];
    let mut model = listed(&[(a, b), (ab, c), (abc, d)], MergeOrder::Listed).unwrap();
    model.merges.reverse();
    let mut pair = Pair::of(model);
    assert!(!pair.is_undone());
    for piece in all_strings(b"abcd", 7) {
        pair.agrees(&piece).unwrap();
    }
}
