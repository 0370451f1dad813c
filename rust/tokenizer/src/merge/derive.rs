//! Which merges happen, and the order of tokens in time.

use super::check::{Check, Merging, stay_apart};
use super::merge_loop::{Joined, LoopBuffers, Merges, Ranks};
use super::pairs::{NUMBER_BITS, PairTable};
use super::signs::{self, Signs};
use super::{NONE, Token, text_of};
use crate::keyed::KeyedSet;
use crate::model::{AddedToken, Merge, MergeOrder, Model, NO_TOKEN, TokenTable};

/// The tokens that merging their own bytes arrives at, numbered as [`Token`] says.
pub struct Derivations {
    /// The model's id of each number.
    pub ids: Vec<u32>,
    /// What each number's token is, but for the longest one it begins with.
    pub tokens: Vec<Token>,
    /// How to find out which pairs go together.
    pub check: Check,
}

/// The derivations of all tokens of `model` but those `added`.
pub fn of(model: &Model, added: &[AddedToken], bytes: &[u32; 256]) -> Derivations {
    let order = Order::of(model, added);
    let builder = Builder::of(model, bytes).filter(|_| model.tokens.len() >> NUMBER_BITS == 0);
    let derived = builder.and_then(|builder| builder.derive(&order));
    match derived {
        Some((builder, early)) if early.is_empty() => builder.finish(),
        Some((builder, early)) => builder
            .with_early(&early, &order, bytes)
            .map_or_else(|| by_merging(model, bytes, &order), Builder::finish),
        None => by_merging(model, bytes, &order),
    }
}

/// The merges by rank, without those into an added token.
pub struct Order<'m> {
    model: &'m Model,
    added: KeyedSet<u32>,
    /// Places of the merges by rank, where they do not stand so.
    places: Option<Vec<u32>>,
}

impl<'m> Order<'m> {
    fn of(model: &'m Model, added: &[AddedToken]) -> Self {
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
            added: added.iter().map(|token| token.id).collect(),
            places,
        }
    }

    pub fn merges(&self) -> impl Iterator<Item = (u32, Merge)> {
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
pub struct Builder<'m> {
    pub model: &'m Model,
    /// Number of each id; [`NONE`] where it is not derived.
    pub numbers: Vec<u32>,
    pub ids: Vec<u32>,
    /// Rank of each number's merge; of a byte, 0.
    ranks: Vec<u32>,
    tokens: Vec<Token>,
    pairs: PairTable,
}

