//! Allocates nodes in a double array while it is built.

use super::trie::Slot;
use std::collections::VecDeque;

/// Slots in blocks of 256: the children of a node are in one block.
#[derive(Default)]
pub struct Array {
    /// The slots, for the trie.
    pub slots: Vec<Slot>,
    /// Free slots of each block, as bits.
    free: Vec<[u64; 4]>,
    /// Free bases, as bits.
    bases: Vec<[u64; 4]>,
    /// Blocks that may have space.
    open: VecDeque<usize>,
}

/// The newest blocks are searched for space before a block is added: `OPEN_BLOCKS` of them for a single child, which fits nearly
/// anywhere, and `OPEN_TO_MANY` for several children.
const OPEN_BLOCKS: usize = 16;
const OPEN_TO_MANY: usize = 3;

impl Array {
    /// An array with only the free slots for nodes without children.
    pub fn new() -> Self {
        let mut array = Self::default();
        array.add_block();
        array.free[0] = [0; 4];
        array.open.clear();
        array
    }

    /// Takes a free base with free slots for the children of these bytes.
    pub fn take(&mut self, bytes: &[u8]) -> u32 {
        let (block, flip) = self.find(bytes);
        for byte in bytes {
            clear(&mut self.free[block], byte ^ flip);
        }
        clear(&mut self.bases[block], flip);
        (block as u32) << 8 | u32::from(flip)
    }

    /// Block and low bits of such a base.
    fn find(&mut self, bytes: &[u8]) -> (usize, u8) {
        if let [_] = bytes {
            // A block without space for a single child counts as full: each block fails once.
            while let Some(&block) = self.open.front() {
                match self.fit(block, bytes) {
                    Some(flip) => return (block, flip),
                    None => self.open.pop_front(),
                };
            }
        }
        let newest = self.open.iter().rev().take(OPEN_TO_MANY);
        let found = newest
            .copied()
            .find_map(|block| Some((block, self.fit(block, bytes)?)));
        found.unwrap_or_else(|| {
            self.add_block();
            (self.free.len() - 1, 0)
        })
    }

    fn add_block(&mut self) {
        self.slots.resize(self.slots.len() + 256, Slot::FREE);
        self.free.push([u64::MAX; 4]);
        self.bases.push([u64::MAX; 4]);
        self.open.push_back(self.free.len() - 1);
        if self.open.len() > OPEN_BLOCKS {
            self.open.pop_front();
        }
    }

    /// The low bits of a free base in a block.
    fn fit(&self, block: usize, bytes: &[u8]) -> Option<u8> {
        let (free, bases) = (&self.free[block], &self.bases[block]);
        let [first, rest @ ..] = bytes else {
            return None;
        };
        ones(free)
            .map(|slot| slot ^ first)
            .find(|flip| is_set(bases, *flip) && rest.iter().all(|byte| is_set(free, byte ^ flip)))
    }
}

fn ones(bits: &[u64; 4]) -> impl Iterator<Item = u8> {
    (0..4_u8).flat_map(|word| {
        let mut left = bits[usize::from(word)];
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros() as u8;
            left &= left.wrapping_sub(1);
            (bit < 64).then_some(word << 6 | bit)
        })
    })
}

fn is_set(bits: &[u64; 4], place: u8) -> bool {
    bits[usize::from(place >> 6)] >> (place & 63) & 1 == 1
}

fn clear(bits: &mut [u64; 4], place: u8) {
    bits[usize::from(place >> 6)] &= !(1 << (place & 63));
}
