//! Which two neighbouring tokens merge, how soon, and into what: an open-addressed table.

use crate::model::{Merge, MergeOrder, Model};
use rustc_hash::FxHashSet;

/// What two neighbours become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Smaller merges first; [`u32::MAX`] says "never".
    pub rank: u32,
    /// Id of the joined token.
    pub id: u32,
}

impl Joined {
    /// Two neighbours that never merge.
    pub const NEVER: Self = Self {
        rank: u32::MAX,
        id: 0,
    };
}

#[derive(Clone, Copy)]
struct Slot {
    /// Left id in the high half, right id in the low half.
    key: u64,
    joined: Joined,
}

const EMPTY: u64 = u64::MAX;

/// All merges by their two parts, at most half full.
pub struct PairTable {
    slots: Vec<Slot>,
    /// 64 minus the number of bits of a slot's number.
    shift: u32,
}

impl PairTable {
    /// The table of a model's merges, without those into an added token: plain text must not yield one, and where added
    /// tokens are allowed their text is cut out before merging.
    pub fn of(model: &Model) -> Self {
        let added: FxHashSet<u32> = model.added.iter().map(|token| token.id).collect();
        let bits = (model.merges.len() * 2)
            .next_power_of_two()
            .trailing_zeros()
            .max(4);
        let mut table = Self {
            slots: vec![
                Slot {
                    key: EMPTY,
                    joined: Joined::NEVER
                };
                1 << bits
            ],
            shift: 64 - bits,
        };
        for (place, merge) in model
            .merges
            .iter()
            .enumerate()
            .filter(|(_, merge)| !added.contains(&merge.joined))
        {
            let rank = match model.order {
                MergeOrder::Listed => place as u32,
                MergeOrder::JoinedId => merge.joined,
            };
            table.insert(merge, rank);
        }
        table
    }

    /// What `left` and `right` become.
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> Joined {
        let key = key(left, right);
        let mut at = self.home(key);
        loop {
            let slot = self.slots[at];
            if slot.key == key {
                return slot.joined;
            }
            if slot.key == EMPTY {
                return Joined::NEVER;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, merge: &Merge, rank: u32) {
        let key = key(merge.left, merge.right);
        let mut at = self.home(key);
        while self.slots[at].key != EMPTY && self.slots[at].key != key {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Slot {
            key,
            joined: Joined {
                rank,
                id: merge.joined,
            },
        };
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
