//! Pieces met before that are long, or of many tokens: a table of fixed size with whole keys, which all threads share.
//!
//! Text in languages without spaces has few short pieces and many of some tens of bytes, which come back often. A table for
//! each thread would have to be small, and each thread would have to fill its own.
//!
//! Each slot is a sequence lock (H.-J. Boehm, *Can Seqlocks Get Along with Programming Language Memory Models?*, 2012): its
//! head counts how often it was written, odd while it is being written. A reader that finds another head after reading than
//! before has read nothing; a writer that finds somebody else writing lets it be. Nobody waits for anybody, also not after a
//! `fork` in the middle of it, which leaves a slot that is not used any more.

use crate::scan::prefetch;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, OnceLock};

/// Words of a slot: two cache lines.
const SLOT_WORDS: usize = 16;
/// Slots of a segment, which are made together when the first of them is needed: 64 KiB.
const SEGMENT_SLOTS: usize = 1 << 9;
/// Segments: 16 MiB in all.
const SEGMENTS: usize = 256;

type Segment = [AtomicU64; SEGMENT_SLOTS * SLOT_WORDS];
/// Bytes of the longest piece that is kept.
const MOST: usize = 64;
/// Bytes of the shortest one: shorter ones have no more tokens than the table of short pieces holds.
const LEAST: usize = 5;

/// The table.
pub struct LongCache {
    segments: [OnceLock<Box<Segment>>; SEGMENTS],
    /// Held by whoever makes a segment. Only ever taken by `try_lock`.
    making: Mutex<()>,
}

/// Where a piece is kept: in one of two neighbouring slots.
#[derive(Clone, Copy)]
pub struct Place(usize);

/// The first word of a slot: how often it was written (odd: it is being written), bytes of the piece, number of tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head(u64);

/// One newcomer of about so many takes a place's first slot.
const NEWCOMERS: u64 = 16;

impl Head {
    fn writes(self) -> u64 {
        self.0 >> 17
    }

    fn is_being_written(self) -> bool {
        self.0 >> 16 & 1 == 1
    }

    fn len(self) -> usize {
        (self.0 >> 8 & 0xFF) as usize
    }

    fn count(self) -> usize {
        (self.0 & 0xFF) as usize
    }

    /// As often written and once more, with this content.
    fn next(self, len: usize, count: usize) -> Self {
        Self((self.0 >> 16).wrapping_add(1) << 16 | (len as u64) << 8 | count as u64)
    }
}

impl Default for LongCache {
    /// An empty one, without memory for pieces yet.
    fn default() -> Self {
        Self {
            segments: [const { OnceLock::new() }; SEGMENTS],
            making: Mutex::new(()),
        }
    }
}

impl LongCache {
    /// Where `piece` is kept, if pieces of its length are.
    #[inline]
    pub fn place(piece: &[u8]) -> Option<Place> {
        if !(LEAST..=MOST).contains(&piece.len()) {
            return None;
        }
        let hash = words(piece).fold(piece.len() as u64, |hash, word| {
            let mixed = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^ mixed >> 32
        });
        let hash = hash.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let slots = (SEGMENTS * SEGMENT_SLOTS) as u64;
        Some(Place((((hash >> 32) * slots) >> 32) as usize))
    }

    /// Asks for the memory in which `piece` is, if it is kept.
    #[inline]
    pub fn prefetch(&self, piece: &[u8]) {
        if let Some(slots) = Self::place(piece).and_then(|place| self.slots(place)) {
            for slot in slots {
                prefetch(slot, 0);
                prefetch(slot, SLOT_WORDS / 2);
            }
        }
    }

    /// Appends the tokens of `piece`, whose place this is, to `ids` if they are known.
    #[inline]
    pub fn append(&self, place: Place, piece: &[u8], ids: &mut Vec<u32>) -> bool {
        self.slots(place)
            .is_some_and(|slots| slots.into_iter().any(|slot| append_from(slot, piece, ids)))
    }

    /// Remembers the tokens of `piece`, whose place this is, if they are few enough.
    pub fn insert(&self, place: Place, piece: &[u8], ids: &[u32]) {
        if 1 + piece.len().div_ceil(8) + ids.len().div_ceil(2) > SLOT_WORDS {
            return;
        }
        let Some(slots) = self.slots(place).or_else(|| self.make(place)) else {
            return;
        };
        // Most newcomers have the second slot in turn, so that what is in the first one stays for a while (see `PieceCache`).
        let [first, second] = slots.map(|slot| Head(slot[0].load(Ordering::Relaxed)));
        let (slot, head) =
            if first.0 == 0 || (first.writes() + second.writes()).is_multiple_of(NEWCOMERS) {
                (slots[0], first)
            } else {
                (slots[1], second)
            };
        write(slot, head, piece, ids);
    }

    /// The slots of a place, if they have been made.
    #[inline]
    fn slots(&self, place: Place) -> Option<[&[AtomicU64]; 2]> {
        let segment = self.segments[place.0 / SEGMENT_SLOTS].get()?;
        let slot = |number: usize| {
            let start = number % SEGMENT_SLOTS * SLOT_WORDS;
            segment.get(start..start + SLOT_WORDS)
        };
        Some([slot(place.0)?, slot(place.0 ^ 1)?])
    }

