//! Hash table of merges by their two parts: one word per merge.

use super::filtered::FilteredTable;
use super::token::NONE;
use crate::keyed::Keys;

/// Bits of a token number: two parts and the joined token fit into a word.
pub const NUMBER_BITS: u32 = 21;

/// Merges: left part, right part (the key) and joined token, from the high bits to the low ones.
pub struct PairTable {
    table: FilteredTable<u64>,
    /// Secret: merges come from files.
    factor: u64,
}

impl PairTable {
    /// An empty table for `count` merges.
    pub fn for_merges(count: usize) -> Self {
        Self {
            table: FilteredTable::of(count, u64::MAX),
            factor: Keys::default().factor(),
        }
    }

    /// Removes all merges.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// The token that `left` and `right` are joined to, or [`NONE`].
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let key = key(left, right);
        let found = self
            .table
            .find(self.hash(key), |slot| slot >> NUMBER_BITS == key);
        found.map_or(NONE, |slot| slot as u32 & ((1 << NUMBER_BITS) - 1))
    }

    /// Inserts a merge, whose pair is not in the table yet.
    pub fn insert(&mut self, left: u32, right: u32, joined: u32) {
        let key = key(left, right);
        let slot = key << NUMBER_BITS | u64::from(joined);
        self.table.insert(self.hash(key), slot);
    }

    #[inline]
    fn hash(&self, key: u64) -> u64 {
        key.wrapping_mul(self.factor)
    }
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << NUMBER_BITS | u64::from(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_merges_are_found_and_no_others() {
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
