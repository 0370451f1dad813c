//! Which merges happen, and the order of tokens in time.

use super::check::{Check, Merging, stay_apart};
use super::merge_loop::{LoopBuffers, Ranks};
use super::pairs::{NUMBER_BITS, PairTable};
use super::signs::{self, Signs};
use super::{NONE, Token};
use crate::model::{Merge, MergeOrder, Model, TokenTable};
use aho_corasick::AhoCorasick;
use rustc_hash::FxHashSet;

/// The tokens that merging their own bytes arrives at, numbered as [`Token`] says.
pub struct Derivations {
    /// The model's id of each number.
    pub ids: Vec<u32>,
    /// What each number's token is, but for the longest one it begins with.
    pub tokens: Vec<Token>,
    /// How to find out which pairs go together.
    pub check: Check,
}

/// The derivations of all tokens of `model`.
pub fn of(model: &Model, bytes: &[u32; 256]) -> Derivations {
    let order = Order::of(model);
    let builder = Builder::of(model, bytes).filter(|_| model.tokens.len() >> NUMBER_BITS == 0);
    let derived = builder.and_then(|builder| builder.derive(&order));
    match derived {
        Some((builder, early)) if early.is_empty() => builder.finish(),
        Some((builder, early)) => match builder.doubtful(&early) {
            Some(doubtful) => builder.by_merging(&order, bytes, &doubtful),
            None => by_merging(model, bytes, order.merges().collect(), |_| None),
        },
        None => by_merging(model, bytes, order.merges().collect(), |_| None),
    }
}

/// The merges by rank, without those into an added token: plain text must not yield one, and where added tokens are allowed
/// their text is cut out before merging.
struct Order<'m> {
    model: &'m Model,
    added: FxHashSet<u32>,
    /// Places of the merges by rank, where they do not stand so.
    places: Option<Vec<u32>>,
}

impl<'m> Order<'m> {
    fn of(model: &'m Model) -> Self {
        let merges = &model.merges;
        let is_ordered =
            model.order == MergeOrder::Listed || merges.is_sorted_by_key(|merge| merge.joined);
        let places = (!is_ordered).then(|| {
            let mut places: Vec<u32> = (0..merges.len() as u32).collect();
            places.sort_by_key(|&place| merges[place as usize].joined);
            places
        });
        Self {
            model,
            added: model.added.iter().map(|token| token.id).collect(),
            places,
        }
    }

    fn merges(&self) -> impl Iterator<Item = (u32, Merge)> {
        let merges = (0..self.model.merges.len()).map(|at| {
            let place = self
                .places
                .as_ref()
                .map_or(at, |places| places[at] as usize);
            let merge = self.model.merges[place];
            match self.model.order {
                MergeOrder::Listed => (place as u32, merge),
                MergeOrder::JoinedId => (merge.joined, merge),
            }
        });
        merges.filter(|(_, merge)| !self.added.contains(&merge.joined))
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
        let most = bytes.len() + model.tokens.len().min(model.merges.len());
        let (mut ids, mut tokens) = (Vec::with_capacity(most), Vec::with_capacity(most));
        ids.extend_from_slice(bytes);
        tokens.extend((0..256).map(|number| Token {
            parts: [number; 2],
            prefix: NONE,
            len: 1,
            signs: Signs::ANY,
        }));
        Some(Self {
            model,
            numbers,
            ids,
            tokens,
            pairs: PairTable::for_merges(model.tokens.len().min(model.merges.len())),
        })
    }

    /// All derivations, but for what early merges change, which come next: those that could happen before both their parts
    /// have their last one's rank. `None` where ages say nothing at all.
    fn derive(mut self, order: &Order<'_>) -> Option<(Self, Vec<Merge>)> {
        let mut early = Vec::new();
        for (_, merge) in order.merges() {
            let [left, right, joined] = self.numbers(&merge);
            match () {
                () if left == NONE || right == NONE => early.push(merge),
                // Another merge made it: this one never happens. The same one twice has two ranks.
                () if joined != NONE && self.tokens[joined as usize].parts == [left, right] => {
                    return None;
                }
                () if joined != NONE || !self.can_meet(left, right) => {}
                () => self.join(&merge, left, right)?,
            }
        }
        let happens = |merge: &&Merge| {
            let [left, right, joined] = self.numbers(merge);
            left != NONE && right != NONE && joined == NONE && self.can_meet(left, right)
        };
        let happening: Vec<Merge> = early.iter().filter(happens).copied().collect();
        let is_told_by_bytes = happening.is_empty() || early.iter().all(|merge| self.spells(merge));
        is_told_by_bytes.then_some((self, happening))
    }

