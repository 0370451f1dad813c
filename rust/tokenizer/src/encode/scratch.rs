//! What one thread keeps while it encodes, and between calls.

use crate::cancel::CancelFlag;
use crate::encode::bounds::Bounds;
use crate::encode::cache::PreTokenCache;
use crate::encode::front::Front;
use crate::merge::{CacheKey, MergeBuffers};
use crate::scan::ENDS;
use crate::short_key::ShortKey;

/// What one thread needs to encode.
#[derive(Default)]
pub struct Scratch {
    /// The pre-tokens in hand.
    pub batch: Box<Batch>,
    /// What is known of pre-tokens.
    pub known: Known,
    /// What is known where merges into added tokens happen, or where they do not: of which of the two `known` is not.
    other: Option<Box<Known>>,
    /// Whether they happen.
    merges_added: bool,
    /// Ids that the caller copies or counts.
    pub ids: Vec<u32>,
    /// How far this call goes.
    pub bounds: Bounds,
}

impl Scratch {
    /// Whether merges into added tokens happen from now on.
    #[inline]
    pub fn set_merges_added(&mut self, merges_added: bool) {
        if self.merges_added != merges_added {
            std::mem::swap(&mut self.known, self.other.get_or_insert_default());
            self.merges_added = merges_added;
        }
    }

    /// Whether they do.
    pub fn merges_added(&self) -> bool {
        self.merges_added
    }

    /// The cancellation flag of this call.
    pub fn cancel_flag(&self) -> CancelFlag {
        self.bounds.cancel_flag()
    }

    /// What merging takes.
    pub fn buffers(&mut self) -> &mut MergeBuffers {
        &mut self.known.buffers
    }

    /// Takes back the buffer of ids, unless a long text has made it large.
    pub fn keep(&mut self, ids: Vec<u32>) {
        if ids.capacity() <= 1 << 16 {
            self.ids = ids;
        }
    }
}

/// What is known of pre-tokens met before, and what it takes to find out about others.
#[derive(Default)]
pub struct Known {
    /// Ids of pre-tokens.
    pub cache: PreTokenCache,
    /// What merging takes.
    pub buffers: MergeBuffers,
}

/// Some hundred pre-tokens on their way. It lies in the scratch because a short text should not pay for clearing it.
pub struct Batch {
    pub ends: [u32; ENDS],
    pub keys: [ShortKey; ENDS],
    /// Where the front has the pre-tokens, if it has them.
    pub places: [u32; ENDS],
    /// Where those without a key are remembered.
    pub long: [CacheKey; ENDS],
    /// The ids of the frequent pre-tokens. Each writes four whether it has as many or not, which is one wide store; there is room for them.
    pub ids: [u32; ENDS * 4],
    /// The other pre-tokens, in order.
    pub rare: [Rare; ENDS],
}

/// A pre-token that is not among the most frequent ones.
#[derive(Clone, Copy)]
pub struct Rare {
    pub key: ShortKey,
    /// Where the lines have it, if it has a key.
    pub line: u32,
    /// Where it is remembered, if it is too long for a key.
    pub place: CacheKey,
    pub start: u32,
    pub end: u32,
    /// How many ids of frequent pre-tokens stand before it.
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
    /// Makes keys of the first `count` pre-tokens and asks for the memory in which the front has them; `place` says where those that have
    /// no key are remembered.
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

    /// Writes the ids of the frequent ones of the first `count` pre-tokens to `ids` and the others to `rare`, and asks for the memory in
    /// which these are. Returns how many ids and how many others there are.
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
