//! Buffers and caches of one thread.

use crate::cancel::CancelFlag;
use crate::encode::bounds::Bounds;
use crate::encode::cache::PreTokenCache;
use crate::encode::front::Front;
use crate::merge::{CacheKey, MergeBuffers};
use crate::scan::ENDS;
use crate::short_key::ShortKey;

/// Buffers and caches of one encoding thread.
#[derive(Default)]
pub struct Scratch {
    /// The current batch of pre-tokens.
    pub batch: Box<Batch>,
    /// The cache and buffers in use.
    pub known: Known,
    /// Those of the other mode of [`Scratch::merges_added`].
    other: Option<Box<Known>>,
    /// Whether merges into added tokens are made.
    merges_added: bool,
    /// Ids that the caller copies or counts.
    pub ids: Vec<u32>,
    /// How much of the text this call encodes.
    pub bounds: Bounds,
}

impl Scratch {
    /// Selects whether merges into added tokens are made.
    #[inline]
    pub fn set_merges_added(&mut self, merges_added: bool) {
        if self.merges_added != merges_added {
            std::mem::swap(&mut self.known, self.other.get_or_insert_default());
            self.merges_added = merges_added;
        }
    }

    /// Whether merges into added tokens are made.
    pub fn merges_added(&self) -> bool {
        self.merges_added
    }

    /// The cancellation flag of this call.
    pub fn cancel_flag(&self) -> CancelFlag {
        self.bounds.cancel_flag()
    }

    /// Buffers for merging.
    pub fn buffers(&mut self) -> &mut MergeBuffers {
        &mut self.known.buffers
    }

    /// Takes the buffer of ids back, unless a long text has made it large.
    pub fn keep(&mut self, ids: Vec<u32>) {
        if ids.capacity() <= 1 << 16 {
            self.ids = ids;
        }
    }
}

/// The cache of pre-tokens, and the buffers to encode others.
#[derive(Default)]
pub struct Known {
    /// Ids of short pre-tokens.
    pub cache: PreTokenCache,
    /// Buffers for merging.
    pub buffers: MergeBuffers,
}

/// A batch of some hundred pre-tokens. It is part of the scratch so that a short text does not pay for clearing it.
pub struct Batch {
    pub ends: [u32; ENDS],
    pub keys: [ShortKey; ENDS],
    /// Their places in the front table.
    pub places: [u32; ENDS],
    /// The cache keys of long pre-tokens.
    pub long: [CacheKey; ENDS],
    /// The ids of the frequent pre-tokens. Each lookup writes four, which is one wide store; there is space for them.
    pub ids: [u32; ENDS * 4],
    /// The other pre-tokens, in order.
    pub rare: [Rare; ENDS],
}

/// A pre-token that is not among the most frequent ones.
#[derive(Clone, Copy)]
pub struct Rare {
    pub key: ShortKey,
    /// Its line in the cache, if it is short.
    pub line: u32,
    /// Its key in the cache of long pre-tokens, if it is long.
    pub place: CacheKey,
    pub start: u32,
    pub end: u32,
    /// The number of ids of frequent pre-tokens before it.
    pub ids_before: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            ends: [0; ENDS],
            keys: [ShortKey::NONE; ENDS],
            places: [0; ENDS],
            long: [CacheKey::NONE; ENDS],
            ids: [0; ENDS * 4],
            rare: [Rare {
                key: ShortKey::NONE,
                line: 0,
                place: CacheKey::NONE,
                start: 0,
                end: 0,
                ids_before: 0,
            }; ENDS],
        }
    }
}

impl Batch {
    /// Makes the keys of the first `count` pre-tokens and prefetches their places in the front table; `place` gives the cache
    /// keys of long ones.
    #[inline]
    pub fn make_keys(
        &mut self,
        text: &[u8],
        mut start: usize,
        count: usize,
        front: Front<'_>,
        place: impl Fn(&[u8]) -> CacheKey,
    ) {
        let pre_tokens = self.ends[..count].iter().zip(&mut self.keys);
        let places = self.places.iter_mut().zip(&mut self.long);
        for ((&end, key), (at, long)) in pre_tokens.zip(places) {
            let end = end as usize;
            let len = end - start;
            if len <= ShortKey::MAX_BYTES {
                *key = ShortKey::of_beginning(&text[start..], len);
                *at = front.place(*key);
            } else {
                (*key, *at) = (ShortKey::NONE, 0);
                *long = place(&text[start..end]);
            }
            start = end;
        }
    }

    /// Writes the ids of the frequent ones among the first `count` pre-tokens to `ids` and the others to `rare`, and prefetches
    /// their cache lines. Returns the number of ids and the number of others.
    #[inline]
    pub fn look_up(
        &mut self,
        mut start: usize,
        count: usize,
        cache: &PreTokenCache,
    ) -> (usize, usize) {
        let Self {
            ends,
            keys,
            places,
            long,
            ids,
            rare,
        } = self;
        let front = cache.front();
        let (mut found, mut others) = (0, 0);
        let pre_tokens = keys[..count].iter().zip(&places[..count]).enumerate();
        for (at, (&key, &place)) in pre_tokens {
            let Some(room) = ids[found..].first_chunk_mut() else {
                break;
            };
            let known = front.get(place, key, room);
            if known > 0 {
                found += known;
                continue;
            }
            let is_short = key != ShortKey::NONE;
            if let Some(before) = at.checked_sub(1) {
                start = ends[before] as usize;
            }
            rare[others] = Rare {
                key,
                line: if is_short {
                    cache.lines().place(key)
                } else {
                    u32::MAX
                },
                place: if is_short { CacheKey::NONE } else { long[at] },
                start: start as u32,
                end: ends[at],
                ids_before: found as u32,
            };
            others += 1;
        }
        (found, others)
    }
}
