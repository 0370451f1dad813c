//! Counts pre-tokens: each thread has a small table for frequent pre-tokens; those evicted from it, and long pre-tokens, go to
//! the shared tables in batches. So memory does not grow with the number of threads.

use super::shards::{PreTokenCounts, SHARDS, shard_of};
use super::split::line_chunks;
use super::table::{Counted, hash_long};
use super::target::Documents;
use crate::cancel::CancelFlag;
use crate::error::Result;
use crate::pre_tokenizer::PreTokenizer;
use crate::reading::lines;
use crate::scan::{self, ENDS, Ends};
use crate::short_key::ShortKey;

/// Slots of a thread's table: 768 KiB, which stay in its core's own cache.
const LOCAL_SLOTS: usize = 1 << 15;
/// Short pre-tokens collected for a shard before its lock is taken.
const SHORT_BATCH: usize = 512;
/// Long pre-tokens collected.
const LONG_BATCH: usize = 128;

/// Counts of one thread, kept from one batch of documents to the next.
pub struct LocalCounts {
    /// Direct-mapped: a pre-token evicts another one from its slot.
    slots: Vec<Counted>,
    /// Evicted counts, by shard.
    spilled: Vec<Vec<Counted>>,
}

impl Default for LocalCounts {
    fn default() -> Self {
        Self {
            slots: vec![Counted::FREE; LOCAL_SLOTS],
            spilled: vec![Vec::new(); SHARDS],
        }
    }
}

/// The slot of a hash.
#[inline]
fn slot_of(hash: u64) -> u16 {
    (hash >> 40) as u16 % LOCAL_SLOTS as u16
}

impl LocalCounts {
    /// Counts a pre-token if it is in its slot.
    #[inline]
    fn add(&mut self, slot: u16, key: ShortKey) -> bool {
        let slot = &mut self.slots[usize::from(slot)];
        let has = slot.key == key;
        slot.count += u64::from(has);
        has
    }

    /// Puts a pre-token that occurred once into a slot.
    fn replace(&mut self, slot: u16, key: ShortKey, pre_tokens: &PreTokenCounts) {
        let slot = &mut self.slots[usize::from(slot)];
        let out = std::mem::replace(slot, Counted { key, count: 1 });
        if out.count > 0 {
            self.spill(out, pre_tokens);
        }
    }

    #[inline]
    fn spill(&mut self, out: Counted, pre_tokens: &PreTokenCounts) {
        let shard = shard_of(out.key.hash());
        let waiting = &mut self.spilled[shard];
        waiting.push(out);
        if waiting.len() >= SHORT_BATCH {
            pre_tokens.shard(shard).add_short(waiting);
            waiting.clear();
        }
    }

    /// Adds all counts to the shared tables.
    pub fn finish(mut self, pre_tokens: &PreTokenCounts) {
        for out in std::mem::take(&mut self.slots) {
            if out.count > 0 {
                self.spill(out, pre_tokens);
            }
        }
        for (shard, waiting) in self.spilled.iter().enumerate() {
            pre_tokens.shard(shard).add_short(waiting);
        }
    }
}

/// Counts chunks of text in one thread.
pub struct Counter<'t, 'p> {
    local: &'p mut LocalCounts,
    pre_tokens: &'p PreTokenCounts,
    batch: Batch,
    /// Long pre-tokens collected by shard, with their hashes.
    long: Vec<Vec<(u64, &'t [u8])>>,
}

/// A batch of pre-tokens: all keys are made before any is looked up, so that no lookup waits for another.
struct Batch {
    ends: Ends,
    keys: [ShortKey; ENDS],
    slots: [u16; ENDS],
}

impl<'t, 'p> Counter<'t, 'p> {
    /// A counter that counts into `local` and `pre_tokens`.
    pub fn new(local: &'p mut LocalCounts, pre_tokens: &'p PreTokenCounts) -> Self {
        Self {
            local,
            pre_tokens,
            batch: Batch {
                ends: [0; ENDS],
                keys: [ShortKey::NONE; ENDS],
                slots: [0; ENDS],
            },
            long: vec![Vec::new(); SHARDS],
        }
    }

