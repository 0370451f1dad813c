//! Cache of long pre-tokens: a table of fixed size that stores whole keys and is shared by all threads.
//!
//! Text in languages without spaces has few short pre-tokens and many of some tens of bytes, which recur often. A table per
//! thread would have to be small, and each thread would have to fill its own.
//!
//! A set has eight entries of three sizes. Their heads are one cache line, which tells which entry can hold the pre-token, so
//! that no other one is read.
//!
//! Each entry is a sequence lock (H.-J. Boehm, *Can Seqlocks Get Along with Programming Language Memory Models?*, 2012): its head
//! counts the writes, and marks a write in progress. A reader that finds another head after reading than before discards what it
//! read; a writer that finds a write in progress does nothing. Nobody ever waits, not even after a `fork` during a write, which
//! leaves one entry unusable.

use crate::lazy::TryLazy;
use crate::memory::SharedWords;
use crate::scan::prefetch;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a cache line.
const LINE: usize = 8;
/// Entries of a set, whose heads are its first cache line.
const WAYS: usize = LINE;
/// The words of each entry: more than half of the pre-tokens need one cache line, most others two, some three or four.
const WORDS: [Range<usize>; WAYS] = [
    LINE..2 * LINE,
    2 * LINE..3 * LINE,
    3 * LINE..4 * LINE,
    4 * LINE..5 * LINE,
    5 * LINE..7 * LINE,
    7 * LINE..9 * LINE,
    9 * LINE..12 * LINE,
    12 * LINE..SET_WORDS,
];
const SET_WORDS: usize = 16 * LINE;
/// The entries of one, two, three and four cache lines.
const SIZES: [Range<usize>; 4] = [0..4, 4..6, 6..7, 7..8];
/// The number of sets: 14 MiB.
const SETS: usize = 7 << 11;

/// The maximum number of bytes of a pre-token in the cache.
const MAX_BYTES: usize = 160;
/// Bits of a stored token: three in a word.
const TOKEN_BITS: u32 = 21;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;

/// One in `INSERTIONS_PER_EVICTION` insertions replaces any entry; the others replace the last one of their size, so that the
/// rest stays for a while (see `PreTokenCache`).
const INSERTIONS_PER_EVICTION: u64 = 16;

/// The cache, built when the first pre-token is inserted; `None` if there is no memory for it.
#[derive(Default)]
pub struct LongCache(TryLazy<Option<SharedWords>>);

/// Eight heads, then keys and tokens.
#[derive(Clone, Copy)]
struct Set<'t>(&'t [AtomicU64; SET_WORDS]);

/// What the hash of a pre-token determines: its set, and sixteen more bits, by which heads of the set are distinguished.
#[derive(Clone, Copy)]
pub struct CacheKey(u32);

impl CacheKey {
    /// The key of pre-tokens that are not cached.
    pub const NONE: Self = Self(u32::MAX);

    /// The key of `pre_token`, if pre-tokens of its length are cached.
    #[inline]
    pub fn of(pre_token: &[u8]) -> Self {
        if !(1..=MAX_BYTES).contains(&pre_token.len()) {
            return Self::NONE;
        }
        let (whole, last) = words(pre_token);
        let mut hash = pre_token.len() as u64 ^ last.unwrap_or(0);
        for word in whole {
            hash = mixed(hash) ^ u64::from_le_bytes(*word);
        }
        Self((((mixed(hash) >> 32) * ((SETS as u64) << 16)) >> 32) as u32)
    }

    fn set(self) -> usize {
        (self.0 >> 16) as usize
    }
}

/// Mixes a number: all bits of the result depend on all bits of `hash`.
#[inline]
fn mixed(hash: u64) -> u64 {
    let product = u128::from(hash ^ 0xBF58_476D_1CE4_E5B9) * 0x9E37_79B9_7F4A_7C15;
    product as u64 ^ (product >> 64) as u64
}

