//! Which two neighbouring tokens merge, and into what: an open-addressed table of one word a merge, behind a filter.
//!
//! Most look-ups find nothing, and tables do not stay in a near cache while text is encoded. So a bit for each hash, an eighth
//! of a byte where the merge takes ten, says first whether there can be a merge at all.

use super::NONE;

/// Numbers of tokens are below 2 to this, so that two parts and what they become fit a word.
pub const NUMBER_BITS: u32 = 21;
const EMPTY: u64 = u64::MAX;

/// Merges by their two parts.
pub struct PairTable {
    /// Left part, right part (the key) and joined token, from the high bits to the low ones.
    slots: Vec<u64>,
    /// A bit for each hash that some merge has.
    filter: Vec<u64>,
    /// 64 minus the number of bits of a filter bit's number.
    filter_shift: u32,
}

impl PairTable {
    /// An empty table for so many merges.
    pub fn for_merges(count: usize) -> Self {
        let bits_for = |places: usize| places.next_power_of_two().trailing_zeros().max(6);
        // Three quarters full: small, to stay in a near cache. Eight to sixteen bits of filter for a merge.
        let filter_bits = bits_for(count * 8);
        Self {
            slots: vec![EMPTY; count * 4 / 3 + 1],
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 64 - filter_bits,
        }
    }

    /// Takes all merges out.
    pub fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.filter.fill(0);
    }

    /// What `left` and `right` become, or [`NONE`].
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let key = key(left, right);
        let hash = hash(key);
        let bit = hash >> self.filter_shift;
        if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return NONE;
        }
        let mut at = self.place(hash);
        loop {
            let slot = self.slots[at];
            if slot >> NUMBER_BITS == key {
                return slot as u32 & ((1 << NUMBER_BITS) - 1);
            }
            if slot == EMPTY {
                return NONE;
            }
            at = self.next(at);
        }
    }

    /// Where a hash is looked for first.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.slots.len() { 0 } else { next }
    }

    /// Puts a merge in; its pair is not there yet.
    pub fn insert(&mut self, left: u32, right: u32, joined: u32) {
        let key = key(left, right);
        let hash = hash(key);
        let bit = hash >> self.filter_shift;
        self.filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        let mut at = self.place(hash);
        while self.slots[at] != EMPTY {
            at = self.next(at);
        }
        self.slots[at] = key << NUMBER_BITS | u64::from(joined);
    }
}

#[inline]
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << NUMBER_BITS | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_found_and_nothing_else() {
        let mut table = PairTable::for_merges(5000);
        let merges = || (0..5000_u32).map(|number| (number * 7 % 1000, number / 3, number));
        for (left, right, joined) in merges() {
            table.insert(left, right, joined);
        }
        for (left, right, joined) in merges() {
            assert_eq!(table.get(left, right), joined);
            assert_eq!(table.get(right + 2000, left), NONE);
        }
    }
}
