//! An open-addressed hash table with a filter.
//!
//! Most lookups find nothing, and the tables do not stay in a fast cache while text is encoded. So a filter of one bit per hash,
//! an eighth of the size of a slot of one word, is read first.

/// The table. The meaning of its slots is defined by the owner.
pub struct FilteredTable<S> {
    slots: Vec<S>,
    free: S,
    /// A bit for each hash in the table.
    filter: Vec<u64>,
    /// 64 minus the number of bits of a filter index.
    filter_shift: u32,
}

impl<S: Copy + PartialEq> FilteredTable<S> {
    /// An empty table for `count` entries; `free` marks free slots.
    pub fn of(count: usize, free: S) -> Self {
        // Three quarters full: small, to stay in a fast cache. Eight to sixteen bits of filter per entry.
        let filter_bits = (count * 8).next_power_of_two().trailing_zeros().max(6);
        Self {
            slots: vec![free; count * 4 / 3 + 1],
            free,
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 64 - filter_bits,
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.slots.fill(self.free);
        self.filter.fill(0);
    }

    /// The slot with this hash for which `is` is true.
    #[inline]
    pub fn find(&self, hash: u64, is: impl Fn(S) -> bool) -> Option<S> {
        let bit = hash >> self.filter_shift;
        if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return None;
        }
        let mut at = self.place(hash);
        loop {
            let slot = self.slots[at];
            if is(slot) {
                return Some(slot);
            }
            if slot == self.free {
                return None;
            }
            at = self.next(at);
        }
    }

    /// Inserts a slot that is not in the table yet.
    pub fn insert(&mut self, hash: u64, slot: S) {
        let bit = hash >> self.filter_shift;
        self.filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        let mut at = self.place(hash);
        while self.slots[at] != self.free {
            at = self.next(at);
        }
        self.slots[at] = slot;
    }

    /// The first slot to probe for a hash.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.slots.len() { 0 } else { next }
    }
}