/// From the high bits to the low ones: the number of writes, whether a write is in progress, sixteen bits of the pre-token's
/// hash, its number of bytes, its number of tokens. 0 if the entry is free.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head(u64);

impl Head {
    const WRITES_SHIFT: u32 = 33;
    /// The bits in which two heads of one pre-token are equal: all but the number of writes and of tokens.
    const PIECE: u64 = (1 << Self::WRITES_SHIFT) - (1 << 8);

    /// The head of a pre-token, without the number of tokens and of writes.
    #[inline]
    fn of(place: CacheKey, len: usize) -> Self {
        Self(u64::from(place.0 & 0xFFFF) << 16 | (len as u64) << 8)
    }

    #[inline]
    fn is_of_pre_token(self, pre_token: Self) -> bool {
        (self.0 ^ pre_token.0) & Self::PIECE == 0
    }

    #[inline]
    fn count(self) -> usize {
        (self.0 & 0xFF) as usize
    }

    fn writes(self) -> u64 {
        self.0 >> Self::WRITES_SHIFT
    }

    fn is_being_written(self) -> bool {
        self.0 >> (Self::WRITES_SHIFT - 1) & 1 == 1
    }

    /// The head during the next write.
    fn begun(self) -> Self {
        Self((self.0 >> (Self::WRITES_SHIFT - 1) | 1) << (Self::WRITES_SHIFT - 1))
    }

    /// The head after the next write, of this pre-token and its tokens.
    fn done(self, pre_token: Self, count: usize) -> Self {
        let writes = self.writes().wrapping_add(1) << Self::WRITES_SHIFT;
        Self(writes | pre_token.0 | count as u64)
    }
}

impl LongCache {
    /// Prefetches the heads of a pre-token's set.
    #[inline]
    pub fn prefetch(&self, place: CacheKey) {
        if let Some(set) = self.set(place) {
            prefetch(set.0, 0);
        }
    }

    /// Prefetches the cached tokens of a pre-token of `len` bytes.
    #[inline]
    pub fn prefetch_tokens(&self, place: CacheKey, len: usize) {
        if let Some(set) = self.set(place)
            && let Some((way, _)) = set.find(Head::of(place, len))
        {
            WORDS[way]
                .clone()
                .step_by(LINE)
                .for_each(|word| prefetch(set.0, word));
        }
    }

    /// Appends the tokens of `pre_token`, whose key is given, to `ids` if they are cached.
    #[inline]
    pub fn append(&self, place: CacheKey, pre_token: &[u8], ids: &mut Vec<u32>) -> bool {
        self.set(place).is_some_and(|set| {
            let found = set.find(Head::of(place, pre_token.len()));
            found.is_some_and(|(way, head)| set.read(way, head, pre_token, ids))
        })
    }

    /// Caches the tokens of `pre_token`, whose key is given, if they are few enough.
    pub fn insert(&self, place: CacheKey, pre_token: &[u8], ids: &[u32]) {
        let words = pre_token.len().div_ceil(8) + ids.len().div_ceil(3);
        let size = SIZES.iter().find(|ways| WORDS[ways.start].len() >= words);
        let (Some(size), Some(set)) = (size, self.made(place)) else {
            return;
        };
        if ids.iter().all(|id| u64::from(*id) <= TOKEN) {
            let (way, head) = set.room(size.clone());
            set.write(way, head, Head::of(place, pre_token.len()), pre_token, ids);
        }
    }

    /// The set of a key, if the table is built.
    #[inline]
    fn set(&self, place: CacheKey) -> Option<Set<'_>> {
        Set::of(self.0.get()?.as_ref()?, place)
    }

    fn made(&self, place: CacheKey) -> Option<Set<'_>> {
        let make = || SharedWords::of(SETS * SET_WORDS);
        Set::of(self.0.get_or_build(make)?.as_ref()?, place)
    }
}

impl<'t> Set<'t> {
    #[inline]
    fn of(words: &'t [AtomicU64], place: CacheKey) -> Option<Self> {
        words
            .get(place.set() * SET_WORDS..)?
            .first_chunk()
            .map(Self)
    }