impl<'m> Builder<'m> {
    /// One that knows the bytes; `None` where they are not 256 tokens.
    fn of(model: &'m Model, bytes: &[u32; 256]) -> Option<Self> {
        let mut numbers = vec![NONE; model.tokens.len()];
        for (number, &id) in (0..).zip(bytes).filter(|(_, id)| **id != NO_TOKEN) {
            *numbers.get_mut(id as usize)? = number;
        }
        let most = bytes.len() + model.tokens.len().min(model.merges.len());
        let (mut ids, mut tokens) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut ranks = Vec::with_capacity(most);
        ids.extend_from_slice(bytes);
        ranks.resize(bytes.len(), 0);
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
            ranks,
            tokens,
            pairs: PairTable::for_merges(model.tokens.len().min(model.merges.len())),
        })
    }

    /// All derivations, but for what early merges change, which come next: those that could happen before both their parts
    /// have their last one's rank. `None` where ages say nothing at all.
    fn derive(mut self, order: &Order<'_>) -> Option<(Self, Vec<Merge>)> {
        let mut early = Vec::new();
        for (rank, merge) in order.merges() {
            let [left, right, joined] = self.numbers(&merge);
            match () {
                () if left == NONE || right == NONE => early.push(merge),
                // Another merge made it: this one never happens. The same one twice has two ranks.
                () if joined != NONE && self.tokens[joined as usize].parts == [left, right] => {
                    return None;
                }
                () if joined != NONE || !self.can_meet(left, right) => {}
                () if !self.spells(&merge) => return None,
                () => self.join(rank, &merge, [left, right]),
            }
        }
        let happens = |merge: &&Merge| {
            let [left, right, joined] = self.numbers(merge);
            left != NONE && right != NONE && joined == NONE && self.can_meet(left, right)
        };
        let happening = early.iter().filter(happens).copied().collect();
        Some((self, happening))
    }

    fn finish(mut self) -> Derivations {
        signs::give(&mut self.tokens);
        Derivations {
            ids: self.ids,
            tokens: self.tokens,
            check: Check::Undo(self.pairs),
        }
    }

    /// Left part, right part and joined token.
    pub fn numbers(&self, merge: &Merge) -> [u32; 3] {
        let number = |id: u32| self.numbers.get(id as usize).copied().unwrap_or(NONE);
        [merge.left, merge.right, merge.joined].map(number)
    }

    /// The derivations, with their ranks.
    pub fn merges(&self) -> impl Iterator<Item = (u32, Merge)> {
        let id = |number: u32| self.ids[number as usize];
        (256..self.ids.len()).map(move |number| {
            let [left, right] = self.tokens[number].parts.map(id);
            let joined = self.ids[number];
            let merge = Merge {
                left,
                right,
                joined,
            };
            (self.ranks[number], merge)
        })
    }

    /// What two tokens become.
    pub fn joined(&self, left: u32, right: u32) -> Joined {
        let [left, right] = [left, right].map(|id| self.numbers[id as usize]);
        if left == NONE || right == NONE {
            return Joined::NEVER;
        }
        match self.pairs.get(left, right) {
            NONE => Joined::NEVER,
            joined => Joined {
                rank: self.ranks[joined as usize],
                id: self.ids[joined as usize],
            },
        }
    }

    fn can_meet(&self, left: u32, right: u32) -> bool {
        stay_apart(&self.pairs, &self.tokens, left, right)
    }

    /// Whether the joined token's bytes are its parts' bytes.
    pub fn spells(&self, merge: &Merge) -> bool {
        let [text, start, end] =
            [merge.joined, merge.left, merge.right].map(|id| self.model.tokens.get(id));
        text.strip_prefix(start) == Some(end)
    }

    /// Forgets all derivations but the bytes.
    pub fn clear(&mut self) {
        for id in self.ids.drain(256..) {
            self.numbers[id as usize] = NONE;
        }
        self.ranks.truncate(256);
        self.tokens.truncate(256);
        self.pairs.clear();
    }

    /// Derives the joined token from the numbers of its parts.
    pub fn join(&mut self, rank: u32, merge: &Merge, parts: [u32; 2]) {
        let number = self.ids.len() as u32;
        self.numbers[merge.joined as usize] = number;
        self.ids.push(merge.joined);
        self.ranks.push(rank);
        self.tokens.push(Token {
            parts,
            prefix: NONE,
            len: self.model.tokens.get(merge.joined).len() as u32,
            signs: Signs::ANY,
        });
        self.pairs.insert(parts[0], parts[1], number);
    }
}

/// The derivations of a model whose merges do not tell them: by merging the bytes of each token.
fn by_merging(model: &Model, bytes: &[u32; 256], order: &Order<'_>) -> Derivations {
    let ranks = Ranks::of(order.merges(), bytes);
    let (mut buffers, mut merged, mut ids) = (LoopBuffers::default(), Vec::new(), bytes.to_vec());
    for (id, text) in model.tokens.iter().filter(|(_, text)| text.len() > 1) {
        merged.clear();
        ranks.merge(text, &mut buffers, &mut merged);
        if merged == [id] {
            ids.push(id);
        }
    }
    let (mut texts, mut tokens) = (TokenTable::default(), Vec::with_capacity(ids.len()));
    for (number, &id) in (0..).zip(&ids) {
        let text = text_of(model, number, id);
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
