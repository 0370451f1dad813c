//! Front table: the most frequent short pre-tokens in a table that fits into a core's own cache, where a lookup is a comparison
//! and a copy.
//!
//! It is searched before the lines of the pre-token cache, which hold far more pre-tokens in less memory each but take longer to
//! read. Each pre-token has one place here, which it shares with others; the last one inserted has it.

use crate::scan::prefetch;
use crate::short_key::ShortKey;

/// Places: 1 MiB, which fits into a core's L2 cache.
const PLACES: usize = 1 << 15;
/// Bytes of a place: the two words of a key, three ids, and their number.
const PLACE: usize = 32;
/// Bytes of the table.
pub const BYTES: usize = PLACES * PLACE;

/// What one lookup writes; only the ids of the pre-token are meaningful.
pub type Ids = [u32; 4];
/// The maximum number of ids of a pre-token in this table.
pub const MAX_IDS: usize = 3;

/// The table.
#[derive(Clone, Copy)]
pub struct Front<'t>(&'t [[u8; PLACE]]);

impl<'t> Front<'t> {
    /// The table in these bytes, [`BYTES`] of them, all zero at first.
    #[inline]
    pub fn of(bytes: &'t [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    /// The place of a pre-token; prefetches it for [`Front::get`].
    #[inline(always)]
    pub fn place(self, key: ShortKey) -> u32 {
        let place = place(key);
        prefetch(self.0, place);
        place as u32
    }

    /// Writes the ids of a pre-token, whose [`Front::place`] is given, and returns their number; 0 if it is not in the table.
    #[inline(always)]
    pub fn get(self, place: u32, key: ShortKey, ids: &mut Ids) -> usize {
        let Some(kept) = self.0.get(place as usize) else {
            return 0;
        };
        if word(kept, 0) ^ key.low | word(kept, 8) ^ key.high != 0 {
            return 0;
        }
        // Read separately from what is written; otherwise the next pre-token would wait for this one's ids to be stored and
        // loaded again.
        let [first, last] = [word(kept, 16), word(kept, 24)];
        *ids = [first as u32, (first >> 32) as u32, last as u32, 0];
        (last >> 32) as usize
    }
}

/// Stores a pre-token at its place; the previous one is dropped.
pub fn put(bytes: &mut [u8], key: ShortKey, ids: &[u32]) {
    let places: &mut [[u8; PLACE]] = bytes.as_chunks_mut().0;
    let Some(kept) = places.get_mut(place(key)) else {
        return;
    };
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return;
    }
    let id = |at: usize| ids.get(at).copied().unwrap_or(0).to_le_bytes();
    let count = (ids.len() as u32).to_le_bytes();
    kept[..8].copy_from_slice(&key.low.to_le_bytes());
    kept[8..16].copy_from_slice(&key.high.to_le_bytes());
    kept[16..].copy_from_slice([id(0), id(1), id(2), count].as_flattened());
}

#[inline(always)]
fn place(key: ShortKey) -> usize {
    (key.hash() >> 32) as usize % PLACES
}

#[inline(always)]
fn word(kept: &[u8; PLACE], start: usize) -> u64 {
    let bytes = kept[start..].first_chunk();
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8], pre_token: &[u8]) -> Option<Vec<u32>> {
        found_at(bytes, pre_token, pre_token)
    }

    /// The result for a pre-token that is searched at the place of another.
    fn found_at(bytes: &[u8], other: &[u8], pre_token: &[u8]) -> Option<Vec<u32>> {
        let key = |pre_token: &[u8]| ShortKey::of(pre_token, 0, pre_token.len());
        let mut ids = [7; 4];
        let front = Front::of(bytes);
        let count = front.get(front.place(key(other)), key(pre_token), &mut ids);
        (count > 0).then(|| ids[..count].to_vec())
    }

    fn put_pre_token(bytes: &mut [u8], pre_token: &[u8], ids: &[u32]) {
        put(bytes, ShortKey::of(pre_token, 0, pre_token.len()), ids);
    }

    #[test]
    fn a_pre_token_is_found_with_its_ids_and_no_other_pre_token_is() {
        for len in 1..=ShortKey::MAX_BYTES {
            let (mut bytes, pre_token) = (vec![0; BYTES], vec![0; len]);
            assert_eq!(found(&bytes, &pre_token), None);
            let ids = &[u32::MAX, 0, 5][..1 + len % MAX_IDS];
            put_pre_token(&mut bytes, &pre_token, ids);
            assert_eq!(found(&bytes, &pre_token).as_deref(), Some(ids));
            for at in 0..len {
                let mut other = pre_token.clone();
                other[at] = 1;
                assert_eq!(found_at(&bytes, &pre_token, &other), None);
            }
            if len < ShortKey::MAX_BYTES {
                assert_eq!(found_at(&bytes, &pre_token, &vec![0; len + 1]), None);
            }
        }
    }

    #[test]
    fn pre_tokens_of_no_or_of_many_ids_are_not_stored() {
        let mut bytes = vec![0; BYTES];
        for ids in [&[][..], &[1, 2, 3, 4]] {
            put_pre_token(&mut bytes, b"piece", ids);
            assert_eq!(found(&bytes, b"piece"), None);
        }
    }

    #[test]
    fn the_last_of_two_pre_tokens_at_one_place_is_kept() {
        let key = |number: u32| ShortKey::of(&number.to_le_bytes(), 0, 4);
        let first = place(key(0));
        let other = (1..).find(|&number| place(key(number)) == first).unwrap();
        let [zero, other] = [0_u32, other].map(u32::to_le_bytes);
        let mut bytes = vec![0; BYTES];
        put_pre_token(&mut bytes, &zero, &[1]);
        assert_eq!(found(&bytes, &zero), Some(vec![1]));
        assert_eq!(found(&bytes, &other), None);
        put_pre_token(&mut bytes, &other, &[2, 3]);
        assert_eq!(found(&bytes, &other), Some(vec![2, 3]));
        assert_eq!(found(&bytes, &zero), None);
    }
}