    fn head(self, way: usize) -> Head {
        Head(self.0[way].load(Ordering::Acquire))
    }

    /// The entry with a head of this pre-token.
    #[inline]
    fn find(self, pre_token: Head) -> Option<(usize, Head)> {
        let mut heads = (0..WAYS).map(|way| (way, self.head(way)));
        heads.find(|(_, head)| head.is_of_pre_token(pre_token))
    }

    /// Appends the tokens of an entry, whose head was read before, if it belongs to `pre_token` and was not written meanwhile.
    #[inline]
    fn read(self, way: usize, head: Head, pre_token: &[u8], ids: &mut Vec<u32>) -> bool {
        let mut kept = self.0[WORDS[way].clone()].iter();
        let mut is_next = |word| {
            kept.next()
                .is_some_and(|kept| kept.load(Ordering::Relaxed) == word)
        };
        let (whole, last) = words(pre_token);
        let begins_so = whole.iter().all(|word| is_next(u64::from_le_bytes(*word)));
        if !begins_so || !last.is_none_or(is_next) {
            return false;
        }
        let before = ids.len();
        for word in kept.take(head.count().div_ceil(3)) {
            let word = word.load(Ordering::Relaxed);
            let token = |at: u32| (word >> (at * TOKEN_BITS) & TOKEN) as u32;
            ids.extend_from_slice(&[token(0), token(1), token(2)]);
        }
        fence(Ordering::Acquire);
        let is_whole = self.0[way].load(Ordering::Relaxed) == head.0;
        ids.truncate(before + if is_whole { head.count() } else { 0 });
        is_whole
    }

    /// The entry to insert a pre-token of this size into.
    fn room(self, size: Range<usize>) -> (usize, Head) {
        let free = (size.start..WAYS).find(|way| self.head(*way).0 == 0);
        let way = free.unwrap_or_else(|| {
            let writes: u64 = size.clone().map(|way| self.head(way).writes()).sum();
            if writes.is_multiple_of(INSERTIONS_PER_EVICTION) {
                size.start + (writes / INSERTIONS_PER_EVICTION) as usize % size.len()
            } else {
                size.end - 1
            }
        });
        (way, self.head(way))
    }

    /// Writes an entry, whose head was read before, unless another thread has written it meanwhile.
    fn write(self, way: usize, head: Head, pre_token: Head, bytes: &[u8], ids: &[u32]) {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let writing = head.begun().0;
        if head.is_being_written()
            || self.0[way]
                .compare_exchange(head.0, writing, success, failure)
                .is_err()
        {
            return;
        }
        fence(Ordering::Release);
        let (whole, last) = words(bytes);
        let whole = whole.iter().map(|word| u64::from_le_bytes(*word));
        let token = |word, id: &u32| word << TOKEN_BITS | u64::from(*id);
        let tokens = ids.chunks(3).map(|three| three.iter().rev().fold(0, token));
        let kept = &self.0[WORDS[way].clone()];
        for (word, value) in kept.iter().zip(whole.chain(last).chain(tokens)) {
            word.store(value, Ordering::Relaxed);
        }
        self.0[way].store(head.done(pre_token, ids.len()).0, Ordering::Release);
    }
}

