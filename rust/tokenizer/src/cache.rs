//! Short pieces met before, with their tokens: a fixed table of pairs of slots, in which a newcomer takes the first place,
//! and who stood there the second.
//!
//! Its size never changes (6 MiB), and it holds whole keys, so that it can change how long encoding takes and never what
//! comes out.

use crate::key::ShortKey;
use crate::scan::prefetch;

/// Sets of two slots: 6 MiB.
const SETS: usize = 3 << 15;
/// Key (two words) and tokens (two to a word, less one of their number in the highest two bits); all zero where free.
type Slot = [u64; 4];
/// Words of a set: two slots, which fill a cache line.
const SET_WORDS: usize = 8;

/// The tokens of a piece, as a slot holds them.
#[derive(Clone, Copy)]
pub struct Tokens([u64; 2]);

/// Where the number of tokens stands in a slot's last word: no vocabulary reaches ids of 30 bits.
const COUNT_SHIFT: u32 = 62;

impl Tokens {
    /// How many there are.
    #[inline(always)]
    pub fn count(self) -> usize {
        1 + (self.0[1] >> COUNT_SHIFT) as usize
    }

    /// The ids; those beyond the count mean nothing.
    #[inline(always)]
    pub fn ids(self) -> [u32; PieceCache::MOST_TOKENS] {
        let [first, last] = self.0;
        let last = last & ((1 << COUNT_SHIFT) - 1);
        [
            first as u32,
            (first >> 32) as u32,
            last as u32,
            (last >> 32) as u32,
        ]
    }
}

/// The table. One per thread that encodes.
pub struct PieceCache {
    /// Sets from `first` on. Words rather than sets, because zeroed words come from the system untouched.
    words: Vec<u64>,
    /// The first word that begins a cache line.
    first: usize,
}

impl Default for PieceCache {
    /// An empty one; its memory is touched only as it fills.
    fn default() -> Self {
        let words = vec![0_u64; (SETS + 1) * SET_WORDS];
        // The offset is 0 to 7; a platform that cannot tell it answers with a larger number.
        let first = words.as_ptr().align_offset(64) % SET_WORDS;
        Self { words, first }
    }
}

impl PieceCache {
    /// Tokens a slot holds; pieces of more are merged anew each time.
    pub const MOST_TOKENS: usize = 4;

    /// Where `key` is, if it is known; asks for that memory, which [`PieceCache::get`] will look at.
    #[inline(always)]
    pub fn place(&self, key: ShortKey) -> usize {
        let place = self.first + set(key);
        prefetch(&self.words, place);
        place
    }

    /// The tokens of `key`, whose [`PieceCache::place`] is given, if they are known.
    #[inline(always)]
    pub fn get(&self, place: usize, key: ShortKey) -> Option<Tokens> {
        let words = self.words.get(place..place + SET_WORDS)?;
        // No branch for which of the two it is: that is as good as random.
        let second = (words[0] != key.low) | (words[1] != key.high);
        let slot = words.get(usize::from(second) * 4..)?.get(..4)?;
        ((slot[0] == key.low) & (slot[1] == key.high)).then(|| Tokens([slot[2], slot[3]]))
    }

    /// Remembers the tokens of `key`, if they are few enough.
    #[inline]
    pub fn insert(&mut self, key: ShortKey, ids: &[u32]) {
        if !(1..=Self::MOST_TOKENS).contains(&ids.len()) {
            return;
        }
        let id = |place: usize| u64::from(ids.get(place).copied().unwrap_or(0));
        let count = (ids.len() as u64 - 1) << COUNT_SHIFT;
        let slot: Slot = [
            key.low,
            key.high,
            id(0) | id(1) << 32,
            id(2) | id(3) << 32 | count,
        ];
        let start = self.first + set(key);
        let words = &mut self.words[start..start + SET_WORDS];
        words.copy_within(..4, 4);
        words[..4].copy_from_slice(&slot);
    }
}

/// The first word of a key's set.
#[inline]
fn set(key: ShortKey) -> usize {
    ((((key.hash() >> 32) * SETS as u64) >> 32) as usize) * SET_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cache: &PieceCache, key: ShortKey) -> Option<Vec<u32>> {
        cache
            .get(cache.place(key), key)
            .map(|tokens| tokens.ids()[..tokens.count()].to_vec())
    }

    #[test]
    fn a_cache_returns_exactly_what_was_stored() {
        let mut cache = PieceCache::default();
        for tokens in [
            &[7][..],
            &[7, 8],
            &[7, 8, 9],
            &[7, 8, 9, 10],
            &[(1 << 22) - 1; 4],
        ] {
            let key = ShortKey::of(b"piece", 0, 5);
            cache.insert(key, tokens);
            assert_eq!(found(&cache, key).as_deref(), Some(tokens));
            assert_eq!(found(&cache, ShortKey::of(b"piecf", 0, 5)), None);
        }
    }

    #[test]
    fn pieces_of_many_tokens_are_not_stored() {
        let mut cache = PieceCache::default();
        let key = ShortKey::of(b"pieces", 0, 6);
        cache.insert(key, &[1, 2, 3, 4, 5]);
        assert_eq!(found(&cache, key), None);
    }
}
