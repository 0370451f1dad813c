//! The backtracking encoder compared with merging by definition.

mod definition;
mod prefix;
mod published;
mod work;

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

/// A model, its encoder, and the definition to compare it with.
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

    /// Encodes as the engine does: short pre-tokens by their keys.
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

    /// Encodes by definition: a whole token if the model says so, else merged.
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

    /// As `agrees`, for models where merging gives each token: without a search through all tokens.
    pub fn agrees_merged(&mut self, pre_token: &[u8]) -> Result<(), TestCaseError> {
        let mut defined = Vec::new();
        self.ranks
            .merge(pre_token, &mut LoopBuffers::default(), &mut defined);
        prop_assert_eq!(self.encode(pre_token), defined);
        Ok(())
    }

    /// Compares twice, without and with a cached result; with and without a key.
    pub fn agrees(&mut self, pre_token: &[u8]) -> Result<(), TestCaseError> {
        let (defined, mut ids) = (self.define(pre_token), Vec::new());
        prop_assert_eq!(self.encode(pre_token), defined.clone());
        prop_assert_eq!(self.encode(pre_token), defined.clone());
        self.merger.append(pre_token, &mut self.buffers, &mut ids);
        prop_assert_eq!(ids, defined);
        Ok(())
    }
}

/// A model of the bytes as tokens 0 to 255 and these merges; `None` if one refers to a missing token.
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

/// Random merges of a few letters and of the resulting tokens, in an order that need not make sense.
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

/// The rank file with these tokens, in this order or (odd seeds) in another.
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
    /// Checks that the first tokens alone equal the first tokens of the whole; `true` if they were found without the rest.
    pub fn begins(&mut self, pre_token: &[u8], max_ids: usize, at_a_time: usize) -> bool {
        let mut whole = self.encode(pre_token);
        whole.truncate(max_ids);
        let mut first = Vec::new();
        self.merger
            .append_at_most(pre_token, max_ids, &mut self.buffers, &mut first);
        assert_eq!(first, whole, "{pre_token:?}");
        first.clear();
        let is_certain = append_by_steps(
            &self.merger.tables,
            pre_token,
            max_ids,
            at_a_time,
            &mut self.buffers,
            &mut first,
        );
        assert!(!is_certain || first == whole, "{pre_token:?}");
        is_certain
    }
}

/// Published vocabularies; the tests that need them are ignored by default, and fail if a file is missing.
fn vocabularies() -> impl Iterator<Item = (&'static str, Model)> {
    ["gpt2", "cl100k", "o200k"].into_iter().map(|name| {
        let file = published(&format!("{name}.tiktoken"));
        (name, from_ranks(&file, Pattern::Gpt2, &[]).unwrap())
    })
}

/// A file in `shared/data/vocab` or in the peers' cache, in this folder or in a parent.
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

/// Random numbers (xorshift64).
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

    /// Random text of tokens of a vocabulary, and of prefixes and suffixes of some: many tokens match everywhere, and few are
    /// correct.
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

/// Texts that are one pre-token and unlike language.
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
