//! The pairs that may be merged next: their counts, where they occur, and which of them comes first.
//!
//! Only pairs whose count reaches the *bar* are held. A pair gains occurrences in one merge only, the one that makes the later
//! of its two tokens; from then on its count falls. So one that is below the bar stays below, and may be forgotten until no
//! pair at the bar is left; then the words are gone through again for a lower bar (`census`).

use super::gains::Gains;
use crate::keyed::Keys;
use crate::scan::prefetch;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A pair of ids, left in the high half: numeric order is that of (left, right).
pub type Pair = u64;

/// The pair of two ids.
#[inline]
pub fn pair(left: u32, right: u32) -> Pair {
    u64::from(left) << 32 | u64::from(right)
}

/// The two ids of a pair.
#[inline]
pub fn ids(pair: Pair) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// No pair: it would join the id [`u32::MAX`] to itself.
const FREE: Pair = u64::MAX;
/// No postings are kept.
const NOWHERE: u32 = u32::MAX;
/// How many look-ups ahead a slot is asked for.
const AHEAD: usize = 8;
/// Dead postings that are not worth moving the others together.
const WORTH_CLOSING: usize = 1 << 18;

/// What is known of one pair.
#[derive(Clone, Copy)]
struct Known {
    pair: Pair,
    /// How often it occurs now; 0 once it is merged or below the bar.
    count: u64,
    /// Its postings: `places[start..][..postings]`.
    start: u32,
    postings: u32,
}

impl Known {
    const NONE: Self = Self {
        pair: FREE,
        count: 0,
        start: 0,
        postings: 0,
    };
}

/// The pairs at or above the bar.
pub struct Candidates {
    /// Open-addressed by pair; a power of two of slots.
    table: Vec<Known>,
    /// Slots taken, by dead pairs too.
    used: usize,
    live: usize,
    /// With the counts they had when they were put here: counts only fall while a pair waits.
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
    places: Vec<u32>,
    /// Places of dead pairs.
    dead: usize,
    threshold: u64,
    /// Secret: pairs come from a corpus.
    factor: u64,
}

impl Candidates {
    /// None yet; pairs that occur less than `threshold` times will not be held.
    pub fn new(threshold: u64) -> Self {
        Self {
            table: vec![Known::NONE; 1 << 10],
            used: 0,
            live: 0,
            heap: BinaryHeap::new(),
            places: Vec::new(),
            dead: 0,
            threshold,
            factor: Keys::default().factor(),
        }
    }

    /// The least count that is held.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Pairs held.
    pub fn live(&self) -> usize {
        self.live
    }

    #[inline]
    fn home(table: &[Known], factor: u64, pair: Pair) -> usize {
        let mixed = (pair ^ pair >> 29).wrapping_mul(factor);
        (mixed >> 32) as usize & (table.len() - 1)
    }

    #[inline]
    fn find(table: &[Known], factor: u64, pair: Pair) -> usize {
        let mut at = Self::home(table, factor, pair);
        while table[at].pair != pair && table[at].pair != FREE {
            at = (at + 1) & (table.len() - 1);
        }
        at
    }

    /// Holds a new pair with room for its postings, and says where the first one goes.
    pub fn insert(&mut self, pair: Pair, count: u64, postings: u32) -> u32 {
        if (self.used + 1) * 3 > self.table.len() * 2 {
            self.rehash();
        }
        let at = Self::find(&self.table, self.factor, pair);
        let known = &mut self.table[at];
        debug_assert_eq!(known.count, 0, "a pair comes about in one merge only");
        self.used += usize::from(known.pair == FREE);
        self.live += 1;
        let start = self.places.len() as u32;
        *known = Known {
            pair,
            count,
            start,
            postings,
        };
        self.places.resize(self.places.len() + postings as usize, 0);
        self.heap.push((count, Reverse(pair)));
        start
    }

    /// Puts a posting where [`Candidates::insert`] made room.
    #[inline]
    pub fn put(&mut self, at: u32, posting: u32) {
        self.places[at as usize] = posting;
    }

    #[inline]
    fn lose(&mut self, pair: Pair, count: u64) {
        let at = Self::find(&self.table, self.factor, pair);
        let known = &mut self.table[at];
        // A pair that is not held has nothing to lose; neither has one that is merged.
        known.count = known.count.saturating_sub(count);
        if known.count == 0 && known.postings > 0 {
            self.live -= 1;
            self.dead += known.postings as usize;
            known.postings = 0;
        }
    }