/// The bytes of a pre-token as words: the whole ones, and the rest padded with zeros.
#[inline]
fn words(pre_token: &[u8]) -> (&[[u8; 8]], Option<u64>) {
    let (whole, rest) = pre_token.as_chunks();
    if rest.is_empty() {
        return (whole, None);
    }
    let last = match pre_token.last_chunk() {
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
        None => rest
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    (whole, Some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cache: &LongCache, pre_token: &[u8]) -> Option<Vec<u32>> {
        let mut ids = vec![7];
        let place = CacheKey::of(pre_token);
        cache.prefetch(place);
        cache.prefetch_tokens(place, pre_token.len());
        cache
            .append(place, pre_token, &mut ids)
            .then(|| ids.split_off(1))
    }

    fn insert(cache: &LongCache, pre_token: &[u8], ids: &[u32]) {
        cache.insert(CacheKey::of(pre_token), pre_token, ids);
    }

    #[test]
    fn pre_tokens_are_found_as_they_were_inserted() {
        for len in 1..=MAX_BYTES {
            let pre_token: Vec<u8> = (0..len as u8).collect();
            for count in [1, len.div_ceil(6), (32 - len.div_ceil(8)) * 3] {
                let cache = LongCache::default();
                let ids: Vec<u32> = (0..count as u32).map(|at| TOKEN as u32 - at).collect();
                assert_eq!(found(&cache, &pre_token), None);
                insert(&cache, &pre_token, &ids);
                assert_eq!(found(&cache, &pre_token).as_ref(), Some(&ids), "{len}");
            }
        }
        let cache = LongCache::default();
        let too_long = [0; MAX_BYTES + 1];
        insert(&cache, &too_long, &[1]);
        assert_eq!(found(&cache, &too_long), None);
    }

    #[test]
    fn pre_tokens_of_too_many_or_too_large_tokens_are_not_cached() {
        let cache = LongCache::default();
        let pre_token = [b'x'; 64];
        for ids in [&[1; 73][..], &[1 << TOKEN_BITS]] {
            insert(&cache, &pre_token, ids);
            assert_eq!(found(&cache, &pre_token), None);
        }
        insert(&cache, &pre_token, &[1; 72]);
        assert_eq!(found(&cache, &pre_token), Some(vec![1; 72]));
    }

    #[test]
    fn many_pre_tokens_of_all_sizes_are_never_found_wrong() {
        let cache = LongCache::default();
        let pre_token = |number: u32| number.to_le_bytes().repeat(4 + number as usize % 20);
        let ids = |number: u32| vec![number; 1 + number as usize % 30];
        let pre_tokens = 0..200_000;
        pre_tokens
            .clone()
            .for_each(|number| insert(&cache, &pre_token(number), &ids(number)));
        let known = pre_tokens.filter(|&number| {
            found(&cache, &pre_token(number)).is_some_and(|found| {
                assert_eq!(found, ids(number));
                true
            })
        });
        assert!(known.count() > 80_000);
    }

    #[test]
    fn an_entry_that_is_being_written_is_neither_read_nor_written() {
        let cache = LongCache::default();
        let pre_token = b"a piece that is kept";
        let place = CacheKey::of(pre_token);
        insert(&cache, pre_token, &[1, 2, 3]);
        let set = cache.set(place).unwrap();
        for way in &set.0[..WAYS] {
            let head = Head(way.load(Ordering::Relaxed));
            way.store(head.begun().0, Ordering::Relaxed);
        }
        assert_eq!(found(&cache, pre_token), None);
        insert(&cache, pre_token, &[4]);
        assert_eq!(found(&cache, pre_token), None);
    }

    #[test]
    fn concurrent_writers_never_cause_a_wrong_read() {
        let cache = LongCache::default();
        // All pre-tokens in one set and with one tag: every write conflicts with the reads of the others.
        let place = CacheKey(0);
        let pre_token = |number: u32| [number as u8; 40];
        let tokens = |number: u32| {
            (0..1 + number % 9)
                .map(|at| number * 1000 + at)
                .collect::<Vec<u32>>()
        };
        let hits: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u32)
                .map(|thread| {
                    let cache = &cache;
                    scope.spawn(move || {
                        let mut hits = 0;
                        for step in 0..60_000_u32 {
                            let number = (step * 7 + thread * 3) % 8;
                            let mut ids = Vec::new();
                            if cache.append(place, &pre_token(number), &mut ids) {
                                assert_eq!(ids, tokens(number));
                                hits += 1;
                            } else {
                                assert!(ids.is_empty());
                                cache.insert(place, &pre_token(number), &tokens(number));
                            }
                        }
                        hits
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(hits > 0);
    }
}