    /// Counts a document.
    ///
    /// # Errors
    /// As [`PreTokenizer::for_each_pre_token`].
    pub fn count(
        &mut self,
        pre_tokenizer: &PreTokenizer,
        rule: Documents,
        document: &'t [u8],
    ) -> Result<()> {
        match rule {
            Documents::Whole => self.count_text(pre_tokenizer, document),
            // Named patterns scan short lines together where their pre-tokens are the same.
            Documents::Lines if matches!(pre_tokenizer, PreTokenizer::Named(_)) => {
                line_chunks(document).try_for_each(|lines| self.count_text(pre_tokenizer, lines))
            }
            Documents::Lines => {
                lines(document).try_for_each(|line| self.count_text(pre_tokenizer, line))
            }
        }
    }

    fn count_text(&mut self, pre_tokenizer: &PreTokenizer, text: &'t [u8]) -> Result<()> {
        let mut start = 0;
        if let PreTokenizer::Named(pattern) = pre_tokenizer {
            let mut found = scan::PreTokens::of(*pattern, text);
            while let Some(count) = found.fill(&mut self.batch.ends) {
                start = self.count_batch(text, start, count);
            }
            return Ok(());
        }
        let mut found = 0;
        pre_tokenizer.for_each_pre_token(text, &CancelFlag::default(), |_, end| {
            self.batch.ends[found] = end as u32;
            found += 1;
            if found == ENDS {
                start = self.count_batch(text, start, found);
                found = 0;
            }
        })?;
        self.count_batch(text, start, found);
        Ok(())
    }

    /// Counts the `count` pre-tokens of the batch, the first of which begins at `start`, and says where the last one ends.
    fn count_batch(&mut self, text: &'t [u8], first: usize, count: usize) -> usize {
        let Batch { ends, keys, slots } = &mut self.batch;
        let mut start = first;
        for ((&end, key), slot) in ends[..count].iter().zip(&mut *keys).zip(&mut *slots) {
            let end = end as usize;
            *key = if end - start <= ShortKey::MAX_BYTES {
                ShortKey::of(text, start, end)
            } else {
                ShortKey::NONE
            };
            *slot = slot_of(key.hash());
            start = end;
        }
        for number in 0..count {
            let (key, slot) = (self.batch.keys[number], self.batch.slots[number]);
            if !self.local.add(slot, key) {
                self.add_other(text, first, number);
            }
        }
        start
    }

    // Out of line: nearly all pre-tokens are in their slots.
    #[inline(never)]
    fn add_other(&mut self, text: &'t [u8], first: usize, number: usize) {
        let Batch { ends, keys, slots } = &self.batch;
        if keys[number] != ShortKey::NONE {
            self.local
                .replace(slots[number], keys[number], self.pre_tokens);
            return;
        }
        let start = number
            .checked_sub(1)
            .map_or(first, |before| ends[before] as usize);
        self.add_long(&text[start..ends[number] as usize]);
    }

    fn add_long(&mut self, pre_token: &'t [u8]) {
        let hash = hash_long(pre_token);
        let waiting = &mut self.long[shard_of(hash)];
        waiting.push((hash, pre_token));
        if waiting.len() >= LONG_BATCH {
            Self::hand_over(self.pre_tokens, shard_of(hash), waiting);
        }
    }

    fn hand_over(pre_tokens: &PreTokenCounts, shard: usize, waiting: &mut Vec<(u64, &'t [u8])>) {
        let mut shard = pre_tokens.shard(shard);
        for (hash, pre_token) in waiting.drain(..) {
            shard.add_long(hash, pre_token, 1);
        }
    }

    /// Adds the long pre-tokens to the shared tables; the short ones stay with the thread.
    pub fn finish(mut self) {
        for (shard, waiting) in self.long.iter_mut().enumerate() {
            Self::hand_over(self.pre_tokens, shard, waiting);
        }
    }
}
