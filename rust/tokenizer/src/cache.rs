//! Short pieces met before, with their tokens: a fixed table of pairs of slots, of which one is for those that stay.
//!
//! Its size never changes (6 MiB), and it holds whole keys, so that it can change how long encoding takes and never what
//! comes out.

use crate::key::ShortKey;
use crate::memory::Zeroed;
use crate::scan::prefetch;

/// Sets of two slots: 6 MiB.
const SETS: usize = 3 << 15;
/// Bytes of a set: a cache line.
const SET: usize = 64;
/// Bytes of a slot: key with the number of tokens, tokens; all zero where free.
const SLOT: usize = SET / 2;

/// Where a slot has the number of its tokens, less one: in two bits of the key's length, which needs four of eight.
const COUNT_SHIFT: u32 = 62;
const COUNT: u64 = 3 << COUNT_SHIFT;

/// One newcomer of so many takes the place of a piece that has its set's first slot; the others have the second slot in turn. So
/// text that comes round and round, with more pieces than there are slots, still finds one of each set's (bimodal insertion:
/// Qureshi et al., *Adaptive Insertion Policies for High Performance Caching*, 2007).
const NEWCOMERS: u32 = 16;

/// The tokens of a piece.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// How many there are.
    pub count: usize,
    /// The ids; those beyond the count mean nothing.
    pub ids: [u32; PieceCache::MOST_TOKENS],
}

/// The table. One per thread that encodes.
pub struct PieceCache {
    table: Zeroed,
    /// Pieces put in so far.
    inserted: u32,
}

impl Default for PieceCache {
    /// An empty one; its memory is touched only as it fills.
    fn default() -> Self {
        Self {
            table: Zeroed::of(SETS * SET),
            inserted: 0,
        }
    }
}

/// A table to look pieces up in.
#[derive(Clone, Copy)]
pub struct Sets<'c>(&'c [[u8; SET]]);

impl PieceCache {
    /// Tokens a slot holds; pieces of more are merged anew each time.
    pub const MOST_TOKENS: usize = 4;

    /// The table to look pieces up in.
    #[inline]
    pub fn sets(&self) -> Sets<'_> {
        Sets(self.table.as_chunks().0)
    }

    /// Remembers the tokens of `key`, if they are few enough.
    #[inline]
    pub fn insert(&mut self, key: ShortKey, ids: &[u32]) {
        if !(1..=Self::MOST_TOKENS).contains(&ids.len()) {
            return;
        }
        let id = |place: usize| u64::from(ids.get(place).copied().unwrap_or(0));
        let count = (ids.len() as u64 - 1) << COUNT_SHIFT;
        let slot = [
            key.low,
            key.high | count,
            id(0) | id(1) << 32,
            id(2) | id(3) << 32,
        ];
        let start = place(key) as usize * SET;
        let set = &mut self.table[start..start + SET];
        self.inserted = self.inserted.wrapping_add(1);
        // A key's second word has its length, which is not 0.
        let first_is_free = set[8..16] == [0; 8];
        let slot_bytes = if first_is_free {
            &mut set[..SLOT]
        } else if self.inserted.is_multiple_of(NEWCOMERS) {
            set.copy_within(..SLOT, SLOT);
            &mut set[..SLOT]
        } else {
            &mut set[SLOT..]
        };
        for (bytes, word) in slot_bytes.as_chunks_mut::<8>().0.iter_mut().zip(slot) {
            *bytes = word.to_ne_bytes();
        }
    }
}

impl Sets<'_> {
    /// Where `key` is, if it is known; asks for that memory, which [`Sets::get`] will look at.
    #[inline(always)]
    pub fn place(self, key: ShortKey) -> u32 {
        let place = place(key);
        prefetch(self.0, place as usize);
        place
    }

    /// The tokens of `key`, whose [`Sets::place`] is given, if they are known.
    #[inline(always)]
    pub fn get(self, place: u32, key: ShortKey) -> Option<Tokens> {
        let set = self.0.get(place as usize)?;
        let word = |at: usize| {
            set.as_chunks::<8>()
                .0
                .get(at)
                .map_or(0, |word| u64::from_ne_bytes(*word))
        };
        let differs = |at: usize| (word(at) ^ key.low) | ((word(at + 1) ^ key.high) & !COUNT);
        // No branch for which of the two it is: that is as good as random.
        let at = usize::from(differs(0) != 0) * (SLOT / 8);
        let (first, last) = (word(at + 2), word(at + 3));
        (differs(at) == 0).then(|| Tokens {
            count: 1 + (word(at + 1) >> COUNT_SHIFT) as usize,
            ids: [
                first as u32,
                (first >> 32) as u32,
                last as u32,
                (last >> 32) as u32,
            ],
        })
    }
}

/// The number of a key's set.
#[inline(always)]
fn place(key: ShortKey) -> u32 {
    (((key.hash() >> 32) * SETS as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cache: &PieceCache, key: ShortKey) -> Option<Vec<u32>> {
        let sets = cache.sets();
        sets.get(sets.place(key), key)
            .map(|tokens| tokens.ids[..tokens.count].to_vec())
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
            let piece = format!("piece {}", tokens[tokens.len() - 1]);
            let key = ShortKey::of(piece.as_bytes(), 0, piece.len());
            assert_eq!(found(&cache, key), None);
            cache.insert(key, tokens);
            assert_eq!(found(&cache, key).as_deref(), Some(tokens));
        }
    }

    #[test]
    fn more_pieces_than_there_is_room_for_leave_some_of_them() {
        let mut cache = PieceCache::default();
        let key = |number: u32| ShortKey::of(&[&number.to_le_bytes()[..], b"piece"].concat(), 0, 9);
        let pieces = 0..5 * SETS as u32;
        for _ in 0..2 {
            pieces.clone().for_each(|number| {
                if found(&cache, key(number)).is_none() {
                    cache.insert(key(number), &[number, 1]);
                }
            });
        }
        let known = pieces.filter_map(|number| {
            found(&cache, key(number)).map(|ids| assert_eq!(ids, [number, 1]))
        });
        assert!(known.count() > SETS);
    }

    #[test]
    fn pieces_of_many_tokens_are_not_stored() {
        let mut cache = PieceCache::default();
        let key = ShortKey::of(b"pieces", 0, 6);
        cache.insert(key, &[1, 2, 3, 4, 5]);
        assert_eq!(found(&cache, key), None);
    }
}
