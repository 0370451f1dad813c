//! Which two neighbouring tokens merge, and into what: an open-addressed table of one word a merge.

use super::NONE;

/// Numbers of tokens are below 2 to this, so that two parts and what they become fit a word.
pub const NUMBER_BITS: u32 = 21;
const EMPTY: u64 = u64::MAX;

/// Merges by their two parts.
pub struct PairTable {
    /// Left part, right part (the key) and joined token, from the high bits to the low ones.
    slots: Vec<u64>,
    /// 64 minus the number of bits of a slot's number.
    shift: u32,
}

impl PairTable {
    /// An empty table for so many merges.
    pub fn for_merges(count: usize) -> Self {
        // At most 4/5 full; beyond that, runs of slots that are not free grow long.
        let bits = (count * 5 / 4 + 1)
            .next_power_of_two()
            .trailing_zeros()
            .max(4);
        Self {
            slots: vec![EMPTY; 1 << bits],
            shift: 64 - bits,
        }
    }

    /// What `left` and `right` become, or [`NONE`].
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let key = key(left, right);
        let mut at = self.home(key);
        loop {
            let slot = self.slots[at];
            if slot >> NUMBER_BITS == key {
                return slot as u32 & ((1 << NUMBER_BITS) - 1);
            }
            if slot == EMPTY {
                return NONE;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Puts a merge in; its pair is not there yet.
    pub fn insert(&mut self, left: u32, right: u32, joined: u32) {
        let key = key(left, right);
        let mut at = self.home(key);
        while self.slots[at] != EMPTY {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = key << NUMBER_BITS | u64::from(joined);
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << NUMBER_BITS | u64::from(right)
}
