//! What a power loss leaves: every change since the last fsync survives, tears or vanishes independently.
//!
//! Harsher than any one file system, as in SQLite's crash tests and "All File Systems Are Not Created Equal" (OSDI '14):
//! a later change may survive an earlier one, a write survives by 512-byte sectors, and a file's length may survive
//! its content, leaving zeros.

use super::memory::{Memory, Node, Pending, apply};

/// Bytes that a disk writes or does not write, but never by halves.
const SECTOR_BYTES: usize = 512;

/// Turns what was seen into what survived; afterwards all of it is durable.
pub(super) fn lose_power(memory: &mut Memory, seed: u64) {
    let mut chance = Chance::new(seed);
    for node in &mut memory.nodes {
        match node {
            Node::File {
                seen,
                durable,
                pending,
            } => {
                let seen_bytes = seen.len();
                pending
                    .drain(..)
                    .for_each(|write| keep_sectors(durable, &write, &mut chance));
                if chance.keeps() {
                    durable.resize(seen_bytes.max(durable.len()), 0);
                }
                seen.clone_from(durable);
            }
            Node::Folder {
                seen,
                durable,
                pending,
            } => {
                pending
                    .drain(..)
                    .filter(|_| chance.keeps())
                    .for_each(|change| apply(durable, &change));
                seen.clone_from(durable);
            }
        }
    }
}

fn keep_sectors(durable: &mut Vec<u8>, write: &Pending, chance: &mut Chance) {
    let end = write.offset + write.bytes.len();
    let mut start = write.offset;
    while start < end {
        let stop = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if chance.keeps() {
            durable.resize(durable.len().max(stop), 0);
            durable[start..stop]
                .copy_from_slice(&write.bytes[start - write.offset..stop - write.offset]);
        }
        start = stop;
    }
}

/// Decides what survives; each seed has its own probability, so that nearly-all and nearly-nothing are tried too.
struct Chance {
    state: u64,
    /// A change survives if 8 random bits are below this.
    odds: u64,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut chance = Self {
            state: seed,
            odds: 0,
        };
        chance.odds = [13, 64, 128, 192, 243][(chance.next() % 5) as usize];
        chance
    }

    fn keeps(&mut self) -> bool {
        self.next() & 255 < self.odds
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA '14).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
