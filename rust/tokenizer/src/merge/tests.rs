//! Longest tokens with a way back against merging as it is defined.

use super::check::Check;
use super::merge_loop::{LoopBuffers, Merges, Ranks};
use super::prefix::append_by_steps;
use super::{MergeBuffers, PreTokenEncoder};
use crate::format::tiktoken::from_ranks;
use crate::model::{Merge, MergeOrder, Model, TokenTable};
use crate::pattern::Pattern;
use crate::short_key::ShortKey;
use crate::train::tests::trained;
use proptest::prelude::*;

/// A model, its tables, and the definition to compare them with.
pub struct Pair {
    pub model: Model,
    pub merger: PreTokenEncoder,
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
            merger: PreTokenEncoder::of(&model, &bytes),
            ranks,
            buffers: MergeBuffers::default(),
            model,
        }
    }

    pub fn is_undone(&self) -> bool {
        matches!(self.merger.tables.check, Check::Undo(_))
    }

    /// As the engine does: short pre-tokens by their keys.
    pub fn encode(&mut self, pre_token: &[u8]) -> Vec<u32> {
        let (mut ids, buffers) = (Vec::new(), &mut self.buffers);
        if (1..=ShortKey::MAX_BYTES).contains(&pre_token.len()) {
            let key = ShortKey::of(pre_token, 0, pre_token.len());
            self.merger.append_short(key, pre_token, buffers, &mut ids);
        } else {
            self.merger.append(pre_token, buffers, &mut ids);
        }
        ids
    }

    /// By definition: a whole token where the model says so, else merged.
    pub fn define(&mut self, pre_token: &[u8]) -> Vec<u32> {
        if self.model.ignore_merges
            && let Some((id, _)) = self
                .model
                .tokens
                .iter()
                .find(|(_, token)| *token == pre_token)
        {
            return vec![id];
        }
        let mut ids = Vec::new();
        self.ranks
            .merge(pre_token, &mut LoopBuffers::default(), &mut ids);
        ids
    }

    /// Like `agrees`, where merging arrives at each token: no look through them all.
    pub fn agrees_merged(&mut self, pre_token: &[u8]) -> Result<(), TestCaseError> {
        let mut defined = Vec::new();
        self.ranks
            .merge(pre_token, &mut LoopBuffers::default(), &mut defined);
        prop_assert_eq!(self.encode(pre_token), defined);
        Ok(())
    }

    /// Cold, and from the caches of before; by a key or without one.
    pub fn agrees(&mut self, pre_token: &[u8]) -> Result<(), TestCaseError> {
        let (defined, mut ids) = (self.define(pre_token), Vec::new());
        prop_assert_eq!(self.encode(pre_token), defined.clone());
        prop_assert_eq!(self.encode(pre_token), defined.clone());
        self.merger.append(pre_token, &mut self.buffers, &mut ids);
        prop_assert_eq!(ids, defined);
        Ok(())
    }
}

