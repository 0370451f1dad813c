//! The merge loop: pair counts and places kept up to date merge by merge.
//!
//! It follows the trainer of the `tokenizers` library to the letter where that matters for which merges come out:
//! * ties go to the smaller pair of ids;
//! * a merge whose token exists already (made of other parts, or a special token) takes that token's id;
//! * the count of a merged pair is kept, so that a pair that comes back through such a token counts on from there.

use super::Target;
use super::queue::{Pair, Queue, ids as parts, pair};
use super::words::{END, Symbol, Words};
use crate::model::Merge;
use rustc_hash::FxHashMap;

/// What is known about one pair.
#[derive(Default)]
struct Occurrences {
    count: u64,
    /// Places of its left symbol; some may have changed since.
    places: Vec<u32>,
    /// Merge in whose course the pair last gained an occurrence, counted from 1.
    gained_in: u32,
}

struct Merger {
    words: Words,
    pairs: FxHashMap<Pair, Occurrences>,
    queue: Queue,
    /// Number of the merge at work, counted from 1.
    merge: u32,
    /// Pairs that gained occurrences in it.
    gained: Vec<Pair>,
}

/// Merges until the vocabulary is full or no pair is left; `tokens` and `ids` grow by the tokens made.
pub fn merge_all(
    words: Words,
    tokens: &mut Vec<Vec<u8>>,
    ids: &mut FxHashMap<Vec<u8>, u32>,
    target: &Target,
) -> Vec<Merge> {
    let mut merger = Merger::of(words);
    let mut merges = Vec::new();
    while tokens.len() < target.vocab_size
        && let Some((next, count)) = merger.pop()
        && count >= target.min_frequency
    {
        let (left, right) = parts(next);
        let text = [&tokens[left as usize][..], &tokens[right as usize]].concat();
        let joined = *ids.entry(text).or_insert_with_key(|text| {
            tokens.push(text.clone());
            tokens.len() as u32 - 1
        });
        let merge = Merge {
            left,
            right,
            joined,
        };
        if merger.join(merge) {
            merges.push(merge);
        }
    }
    merges
}

impl Merger {
    fn of(words: Words) -> Self {
        let mut merger = Self {
            words,
            pairs: FxHashMap::default(),
            queue: Queue::default(),
            merge: 0,
            gained: Vec::new(),
        };
        for place in 0..merger.words.symbols.len() as u32 {
            let Symbol { id, word, next, .. } = merger.words.symbols[place as usize];
            if next != END {
                let right = merger.words.symbols[next as usize].id;
                let count = merger.words.counts[word as usize];
                let occurrences = merger.pairs.entry(pair(id, right)).or_default();
                occurrences.count += count;
                occurrences.places.push(place);
            }
        }
        for (&pair, occurrences) in &merger.pairs {
            merger.queue.push(pair, occurrences.count);
        }
        merger
    }

    fn pop(&mut self) -> Option<(Pair, u64)> {
        let pairs = &self.pairs;
        self.queue
            .pop(|pair| pairs.get(&pair).map_or(0, |occurrences| occurrences.count))
    }

    /// Joins every occurrence of the pair. False if a pair came up twice and nothing is left to do.
    fn join(&mut self, merge: Merge) -> bool {
        let Some(occurrences) = self.pairs.get_mut(&pair(merge.left, merge.right)) else {
            return false;
        };
        let mut places = std::mem::take(&mut occurrences.places);
        if places.is_empty() {
            return false;
        }
        // From left to right, so that "aaa" becomes "aa a".
        places.sort_unstable();
        self.merge += 1;
        for place in places {
            if self.words.holds(place, merge.left, merge.right) {
                self.join_at(place, merge);
            }
        }
        for pair in std::mem::take(&mut self.gained) {
            let count = self
                .pairs
                .get(&pair)
                .map_or(0, |occurrences| occurrences.count);
            self.queue.push(pair, count);
        }
        true
    }

    fn join_at(&mut self, place: u32, merge: Merge) {
        let Symbol {
            word,
            previous,
            next: absorbed,
            ..
        } = self.words.symbols[place as usize];
        let next = self.words.symbols[absorbed as usize].next;
        let count = self.words.counts[word as usize];
        self.words.symbols[absorbed as usize].id = END;
        self.words.symbols[place as usize].id = merge.joined;
        self.words.symbols[place as usize].next = next;
        if previous != END {
            let before = self.words.symbols[previous as usize].id;
            self.lose(pair(before, merge.left), count);
            self.gain(pair(before, merge.joined), previous, count);
        }
        if next != END {
            let after = &mut self.words.symbols[next as usize];
            after.previous = place;
            let after = after.id;
            self.lose(pair(merge.right, after), count);
            self.gain(pair(merge.joined, after), place, count);
        }
    }

    fn lose(&mut self, pair: Pair, count: u64) {
        if let Some(occurrences) = self.pairs.get_mut(&pair) {
            occurrences.count = occurrences.count.saturating_sub(count);
        }
    }

    fn gain(&mut self, pair: Pair, place: u32, count: u64) {
        let occurrences = self.pairs.entry(pair).or_default();
        occurrences.count += count;
        occurrences.places.push(place);
        if occurrences.gained_in != self.merge {
            occurrences.gained_in = self.merge;
            self.gained.push(pair);
        }
    }
}
