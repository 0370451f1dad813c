//! Counts of pre-tokens in open-addressed tables: no allocation per pre-token, growth by half, linear probing.

use crate::keyed::Keys;
use crate::scan::prefetch;
use crate::short_key::ShortKey;

/// A short pre-token and its count; a count of 0 marks a free slot.
#[derive(Clone, Copy)]
pub struct Counted {
    /// The pre-token.
    pub key: ShortKey,
    /// Its number of occurrences.
    pub count: u64,
}

impl Counted {
    /// A slot without a pre-token.
    pub const FREE: Self = Self {
        key: ShortKey { low: 0, high: 0 },
        count: 0,
    };
}

/// The initial number of slots.
const MIN_SLOTS: usize = 64;

/// The first slot to probe for a hash of 32 bits among `slots`.
#[inline]
fn home(hash: u32, slots: usize) -> usize {
    ((u64::from(hash) * slots as u64) >> 32) as usize
}

/// Whether one more entry would fill more than four fifths of the slots.
#[inline]
fn merges_added(used: usize, slots: usize) -> bool {
    (used + 1) * 5 > slots * 4
}

/// Pre-tokens of at most [`ShortKey::MAX_BYTES`] bytes.
#[derive(Default)]
pub struct ShortTable {
    slots: Vec<Counted>,
    used: usize,
    /// The sum of the pre-tokens' bytes.
    text: u64,
    keys: Keys,
}

impl ShortTable {
    /// Adds `count` occurrences of a pre-token.
    #[inline]
    pub fn add(&mut self, key: ShortKey, count: u64) {
        if merges_added(self.used, self.slots.len()) {
            self.grow();
        }
        let slot = Self::find(&mut self.slots, self.keys, key);
        if slot.count == 0 {
            slot.key = key;
            self.used += 1;
            self.text += key.len() as u64;
        }
        slot.count = slot.count.saturating_add(count);
    }

    /// Prefetches the slot for [`ShortTable::add`].
    #[inline]
    pub fn ask_for(&self, key: ShortKey) {
        prefetch(&self.slots, Self::home(&self.slots, self.keys, key));
    }

    #[inline]
    fn home(slots: &[Counted], keys: Keys, key: ShortKey) -> usize {
        home(
            (keys.hash_words(key.low, key.high) >> 16) as u32,
            slots.len(),
        )
    }

    #[inline]
    fn find(slots: &mut [Counted], keys: Keys, key: ShortKey) -> &mut Counted {
        let mut at = Self::home(slots, keys, key);
        while slots[at].count != 0 && slots[at].key != key {
            at += 1;
            if at == slots.len() {
                at = 0;
            }
        }
        &mut slots[at]
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() / 2 * 3).max(MIN_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![Counted::FREE; larger]);
        for counted in old.into_iter().filter(|counted| counted.count > 0) {
            *Self::find(&mut self.slots, self.keys, counted.key) = counted;
        }
    }

    /// Every pre-token with its count.
    pub fn iter(&self) -> impl Iterator<Item = &Counted> {
        self.slots.iter().filter(|counted| counted.count > 0)
    }

    /// The number of pre-tokens.
    pub fn len(&self) -> usize {
        self.used
    }

    /// The sum of their bytes.
    pub fn text_bytes(&self) -> u64 {
        self.text
    }

    /// The memory of the table.
    pub fn memory_bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Counted>()) as u64
    }
}

/// Where a long pre-token begins in the text of its table (it ends where the next one begins), and its count.
struct Long {
    start: u64,
    count: u64,
}

/// Pre-tokens of any length, their bytes concatenated in one buffer.
#[derive(Default)]
pub struct LongTable {
    /// High half: 32 bits of the hash; low half: number of the pre-token, from 1. 0 is a free slot.
    slots: Vec<u64>,
    pre_tokens: Vec<Long>,
    text: Vec<u8>,
}

/// A well-mixed number for a long pre-token, which cannot be predicted outside of this process.
#[inline]
pub fn hash_long(pre_token: &[u8]) -> u64 {
    Keys::default().hash(pre_token)
}

impl LongTable {
    /// Adds `count` occurrences of a pre-token whose [`hash_long`] is `hash`.
    pub fn add(&mut self, hash: u64, pre_token: &[u8], count: u64) {
        if merges_added(self.pre_tokens.len(), self.slots.len()) {
            self.grow();
        }
        let tag = (hash >> 16) as u32;
        let mut at = home(tag, self.slots.len());
        while self.slots[at] != 0 {
            let number = (self.slots[at] as u32 - 1) as usize;
            if (self.slots[at] >> 32) as u32 == tag && self.pre_token(number) == pre_token {
                let held = &mut self.pre_tokens[number].count;
                *held = held.saturating_add(count);
                return;
            }
            at = if at + 1 == self.slots.len() {
                0
            } else {
                at + 1
            };
        }
        let start = self.text.len() as u64;
        self.text.extend_from_slice(pre_token);
        self.pre_tokens.push(Long { start, count });
        self.slots[at] = u64::from(tag) << 32 | self.pre_tokens.len() as u64;
    }

    fn pre_token(&self, number: usize) -> &[u8] {
        let end = self
            .pre_tokens
            .get(number + 1)
            .map_or(self.text.len(), |next| next.start as usize);
        &self.text[self.pre_tokens[number].start as usize..end]
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() / 2 * 3).max(MIN_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; larger]);
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            let mut at = home((slot >> 32) as u32, larger);
            while self.slots[at] != 0 {
                at = if at + 1 == larger { 0 } else { at + 1 };
            }
            self.slots[at] = slot;
        }
    }

    /// Every pre-token with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.pre_tokens.len())
            .map(|number| (self.pre_token(number), self.pre_tokens[number].count))
    }

    /// The number of pre-tokens.
    pub fn len(&self) -> usize {
        self.pre_tokens.len()
    }

    /// The sum of their bytes.
    pub fn text_bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The memory of the table.
    pub fn memory_bytes(&self) -> u64 {
        let pre_tokens = self.pre_tokens.capacity() * size_of::<Long>();
        (self.slots.len() * size_of::<u64>() + pre_tokens + self.text.capacity()) as u64
    }
}
