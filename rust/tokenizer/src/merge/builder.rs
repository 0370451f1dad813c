//! Derives tokens from the merges, in the order of their ranks.

use super::check::is_valid_token_pair;
use super::merge_loop::Joined;
use super::pairs::{NUMBER_BITS, PairTable};
use super::token::{BoundaryFilter, NONE, Token};
use crate::keyed::KeyedSet;
use crate::model::{AddedToken, Merge, MergeOrder, Model, NO_TOKEN};

/// The merges by rank, without those into an added token.
pub struct Order<'m> {
    model: &'m Model,
    added: KeyedSet<u32>,
    /// Indices of the merges by rank, if they are not listed by rank.
    places: Option<Vec<u32>>,
}

impl<'m> Order<'m> {
    /// The merges of `model` except those into tokens that are `added`.
    pub fn of(model: &'m Model, added: &[AddedToken]) -> Self {
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

/// Processes the merges in the order of their ranks; the tokens derived so far are those that can exist at that time.
pub struct Builder<'m> {
    pub model: &'m Model,
    /// The number of each id; [`NONE`] if it is not derived.
    pub numbers: Vec<u32>,
    pub ids: Vec<u32>,
    /// The rank of each number's merge; 0 for a byte.
    ranks: Vec<u32>,
    tokens: Vec<Token>,
    pairs: PairTable,
}

impl<'m> Builder<'m> {
    /// A builder that has derived the bytes; `None` if they are not 256 tokens, or there are more tokens than can be numbered.
    pub fn of(model: &'m Model, bytes: &[u32; 256]) -> Option<Self> {
        if model.tokens.len() >> NUMBER_BITS != 0 {
            return None;
        }
        let mut numbers = vec![NONE; model.tokens.len()];
        for (number, &id) in (0..).zip(bytes).filter(|(_, id)| **id != NO_TOKEN) {
            *numbers.get_mut(id as usize)? = number;
        }
        let capacity = bytes.len() + model.tokens.len().min(model.merges.len());
        let (mut ids, mut tokens) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        let mut ranks = Vec::with_capacity(capacity);
        ids.extend_from_slice(bytes);
        ranks.resize(bytes.len(), 0);
        tokens.extend((0..256).map(|number| Token {
            parts: [number; 2],
            prefix: NONE,
            len: 1,
            boundaries: BoundaryFilter::UNKNOWN,
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

    /// All derivations, without the effect of merges out of order, which are returned as well: those that could happen before
    /// both their parts have their final rank. `None` if the ranks do not determine the derivations.
    pub fn derive(mut self, order: &Order<'_>) -> Option<(Self, Vec<Merge>)> {
        let mut out_of_order = Vec::new();
        for (rank, merge) in order.merges() {
            let [left, right, joined] = self.numbers(&merge);
            match () {
                () if left == NONE || right == NONE => out_of_order.push(merge),
                // Another merge made the token: this one never happens. If it is the same merge, listed twice, it has two ranks.
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
        let happening = out_of_order.iter().filter(happens).copied().collect();
        Some((self, happening))
    }

    /// The model's id of each number, the tokens, and the table of their merges.
    pub fn finish(self) -> (Vec<u32>, Vec<Token>, PairTable) {
        (self.ids, self.tokens, self.pairs)
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

    /// The token that two tokens are joined to.
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
        is_valid_token_pair(&self.pairs, &self.tokens, left, right)
    }

    /// Whether the joined token's bytes are those of its parts.
    pub fn spells(&self, merge: &Merge) -> bool {
        let [text, start, end] =
            [merge.joined, merge.left, merge.right].map(|id| self.model.tokens.get(id));
        text.strip_prefix(start) == Some(end)
    }

    /// Removes all derivations except the bytes.
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
            boundaries: BoundaryFilter::UNKNOWN,
        });
        self.pairs.insert(parts[0], parts[1], number);
    }
}
