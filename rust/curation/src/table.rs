//! Ids for distinct keys, in the order in which the keys first occur: an exact hash table that is reused.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const MIN_SLOTS: usize = 64;

/// A hash function. Its key differs by process, so that no text can be made whose words all collide; what the table
/// gives does not depend on it, because keys are compared in full.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }
}

impl Hash {
    /// The hash of bytes.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> u64 {
        let mut hash = self.0 ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            hash = fold(hash ^ u64::from_le_bytes(word));
        }
        let mut last = 0;
        for &byte in chunks.remainder() {
            last = last << 8 | u64::from(byte);
        }
        fold(hash ^ last)
    }

    /// The hash of a sequence of ids.
    #[inline]
    pub fn ids(self, ids: &[u32]) -> u64 {
        ids.iter().fold(self.0 ^ ids.len() as u64, |hash, &id| {
            fold(hash ^ u64::from(id))
        })
    }

    /// The hash of a pair of ids.
    #[inline]
    pub fn pair(self, first: u32, second: u32) -> u64 {
        fold(self.0 ^ (u64::from(first) << 32 | u64::from(second)))
    }
}

/// The high and low half of a 128-bit product, combined: every bit of the input reaches every bit of the result.
#[inline]
fn fold(value: u64) -> u64 {
    let product = u128::from(value) * u128::from(MULTIPLIER ^ 0x5851_f42d_4c95_7f2d);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A slot: half of the key's hash, and its id + 1, or 0 for an empty slot.
#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u32,
    id: u32,
}

/// The table: open addressing with linear probing, at most half full.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    size: usize,
    count: u32,
    hash: Hash,
}

impl Table {
    /// Empties the table and makes room for about `expected` keys.
    pub fn start(&mut self, expected: usize) {
        self.size = (expected * 2).next_power_of_two().max(MIN_SLOTS);
        if self.slots.len() < self.size {
            self.slots.resize(self.size, Slot::default());
        }
        self.slots[..self.size].fill(Slot::default());
        self.count = 0;
    }

    /// The hash function of the table's keys.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The id of the key with `hash`, for which `is_key(id)` holds, and whether it is new.
    #[inline]
    pub fn id(&mut self, hash: u64, is_key: impl Fn(u32) -> bool) -> (u32, bool) {
        if self.count as usize * 2 >= self.size {
            self.grow();
        }
        let tag = (hash >> 32) as u32;
        let mask = self.size - 1;
        let mut place = tag as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot.id == 0 {
                self.count += 1;
                self.slots[place] = Slot {
                    tag,
                    id: self.count,
                };
                return (self.count - 1, true);
            }
            if slot.tag == tag && is_key(slot.id - 1) {
                return (slot.id - 1, false);
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old: Vec<Slot> = self.slots[..self.size].to_vec();
        self.size *= 2;
        if self.slots.len() < self.size {
            self.slots.resize(self.size, Slot::default());
        }
        self.slots[..self.size].fill(Slot::default());
        let mask = self.size - 1;
        for slot in old.into_iter().filter(|slot| slot.id != 0) {
            let mut place = slot.tag as usize & mask;
            while self.slots[place].id != 0 {
                place = (place + 1) & mask;
            }
            self.slots[place] = slot;
        }
    }
}