    fn finish(mut self) -> Derivations {
        signs::give(&mut self.tokens);
        Derivations {
            ids: self.ids,
            tokens: self.tokens,
            check: Check::Undo(self.pairs),
        }
    }

    /// Which tokens may have another derivation because of these early merges: those with the bytes of one. In any other's
    /// bytes none of them happens, nor what comes of them, so that without them it is merged as it is with them.
    fn doubtful(&self, early: &[Merge]) -> Option<Vec<bool>> {
        let texts = early
            .iter()
            .map(|merge| self.model.tokens.get(merge.joined));
        let shortest = texts.clone().map(<[u8]>::len).min()?;
        let spelled = AhoCorasick::new(texts).ok()?;
        let mut doubtful = vec![false; self.model.tokens.len()];
        for (id, text) in self.model.tokens.iter() {
            doubtful[id as usize] = text.len() >= shortest && spelled.is_match(text);
        }
        Some(doubtful)
    }

    /// The derivations where early merges happen: only doubtful tokens are merged, by what can happen of the merges.
    fn by_merging(&self, order: &Order<'_>, bytes: &[u32; 256], doubtful: &[bool]) -> Derivations {
        let is_doubtful = |id: u32| doubtful.get(id as usize).is_none_or(|doubtful| *doubtful);
        let happens = |merge: &Merge| {
            let [left, right, joined] = self.numbers(merge);
            let token = self.tokens.get(joined as usize);
            token.is_some_and(|token| token.parts == [left, right])
        };
        let merges = order
            .merges()
            .filter(|(_, merge)| is_doubtful(merge.joined) || happens(merge));
        by_merging(self.model, bytes, merges.collect(), |id| {
            (!is_doubtful(id)).then(|| self.numbers[id as usize] != NONE)
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

    /// Whether the joined token's bytes are its parts' bytes.
    fn spells(&self, merge: &Merge) -> bool {
        let [text, start, end] =
            [merge.joined, merge.left, merge.right].map(|id| self.model.tokens.get(id));
        text.strip_prefix(start) == Some(end)
    }

    /// Derives the joined token; `None` if its bytes are not its parts' bytes.
    fn join(&mut self, merge: &Merge, left: u32, right: u32) -> Option<()> {
        if !self.spells(merge) {
            return None;
        }
        let number = self.ids.len() as u32;
        self.numbers[merge.joined as usize] = number;
        self.ids.push(merge.joined);
        self.tokens.push(Token {
            parts: [left, right],
            prefix: NONE,
            len: self.model.tokens.get(merge.joined).len() as u32,
            signs: Signs::ANY,
        });
        self.pairs.insert(left, right, number);
        Some(())
    }
}

/// The derivations of a model in which ages do not say everything: by merging the bytes of each token of which it is not
/// `known` whether merging arrives at it.
fn by_merging(
    model: &Model,
    bytes: &[u32; 256],
    merges: Vec<(u32, Merge)>,
    known: impl Fn(u32) -> Option<bool>,
) -> Derivations {
    let ranks = Ranks::of(merges, bytes);
    let (mut buffers, mut merged, mut ids) = (LoopBuffers::default(), Vec::new(), bytes.to_vec());
    let mut arrives = |id, text| {
        merged.clear();
        ranks.merge(text, &mut buffers, &mut merged);
        merged == [id]
    };
    for (id, text) in model.tokens.iter().filter(|(_, text)| text.len() > 1) {
        if known(id).unwrap_or_else(|| arrives(id, text)) {
            ids.push(id);
        }
    }
    let (mut texts, mut tokens) = (TokenTable::default(), Vec::with_capacity(ids.len()));
    for (number, &id) in (0..).zip(&ids) {
        let text = model.tokens.get(id);
        texts.push(number, |all| all.extend_from_slice(text));
        tokens.push(Token::whole(text));
    }
    texts.shrink();
    Derivations {
        tokens,
        ids: ids.clone(),
        check: Check::Merge(Box::new(Merging { ranks, texts, ids })),
    }
}
