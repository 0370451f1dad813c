//! Which merges happen, and the order of tokens in time.

use super::check::{Check, Merging, stay_apart};
use super::merge_loop::{LoopBuffers, Ranks};
use super::pairs::{NUMBER_BITS, PairTable};
use super::signs::Signs;
use super::{NONE, Token};
use crate::model::{Merge, MergeOrder, Model};
use rustc_hash::FxHashSet;

/// The tokens that merging their own bytes arrives at, numbered as [`Token`] says.
pub struct Derivations {
    /// The model's id of each number.
    pub ids: Vec<u32>,
    /// The two parts of each number; of a byte, its own number.
    pub parts: Vec<[u32; 2]>,
    /// How to find out which pairs go together.
    pub check: Check,
}

/// The derivations of all tokens of `model`.
pub fn of(model: &Model, bytes: &[u32; 256]) -> Derivations {
    let merges = ordered(model);
    Builder::of(model, bytes)
        .filter(|_| model.tokens.len() >> NUMBER_BITS == 0)
        .and_then(|builder| builder.derive(&merges))
        .unwrap_or_else(|| by_merging(model, bytes, merges))
}

/// Merges by rank, without those into an added token: plain text must not yield one, and where added tokens are allowed
/// their text is cut out before merging.
fn ordered(model: &Model) -> Vec<(u32, Merge)> {
    let added: FxHashSet<u32> = model.added.iter().map(|token| token.id).collect();
    let merges = (0..).zip(&model.merges);
    let kept = merges.filter(|(_, merge)| !added.contains(&merge.joined));
    match model.order {
        MergeOrder::Listed => kept.map(|(place, &merge)| (place, merge)).collect(),
        MergeOrder::JoinedId => {
            let mut merges: Vec<_> = kept.map(|(_, &merge)| (merge.joined, merge)).collect();
            merges.sort_by_key(|(rank, _)| *rank);
            merges
        }
    }
}

/// Goes through the merges in the order of their ranks; what was derived so far is what can be there at that time.
struct Builder<'m> {
    model: &'m Model,
    /// Number of each id; [`NONE`] where it is not derived.
    numbers: Vec<u32>,
    ids: Vec<u32>,
    tokens: Vec<Token>,
    pairs: PairTable,
}

impl<'m> Builder<'m> {
    /// One that knows the bytes; `None` where they are not 256 tokens.
    fn of(model: &'m Model, bytes: &[u32; 256]) -> Option<Self> {
        let mut numbers = vec![NONE; model.tokens.len()];
        for (number, &id) in (0..).zip(bytes) {
            *numbers.get_mut(id as usize)? = number;
        }
        let byte = |number| Token {
            parts: [number; 2],
            prefix: NONE,
            len: 1,
            signs: Signs::ANY,
        };
        Some(Self {
            model,
            numbers,
            ids: bytes.to_vec(),
            tokens: (0..256).map(byte).collect(),
            pairs: PairTable::for_merges(model.tokens.len().min(model.merges.len())),
        })
    }

    /// All derivations; `None` if some merge could happen before both its parts have their last one's rank.
    fn derive(mut self, merges: &[(u32, Merge)]) -> Option<Derivations> {
        let mut early = Vec::new();
        for (_, merge) in merges {
            let [left, right, joined] = self.numbers(merge);
            match () {
                () if left == NONE || right == NONE => early.push(*merge),
                // Another merge made it: this one never happens. The same one twice has two ranks.
                () if joined != NONE && self.tokens[joined as usize].parts == [left, right] => {
                    return None;
                }
                () if joined != NONE || !self.can_meet(left, right) => {}
                () => self.join(merge, left, right)?,
            }
        }
        let happens = |merge| {
            let [left, right, joined] = self.numbers(merge);
            left != NONE && right != NONE && joined == NONE && self.can_meet(left, right)
        };
        if early.iter().any(happens) {
            return None;
        }
        Some(Derivations {
            ids: self.ids,
            parts: self.tokens.iter().map(|token| token.parts).collect(),
            check: Check::Undo(self.pairs),
        })
    }

    /// Left part, right part and joined token.
    fn numbers(&self, merge: &Merge) -> [u32; 3] {
        let number = |id: u32| self.numbers.get(id as usize).copied().unwrap_or(NONE);
        [merge.left, merge.right, merge.joined].map(number)
    }

    fn can_meet(&self, left: u32, right: u32) -> bool {
        stay_apart(&self.pairs, &self.tokens, left, right)
    }

    /// Derives the joined token; `None` if its bytes are not its parts' bytes.
    fn join(&mut self, merge: &Merge, left: u32, right: u32) -> Option<()> {
        let [text, start, end] =
            [merge.joined, merge.left, merge.right].map(|id| self.model.tokens.get(id));
        if text.strip_prefix(start) != Some(end) {
            return None;
        }
        let number = self.ids.len() as u32;
        self.numbers[merge.joined as usize] = number;
        self.ids.push(merge.joined);
        self.tokens.push(Token {
            parts: [left, right],
            prefix: NONE,
            len: text.len() as u32,
            signs: Signs::ANY,
        });
        self.pairs.insert(left, right, number);
        Some(())
    }
}

/// The derivations of a model in which ages say nothing: by merging every token's bytes.
fn by_merging(model: &Model, bytes: &[u32; 256], merges: Vec<(u32, Merge)>) -> Derivations {
    let ranks = Ranks::of(merges, bytes);
    let (mut buffers, mut merged, mut ids) = (LoopBuffers::default(), Vec::new(), bytes.to_vec());
    for (id, text) in model.tokens.iter().filter(|(_, text)| text.len() > 1) {
        merged.clear();
        ranks.merge(text, &mut buffers, &mut merged);
        if merged == [id] {
            ids.push(id);
        }
    }
    let texts = ids.iter().map(|&id| model.tokens.get(id).into()).collect();
    Derivations {
        parts: vec![[NONE; 2]; ids.len()],
        ids: ids.clone(),
        check: Check::Merge(Box::new(Merging { ranks, texts, ids })),
    }
}
