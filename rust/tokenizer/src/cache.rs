//! Short pieces met before, with their tokens: a fixed table of pairs of slots, in which a newcomer takes the first place,
//! and who stood there the second.
//!
//! Its size never changes (2 MiB), and it holds whole keys, so that it can change how long encoding takes and never what
//! comes out.

use crate::key::ShortKey;

/// Tokens a slot holds; pieces of more are merged anew each time.
pub const MOST_TOKENS: usize = 4;
const SET_BITS: u32 = 15;
/// Fills the places behind a piece's last token. No vocabulary reaches this id.
const NONE: u32 = u32::MAX;

/// Key (two words) and tokens (two to a word); all zero where free.
type Slot = [u64; 4];
/// Words of a set: two slots, which fill a cache line.
const SET_WORDS: usize = 8;

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
        let words = vec![0_u64; (SET_WORDS << SET_BITS) + SET_WORDS];
        // The offset is 0 to 7; a platform that cannot tell it answers with a larger number.
        let first = words.as_ptr().align_offset(64) % SET_WORDS;
        Self { words, first }
    }
}

impl PieceCache {
    /// Appends the tokens of `key` to `ids` if they are known.
    #[inline]
    pub fn append(&self, key: ShortKey, ids: &mut Vec<u32>) -> bool {
        let start = self.first + set(key);
        let words = &self.words[start..start + SET_WORDS];
        let slot = match () {
            () if words[0] == key.low && words[1] == key.high => &words[..4],
            () if words[4] == key.low && words[5] == key.high => &words[4..],
            () => return false,
        };
        let tokens = [
            slot[2] as u32,
            (slot[2] >> 32) as u32,
            slot[3] as u32,
            (slot[3] >> 32) as u32,
        ];
        let count = 1 + tokens[1..].iter().filter(|&&token| token != NONE).count();
        // Four at once and back is one wide store; a copy of unknown length is a call.
        let before = ids.len();
        ids.extend_from_slice(&tokens);
        ids.truncate(before + count);
        true
    }

    /// Remembers the tokens of `key`, if they are few enough.
    #[inline]
    pub fn insert(&mut self, key: ShortKey, ids: &[u32]) {
        if ids.len() > MOST_TOKENS {
            return;
        }
        let id = |place: usize| u64::from(ids.get(place).copied().unwrap_or(NONE));
        let slot: Slot = [key.low, key.high, id(0) | id(1) << 32, id(2) | id(3) << 32];
        let start = self.first + set(key);
        let words = &mut self.words[start..start + SET_WORDS];
        words.copy_within(..4, 4);
        words[..4].copy_from_slice(&slot);
    }
}

/// The first word of a key's set.
#[inline]
fn set(key: ShortKey) -> usize {
    (key.hash() >> (64 - SET_BITS)) as usize * SET_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_returns_exactly_what_was_stored() {
        let mut cache = PieceCache::default();
        for tokens in [&[7][..], &[7, 8], &[7, 8, 9], &[7, 8, 9, 10]] {
            let key = ShortKey::of(b"piece", 0, 5);
            cache.insert(key, tokens);
            let mut ids = vec![1];
            assert!(cache.append(key, &mut ids));
            assert_eq!(ids[1..], *tokens);
            assert!(!cache.append(ShortKey::of(b"piecf", 0, 5), &mut ids));
        }
    }

    #[test]
    fn pieces_of_many_tokens_are_not_stored() {
        let mut cache = PieceCache::default();
        let key = ShortKey::of(b"pieces", 0, 6);
        cache.insert(key, &[1, 2, 3, 4, 5]);
        assert!(!cache.append(key, &mut Vec::new()));
    }
}