    #[cold]
    fn make(&self, place: Place) -> Option<[&[AtomicU64]; 2]> {
        let making = self.making.try_lock().ok()?;
        let segment = Box::new([const { AtomicU64::new(0) }; SEGMENT_SLOTS * SLOT_WORDS]);
        // Whoever holds the lock is the only one here, so this never waits.
        let _ = self.segments[place.0 / SEGMENT_SLOTS].set(segment);
        drop(making);
        self.slots(place)
    }
}

#[inline]
fn append_from(slot: &[AtomicU64], piece: &[u8], ids: &mut Vec<u32>) -> bool {
    let head = Head(slot[0].load(Ordering::Acquire));
    if head.len() != piece.len() || head.is_being_written() {
        return false;
    }
    let key_words = piece.len().div_ceil(8);
    let mut key = slot[1..].iter().map(|word| word.load(Ordering::Relaxed));
    if !words(piece).all(|word| key.next() == Some(word)) {
        return false;
    }
    let before = ids.len();
    let tokens = slot
        .iter()
        .skip(1 + key_words)
        .take(head.count().div_ceil(2));
    for pair in tokens {
        let pair = pair.load(Ordering::Relaxed);
        ids.extend_from_slice(&[pair as u32, (pair >> 32) as u32]);
    }
    fence(Ordering::Acquire);
    let is_whole = slot[0].load(Ordering::Relaxed) == head.0;
    ids.truncate(before + if is_whole { head.count() } else { 0 });
    is_whole
}

/// Writes a slot whose head was `head`, unless somebody else has come first.
fn write(slot: &[AtomicU64], head: Head, piece: &[u8], ids: &[u32]) {
    let writing = head.next(0, 0);
    let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
    if head.is_being_written()
        || slot[0]
            .compare_exchange(head.0, writing.0, success, failure)
            .is_err()
    {
        return;
    }
    fence(Ordering::Release);
    let tokens = ids
        .chunks(2)
        .map(|pair| u64::from(pair[0]) | u64::from(*pair.last().unwrap_or(&0)) << 32);
    for (word, value) in slot[1..].iter().zip(words(piece).chain(tokens)) {
        word.store(value, Ordering::Relaxed);
    }
    let written = writing.next(piece.len(), ids.len());
    slot[0].store(written.0, Ordering::Release);
}

/// The bytes of a piece as words, zeros behind the last.
#[inline]
fn words(piece: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = piece.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(u64::from_le_bytes(last));
    whole
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cache: &LongCache, piece: &[u8]) -> Option<Vec<u32>> {
        let mut ids = vec![7];
        let place = LongCache::place(piece)?;
        cache
            .append(place, piece, &mut ids)
            .then(|| ids.split_off(1))
    }

    #[test]
    fn pieces_are_found_as_they_were_kept() {
        let cache = LongCache::default();
        for len in LEAST..=MOST {
            let piece: Vec<u8> = (0..len as u8).collect();
            let ids: Vec<u32> = (0..len as u32 / 5).collect();
            assert_eq!(found(&cache, &piece), None);
            cache.insert(LongCache::place(&piece).unwrap(), &piece, &ids);
            assert_eq!(found(&cache, &piece).as_ref(), Some(&ids), "{len}");
        }
        assert!(LongCache::place(&[0; MOST + 1]).is_none());
        assert!(LongCache::place(&[0; LEAST - 1]).is_none());
    }

    #[test]
    fn pieces_of_too_many_tokens_are_not_kept() {
        let cache = LongCache::default();
        let (piece, ids) = ([b'x'; MOST], [1; 15]);
        cache.insert(LongCache::place(&piece).unwrap(), &piece, &ids);
        assert_eq!(found(&cache, &piece), None);
    }

    #[test]
    fn a_slot_that_is_being_written_is_neither_read_nor_written() {
        let cache = LongCache::default();
        let piece = b"a piece that is kept";
        let place = LongCache::place(piece).unwrap();
        cache.insert(place, piece, &[1, 2, 3]);
        for slot in cache.slots(place).unwrap() {
            let head = Head(slot[0].load(Ordering::Relaxed));
            slot[0].store(head.next(head.len(), head.count()).0, Ordering::Relaxed);
        }
        assert_eq!(found(&cache, piece), None);
        cache.insert(place, piece, &[4]);
        assert_eq!(found(&cache, piece), None);
    }

    #[test]
    fn threads_that_write_the_same_slots_never_read_what_nobody_wrote() {
        let cache = LongCache::default();
        // All pieces in one place: every write meets the others' reads.
        let place = Place(0);
        let piece = |number: u32| [number as u8; 40];
        let tokens = |number: u32| {
            (0..1 + number % 18)
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
                            if cache.append(place, &piece(number), &mut ids) {
                                assert_eq!(ids, tokens(number));
                                hits += 1;
                            } else {
                                assert!(ids.is_empty());
                                cache.insert(place, &piece(number), &tokens(number));
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
