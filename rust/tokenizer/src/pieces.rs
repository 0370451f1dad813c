//! Pieces that are a token as a whole, found before any merging.

use crate::key::ShortKey;
use rustc_hash::FxHashMap;

#[derive(Clone, Copy)]
struct Slot {
    low: u64,
    /// 0 marks a free slot: the length in a key's last byte is never 0.
    high: u64,
    id: u32,
}

/// Bytes to id, short tokens in an open-addressed table that is at most half full.
pub struct PieceTable {
    slots: Vec<Slot>,
    shift: u32,
    long: FxHashMap<Box<[u8]>, u32>,
}

impl PieceTable {
    /// The table of these tokens.
    pub fn of(tokens: &[(u32, &[u8])]) -> Self {
        let short = tokens
            .iter()
            .filter(|(_, bytes)| bytes.len() <= ShortKey::MOST)
            .count();
        let bits = (short * 2).next_power_of_two().trailing_zeros().max(4);
        let mut table = Self {
            slots: vec![
                Slot {
                    low: 0,
                    high: 0,
                    id: 0
                };
                1 << bits
            ],
            shift: 64 - bits,
            long: FxHashMap::default(),
        };
        for &(id, bytes) in tokens {
            if bytes.len() <= ShortKey::MOST {
                table.insert(ShortKey::of(bytes, 0, bytes.len()), id);
            } else {
                table.long.insert(bytes.into(), id);
            }
        }
        table
    }

    /// The token that is this short piece.
    #[inline]
    pub fn short(&self, key: ShortKey) -> Option<u32> {
        let mut at = (key.hash() >> self.shift) as usize;
        loop {
            let slot = &self.slots[at];
            if slot.low == key.low && slot.high == key.high {
                return Some(slot.id);
            }
            if slot.high == 0 {
                return None;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The token that is this piece of more than [`ShortKey::MOST`] bytes.
    #[inline]
    pub fn long(&self, piece: &[u8]) -> Option<u32> {
        self.long.get(piece).copied()
    }

    fn insert(&mut self, key: ShortKey, id: u32) {
        let mut at = (key.hash() >> self.shift) as usize;
        while self.slots[at].high != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Slot {
            low: key.low,
            high: key.high,
            id,
        };
    }
}