    /// Takes over what a merge brought about on one side: `old` names the pair that each neighbour's gain was, `new` the
    /// one that it became.
    pub fn take(
        &mut self,
        gains: &mut Gains,
        old: impl Fn(u32) -> Pair,
        new: impl Fn(u32) -> Pair,
    ) {
        for place in 0..gains.touched.len() {
            if let Some(&later) = gains.touched.get(place + AHEAD) {
                prefetch(
                    &self.table,
                    Self::home(&self.table, self.factor, old(later)),
                );
            }
            let neighbour = gains.touched[place];
            let gain = &mut gains.by[neighbour as usize];
            self.lose(old(neighbour), gain.count);
            gain.at = if gain.count >= self.threshold {
                self.insert(new(neighbour), gain.count, gain.postings)
            } else {
                NOWHERE
            };
        }
        for &(neighbour, posting) in &gains.postings {
            let gain = &mut gains.by[neighbour as usize];
            if gain.at != NOWHERE {
                self.put(gain.at, posting);
                gain.at += 1;
            }
        }
        gains.clear();
    }

    /// Takes out the pair that comes first now: the most frequent, then the smaller. Its postings go to `postings`.
    pub fn pop(&mut self, postings: &mut Vec<u32>) -> Option<Pair> {
        postings.clear();
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            let at = Self::find(&self.table, self.factor, pair);
            let Known {
                count: now,
                start,
                postings: number,
                ..
            } = self.table[at];
            if now != count && now >= self.threshold {
                self.heap.push((now, Reverse(pair)));
                continue;
            }
            if number > 0 {
                self.live -= 1;
                self.dead += number as usize;
                self.table[at].postings = 0;
            }
            self.table[at].count = 0;
            if now == count {
                postings.extend_from_slice(&self.places[start as usize..][..number as usize]);
                return Some(pair);
            }
        }
        None
    }

    /// Raises the bar so that about `keep` pairs are held.
    pub fn raise_threshold(&mut self, keep: usize) {
        let mut counts: Vec<u64> = self.live_pairs().map(|known| known.count).collect();
        if keep >= counts.len() {
            return;
        }
        let (.., &mut threshold, _) =
            counts.select_nth_unstable_by_key(keep, |&count| Reverse(count));
        self.threshold = self.threshold.max(threshold);
        let threshold = self.threshold;
        for known in &mut self.table {
            if known.postings > 0 && known.count < threshold {
                self.live -= 1;
                self.dead += known.postings as usize;
                (known.count, known.postings) = (0, 0);
            }
        }
        self.rehash();
    }

    fn live_pairs(&self) -> impl Iterator<Item = &Known> {
        self.table.iter().filter(|known| known.postings > 0)
    }

    /// A table of the live pairs alone, at most half full, and a heap of them.
    fn rehash(&mut self) {
        let slots = (self.live * 2).next_power_of_two().max(1 << 10);
        let old = std::mem::replace(&mut self.table, vec![Known::NONE; slots]);
        self.heap.clear();
        let mut heap = std::mem::take(&mut self.heap).into_vec();
        for known in old.into_iter().filter(|known| known.postings > 0) {
            let at = Self::find(&self.table, self.factor, known.pair);
            self.table[at] = known;
            heap.push((known.count, Reverse(known.pair)));
        }
        self.used = self.live;
        self.heap = BinaryHeap::from(heap);
    }

    /// Moves the postings of live pairs together if more than half of them are dead.
    pub fn close_gaps(&mut self) {
        if self.dead < WORTH_CLOSING || self.dead * 2 < self.places.len() {
            return;
        }
        let mut order: Vec<u32> = (0..self.table.len() as u32)
            .filter(|&slot| self.table[slot as usize].postings > 0)
            .collect();
        order.sort_unstable_by_key(|&slot| self.table[slot as usize].start);
        let mut to = 0;
        for slot in order {
            let known = &mut self.table[slot as usize];
            let from = known.start as usize;
            self.places
                .copy_within(from..from + known.postings as usize, to);
            known.start = to as u32;
            to += known.postings as usize;
        }
        self.places.truncate(to);
        self.dead = 0;
    }
}
