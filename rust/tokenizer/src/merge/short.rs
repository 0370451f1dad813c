//! Short pre-tokens, merged as it is defined: there the tables that the search needs cost more than the merges they spare.

use super::pairs::PairTable;
use super::short_tokens::ShortTokenTable;
use super::token::NONE;

/// Bytes of the longest short pre-token.
pub const MAX_SHORT_BYTES: usize = 15;
const PLACES: usize = MAX_SHORT_BYTES + 1;
const PLACE_BITS: u32 = 4;

/// What short pre-tokens need beside the merges.
pub struct Short {
    /// Pre-tokens that are a token.
    pub tokens: ShortTokenTable,
    /// Each two bytes' merge.
    pub bytes: BytePairs,
}

/// Each two bytes' merge, for the first look-ups of a pre-token.
pub struct BytePairs(Vec<u32>);

impl BytePairs {
    /// Those in a table.
    pub fn of(pairs: &PairTable) -> Self {
        let get = |left| move |right| pairs.get(left, right);
        Self((0..256).flat_map(|left| (0..256).map(get(left))).collect())
    }

    #[inline]
    fn get(&self, left: u8, right: u8) -> u32 {
        self.0[usize::from(left) << 8 | usize::from(right)]
    }
}

/// A pre-token on its way to its tokens: each stands where its first byte does.
///
/// Sets of places are bits of a number, which the loop keeps in a register.
struct Merging {
    tokens: [u32; PLACES],
    /// What the token here becomes with the next one, and the place: the smallest merge is the smallest of these.
    merges: [u32; PLACES],
}

/// Appends the ids of a pre-token of 1 to [`MAX_SHORT_BYTES`] bytes that is no token as a whole, or is one by its merges. `ids_of` are
/// the model's ids by number.
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
    let mut standing = (1 << pre_token.len()) - 1;
    while joinable != 0 {
        (standing, joinable) = state.join(pairs, standing, joinable);
    }
    while standing != 0 {
        ids.push(ids_of[state.tokens[lowest(standing)] as usize]);
        standing &= standing - 1;
    }
}

impl Merging {
    /// Puts the bytes down; returns where two can be joined.
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

    /// What the token at `place` becomes with the next one; returns its bit if it becomes anything.
    #[inline]
    fn put(&mut self, place: usize, joined: u32) -> u32 {
        if joined == NONE {
            return 0;
        }
        self.merges[place] = joined << PLACE_BITS | place as u32;
        1 << place
    }

    /// Does the smallest merge of the places `joinable`; returns where tokens stand and can be joined then.
    #[inline]
    fn join(&mut self, pairs: &PairTable, standing: u32, joinable: u32) -> (u32, u32) {
        let smallest = self.smallest(joinable);
        let (joined, place) = (smallest >> PLACE_BITS, smallest as usize % PLACES);
        let bit = 1_u32 << place;
        let behind = standing & !(bit | (bit - 1));
        let rest = behind & behind.wrapping_sub(1);
        let absorbed = behind ^ rest;
        let mut joinable = joinable & !(absorbed | bit);
        self.tokens[place] = joined;
        if rest != 0 {
            joinable |= self.put(place, pairs.get(joined, self.tokens[lowest(rest)]));
        }
        let before = standing & (bit - 1);
        if before != 0 {
            let previous = before.ilog2() as usize % PLACES;
            joinable &= !(1 << previous);
            joinable |= self.put(previous, pairs.get(self.tokens[previous], joined));
        }
        (standing ^ absorbed, joinable)
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

/// The first of some places.
#[inline]
fn lowest(places: u32) -> usize {
    places.trailing_zeros() as usize % PLACES
}
