//! Short pieces met before, with their tokens: a fixed table in which a newcomer takes the place of whoever stands there.
//!
//! Its size never changes (1 MiB, which stays in a core's second-level cache), and it holds whole keys, so that it can
//! change how long encoding takes and never what comes out.

use crate::key::ShortKey;

/// Tokens a slot holds; pieces of more are merged anew each time.
pub const MOST_TOKENS: usize = 4;
const SLOT_BITS: u32 = 15;
/// Fills the places behind a piece's last token. No vocabulary reaches this id.
const NONE: u32 = u32::MAX;

/// Key (two words) and tokens (two to a word); all zero where free.
type Slot = [u64; 4];

/// The table. One per thread that encodes.
pub struct PieceCache {
    slots: Vec<Slot>,
}

impl Default for PieceCache {
    /// An empty one; its memory is touched only as it fills.
    fn default() -> Self {
        Self {
            slots: vec![[0; 4]; 1 << SLOT_BITS],
        }
    }
}

impl PieceCache {
    /// Appends the tokens of `key` to `ids` if they are known.
    #[inline]
    pub fn append(&self, key: ShortKey, ids: &mut Vec<u32>) -> bool {
        let [low, high, first, second] = self.slots[place(key)];
        if low != key.low || high != key.high {
            return false;
        }
        let tokens = [
            first as u32,
            (first >> 32) as u32,
            second as u32,
            (second >> 32) as u32,
        ];
        if tokens[1] == NONE {
            ids.push(tokens[0]);
        } else {
            let count = 2 + usize::from(tokens[2] != NONE) + usize::from(tokens[3] != NONE);
            ids.extend_from_slice(&tokens[..count]);
        }
        true
    }

    /// Remembers the tokens of `key`, if they are few enough.
    #[inline]
    pub fn insert(&mut self, key: ShortKey, ids: &[u32]) {
        if ids.len() > MOST_TOKENS {
            return;
        }
        let id = |place: usize| u64::from(ids.get(place).copied().unwrap_or(NONE));
        self.slots[place(key)] = [key.low, key.high, id(0) | id(1) << 32, id(2) | id(3) << 32];
    }
}

#[inline]
fn place(key: ShortKey) -> usize {
    (key.hash() >> (64 - SLOT_BITS)) as usize
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
