//! Merges short pre-tokens by definition: for these, the tables of the search cost more than the merges they save.

use super::pairs::PairTable;
use super::short_tokens::ShortTokenTable;
use super::token::NONE;

/// The maximum number of bytes of a short pre-token.
pub const MAX_SHORT_BYTES: usize = 15;
const PLACES: usize = MAX_SHORT_BYTES + 1;
const PLACE_BITS: u32 = 4;

/// Tables for short pre-tokens, besides the merges.
pub struct Short {
    /// Pre-tokens that are a token.
    pub tokens: ShortTokenTable,
    /// The merge of each two bytes.
    pub bytes: BytePairs,
}

/// The merge of each two bytes, for the first lookups of a pre-token.
pub struct BytePairs(Vec<u32>);

impl BytePairs {
    /// The merges of two bytes in `pairs`.
    pub fn of(pairs: &PairTable) -> Self {
        let get = |left| move |right| pairs.get(left, right);
        Self((0..256).flat_map(|left| (0..256).map(get(left))).collect())
    }

    #[inline]
    fn get(&self, left: u8, right: u8) -> u32 {
        self.0[usize::from(left) << 8 | usize::from(right)]
    }
}

/// A pre-token during merging: each token is stored at the position of its first byte.
///
/// Sets of positions are bits of a number, which the loop keeps in a register.
struct Merging {
    tokens: [u32; PLACES],
    /// The token that this one and the next one are joined to, and the position: the next merge is the smallest of these.
    merges: [u32; PLACES],
}

/// Appends the ids of a pre-token of 1 to [`MAX_SHORT_BYTES`] bytes that is not a token as a whole, or is made by its merges.
/// `ids_of` are the model's ids by number.
#[inline]
pub fn merge_short(
    ids_of: &[u32],
    pairs: &PairTable,
    short: &Short,
    pre_token: &[u8],
    ids: &mut Vec<u32>,
) {
    let mut state = Merging {
        tokens: [0; PLACES],
        merges: [0; PLACES],
    };
    let mut joinable = state.begin(&short.bytes, pre_token);
    let mut occupied = (1 << pre_token.len()) - 1;
    while joinable != 0 {
        (occupied, joinable) = state.join(pairs, occupied, joinable);
    }
    while occupied != 0 {
        ids.push(ids_of[state.tokens[lowest(occupied)] as usize]);
        occupied &= occupied - 1;
    }
}

impl Merging {
    /// Sets the bytes; returns the positions where two can be joined.
    #[inline]
    fn begin(&mut self, bytes: &BytePairs, pre_token: &[u8]) -> u32 {
        let mut joinable = 0;
        let mut left = pre_token[0];
        self.tokens[0] = u32::from(left);
        for (place, &right) in pre_token.iter().enumerate().take(PLACES).skip(1) {
            self.tokens[place] = u32::from(right);
            joinable |= self.put(place - 1, bytes.get(left, right));
            left = right;
        }
        joinable
    }

    /// Sets what the token at `place` and the next one are joined to; returns the position's bit if there is such a merge.
    #[inline]
    fn put(&mut self, place: usize, joined: u32) -> u32 {
        if joined == NONE {
            return 0;
        }
        self.merges[place] = joined << PLACE_BITS | place as u32;
        1 << place
    }

    /// Applies the smallest merge at the positions `joinable`; returns the positions of tokens and of merges after it.
    #[inline]
    fn join(&mut self, pairs: &PairTable, occupied: u32, joinable: u32) -> (u32, u32) {
        let smallest = self.smallest(joinable);
        let (joined, place) = (smallest >> PLACE_BITS, smallest as usize % PLACES);
        let bit = 1_u32 << place;
        let behind = occupied & !(bit | (bit - 1));
        let rest = behind & behind.wrapping_sub(1);
        let absorbed = behind ^ rest;
        let mut joinable = joinable & !(absorbed | bit);
        self.tokens[place] = joined;
        if rest != 0 {
            joinable |= self.put(place, pairs.get(joined, self.tokens[lowest(rest)]));
        }
        let before = occupied & (bit - 1);
        if before != 0 {
            let previous = before.ilog2() as usize % PLACES;
            joinable &= !(1 << previous);
            joinable |= self.put(previous, pairs.get(self.tokens[previous], joined));
        }
        (occupied ^ absorbed, joinable)
    }

    #[inline]
    fn smallest(&self, mut places: u32) -> u32 {
        let mut smallest = NONE;
        while places != 0 {
            smallest = smallest.min(self.merges[lowest(places)]);
            places &= places - 1;
        }
        smallest
    }
}

/// The lowest position of a set.
#[inline]
fn lowest(places: u32) -> usize {
    places.trailing_zeros() as usize % PLACES
}