/// Bytes as tokens 0 to 255, then these merges, each of two tokens that are there or not.
pub fn listed(merges: &[(u32, u32)], order: MergeOrder) -> Option<Model> {
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
        pre_tokenizer: Pattern::Gpt2.into(),
        tokens: TokenTable::of((0..).zip(tokens).collect()),
        merges: kept,
        order,
        ignore_merges: false,
        unknown: crate::model::Unknown::Refused,
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
pub fn all_strings(letters: &[u8], max_ids: usize) -> impl Iterator<Item = Vec<u8>> {
    let count = letters.len();
    (1..=max_ids).flat_map(move |len| {
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
    fn every_cut_of_a_token_as_in_rank_files(merges in wild_merges(), seed: u64, whole: bool, pre_tokens in proptest::collection::vec("[abc]{1,100}", 8)) {
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

/// The rank file with these tokens, in this order or (odd seeds) any other.
fn ranked(model: &Model, seed: u64, ignore_merges: bool) -> Model {
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
        ignore_merges,
        tokens: TokenTable::of(tokens),
        ..model.clone()
    }
}

impl Pair {
    /// The first tokens alone are the first tokens of all; `true` if they were found without the rest.
    pub fn begins(&mut self, pre_token: &[u8], max_ids: usize, at_a_time: usize) -> bool {
        let mut whole = self.encode(pre_token);
        whole.truncate(max_ids);
        let mut first = Vec::new();
        self.merger
            .append_at_most(pre_token, max_ids, &mut self.buffers, &mut first);
        assert_eq!(first, whole, "{pre_token:?}");
        first.clear();
        let is_settled = append_by_steps(
            &self.merger.tables,
            pre_token,
            max_ids,
            at_a_time,
            &mut self.buffers,
            &mut first,
        );
        assert!(!is_settled || first == whole, "{pre_token:?}");
        is_settled
    }
}

proptest! {
    #[test]
    fn the_first_tokens_alone(merges in wild_merges(), seed: u64, pre_tokens in proptest::collection::vec("[abc]{1,400}", 4), max_ids in 0_usize..50, at_a_time in 1_usize..60) {
        let model = listed(&merges, MergeOrder::Listed).unwrap();
        for model in [shuffled(model.clone(), seed), model] {
            let mut pair = Pair::of(model);
            for pre_token in &pre_tokens {
                pair.begins(pre_token.as_bytes(), max_ids, at_a_time);
            }
        }
    }
}

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn the_first_tokens_of_a_flood_do_not_take_the_rest_of_it() {
    for (name, model) in vocabularies() {
        let mut pair = Pair::of(model);
        for (flood, text) in floods(20_000) {
            for max_ids in [1, 10] {
                assert!(pair.begins(&text, max_ids, 4), "{name} {flood} {max_ids}");
                pair.buffers = MergeBuffers::default();
                pair.merger
                    .append_at_most(&text, max_ids, &mut pair.buffers, &mut Vec::new());
                assert!(
                    pair.buffers.steps() < 40_000,
                    "{name} {flood}: {} steps",
                    pair.buffers.steps()
                );
            }
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

/// Every way to make so many merges of what is there.
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
fn a_merge_that_stands_twice_has_its_last_rank() {
    let [a, b, c, ab] = [97, 98, 99, 256];
    let mut model = listed(&[(a, b), (b, c), (ab, c)], MergeOrder::Listed).unwrap();
    model.merges.push(model.merges[0]);
    let mut pair = Pair::of(model);
    assert!(!pair.is_undone());
    for pre_token in all_strings(b"abc", 7) {
        pair.agrees(&pre_token).unwrap();
    }
}

/// Vocabularies people use; the tests that need them are ignored unless asked for, and fail where a file is missing.
fn vocabularies() -> impl Iterator<Item = (&'static str, Model)> {
    ["gpt2", "cl100k", "o200k"].into_iter().map(|name| {
        let file = published(&format!("{name}.tiktoken"));
        (name, from_ranks(&file, Pattern::Gpt2, &[]).unwrap())
    })
}

/// A file of `shared/data/vocab` or of the peers' cache, in this folder or in one above it.
pub fn published(name: &str) -> Vec<u8> {
    let roots = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = roots.flat_map(|root| {
        ["shared/data/vocab", ".cache/peers/vocabularies"]
            .map(|folder| root.join(folder).join(name))
    });
    files
        .find_map(|file| std::fs::read(file).ok())
        .unwrap_or_else(|| panic!("no shared/data/vocab/{name} here or above"))
}

/// Numbers without a pattern (xorshift64).
pub struct Noise(pub u64);

impl Noise {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn of(&mut self, letters: &str, bytes: usize) -> Vec<u8> {
        let letters: Vec<char> = letters.chars().collect();
        let mut text = String::new();
        while text.len() < bytes {
            text.push(letters[self.below(letters.len())]);
        }
        text.into_bytes()
    }

    /// Tokens of a vocabulary, and beginnings and ends of some: text in which tokens that fit are everywhere, and few are right.
    pub fn of_tokens(&mut self, model: &Model, tokens: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..tokens {
            let token = model.tokens.get(self.below(model.tokens.len()) as u32);
            let cut = self.below(token.len() + 1);
            text.extend_from_slice(match self.below(4) {
                0 => &token[cut..],
                1 => &token[..cut],
                _ => token,
            });
        }
        text
    }
}

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn vocabularies_people_use() {
    for (name, model) in vocabularies() {
        let mut pair = Pair::of(model);
        assert!(pair.is_undone(), "{name}");
        let mut noise = Noise(1);
        for round in 0..3000 {
            let pre_token = noise.of_tokens(&pair.model, 1 + round % 12);
            if !pre_token.is_empty() {
                pair.agrees_merged(&pre_token).unwrap();
            }
        }
        for (_, pre_token) in floods(3000) {
            pair.agrees_merged(&pre_token).unwrap();
            for len in 1..60 {
                pair.agrees_merged(&pre_token[..len]).unwrap();
            }
        }
    }
}

/// Text that is one pre-token and not like language.
fn floods(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut noise = Noise(7);
    let small = "abcdefghijklmnopqrstuvwxyz";
    let base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let characters =
        |range: std::ops::Range<u32>| -> String { range.filter_map(char::from_u32).collect() };
    let run = |text: &str| text.repeat(bytes / text.len()).into_bytes();
    vec![
        ("a", run("a")),
        ("space", run(" ")),
        ("newline", run("\n")),
        ("caret", run("^")),
        ("dash", run("-")),
        ("digit", run("7")),
        ("abab", run("ab")),
        ("letters", noise.of(small, bytes)),
        ("base64", noise.of(base64, bytes)),
        ("cjk", noise.of(&characters(0x4E00..0x9FA5), bytes)),
        ("unicode", noise.of(&characters(1..0x0011_0000), bytes)),
        ("white space", noise.of(" \t\n", bytes)),
    ]
}

#[test]
fn work_grows_with_the_text_and_no_faster() {
    work_grows_with_the_text([("small", trained(&"-".repeat(300), 262))]);
}

#[test]
#[ignore = "needs the rank files of gpt2, cl100k and o200k; tests/native/test_published_vocabularies.py"]
fn work_of_vocabularies_people_use_grows_with_the_text_and_no_faster() {
    work_grows_with_the_text(vocabularies());
}

fn work_grows_with_the_text(models: impl IntoIterator<Item = (&'static str, Model)>) {
    for (name, model) in models {
        let mut pair = Pair::of(model);
        for kind in 0..floods(1).len() {
            let [one, ten, hundred] = [1_000, 10_000, 100_000].map(|bytes| {
                let (flood, text) = floods(bytes).swap_remove(kind);
                pair.buffers = MergeBuffers::default();
                pair.encode(&text);
                (flood, pair.buffers.steps() as f64 / text.len() as f64)
            });
            // The first pairs of tokens are checked, and then known: less for each byte later, never more.
            assert!(
                ten.1 < one.1 * 1.2 && hundred.1 < ten.1 * 1.2,
                "{name}: {one:?} {ten:?} {hundred:?}"
            );
            assert!(hundred.1 < 12.0, "{name}: {hundred:?} steps a byte");
        }
    }
}

#[test]
fn pre_tokens_of_every_length_around_the_borders_of_the_ways() {
    let mut pair = Pair::of(trained("abcabcabc abab cabc abcab", 290));
    let mut noise = Noise(3);
    for len in (1..70).chain(126..132) {
        for _ in 0..20 {
            pair.agrees(&noise.of("abc ", len)).unwrap();
        }
    }
}

#[test]
fn what_is_remembered_of_a_long_pre_token_is_kept_small() {
    let mut pair = Pair::of(trained("ab", 257));
    pair.agrees(&vec![b'b'; 1 << 20]).unwrap();
    assert!(pair.buffers.dead_ends.capacity() <= 1 << 10);
}
