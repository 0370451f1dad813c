//! The distinct pre-tokens of a corpus: tables that threads share, each behind its own lock.

use super::table::{Counted, LongTable, ShortTable, hash_long};
use crate::short_key::ShortKey;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of tables that the pre-tokens are distributed over. Growing one takes half of a sixteenth more memory, not half of
/// the total.
pub const SHARDS: usize = 16;

/// The number of lookups that a slot is prefetched ahead.
const AHEAD: usize = 8;

/// The shard of a hash.
#[inline]
pub fn shard_of(hash: u64) -> usize {
    (hash >> 60) as usize
}

/// Pre-tokens whose hashes share the highest bits.
#[derive(Default)]
pub struct Shard {
    short: ShortTable,
    long: LongTable,
}

impl Shard {
    /// Calls `pre_token(bytes, count)` for each pre-token.
    pub fn for_each(&self, mut pre_token: impl FnMut(&[u8], u64)) {
        for Counted { key, count } in self.short.iter() {
            pre_token(&key.bytes()[..key.len()], *count);
        }
        self.long
            .iter()
            .for_each(|(bytes, count)| pre_token(bytes, count));
    }

    /// Adds short pre-tokens.
    pub fn add_short(&mut self, counted: &[Counted]) {
        for (number, &Counted { key, count }) in counted.iter().enumerate() {
            if let Some(later) = counted.get(number + AHEAD) {
                self.short.ask_for(later.key);
            }
            self.short.add(key, count);
        }
    }

    /// Adds a long pre-token whose hash is known.
    pub fn add_long(&mut self, hash: u64, pre_token: &[u8], count: u64) {
        self.long.add(hash, pre_token, count);
    }
}

/// Every distinct pre-token with its count, in 64 bits: a corpus of terabytes does not overflow them.
pub struct PreTokenCounts(Vec<Mutex<Shard>>);

impl Default for PreTokenCounts {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

/// Totals of the pre-tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of distinct pre-tokens.
    pub pre_tokens: u64,
    /// The sum of their bytes.
    pub text_bytes: u64,
    /// The memory of the tables.
    pub memory_bytes: u64,
}

impl PreTokenCounts {
    /// One shard, locked.
    pub fn shard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `count` occurrences of one pre-token.
    pub fn add(&self, pre_token: &[u8], count: u64) {
        if pre_token.len() <= ShortKey::MAX_BYTES {
            let key = ShortKey::of(pre_token, 0, pre_token.len());
            self.shard(shard_of(key.hash()))
                .add_short(&[Counted { key, count }]);
        } else {
            let hash = hash_long(pre_token);
            self.shard(shard_of(hash)).add_long(hash, pre_token, count);
        }
    }

    /// The totals of all shards.
    pub fn size(&self) -> Size {
        (0..SHARDS).fold(Size::default(), |size, shard| {
            let shard = self.shard(shard);
            let Shard { short, long } = &*shard;
            Size {
                pre_tokens: size.pre_tokens + (short.len() + long.len()) as u64,
                text_bytes: size.text_bytes + short.text_bytes() + long.text_bytes(),
                memory_bytes: size.memory_bytes + short.memory_bytes() + long.memory_bytes(),
            }
        })
    }
}
