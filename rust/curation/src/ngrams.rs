//! Repeated n-grams of words: exact counts without storing one n-gram.
//!
//! An (n+1)-gram can occur twice only if the two n-grams in it do. So each length looks at the places that the one before
//! left, and names an (n+1)-gram by the ids of its two n-grams: in ordinary text few places are left after three words.

use crate::table::Table;

/// Shortest and longest n-grams whose most frequent one is measured.
pub const TOP: [usize; 3] = [2, 3, 4];
/// Lengths of n-grams whose duplicates are measured.
pub const DUPLICATE: [usize; 6] = [5, 6, 7, 8, 9, 10];
const LONGEST: usize = 10;

/// What is measured of a text's n-grams, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NgramCounts {
    /// For each length of `TOP`: characters of the most frequent n-gram (its words and single spaces) times its count;
    /// 0 if none occurs twice. Of equally frequent ones the first to occur counts.
    pub top: [u64; 3],
    /// For each length of `DUPLICATE`: characters of words in n-grams that occurred before, none counted twice.
    pub duplicate: [u64; 6],
}

/// Buffers that are reused from text to text.
#[derive(Default)]
pub struct Ngrams {
    places: Vec<u32>,
    ids: Vec<u32>,
    counts: Vec<u32>,
    pairs: Vec<(u32, u32)>,
    seen: Vec<bool>,
}

impl Ngrams {
    /// Counts the n-grams of `words` (an id each), of which word `w` occurs `word_counts[w]` times; the words before
    /// number `i` have `before[i]` characters.
    pub fn count(
        &mut self,
        words: &[u32],
        word_counts: &[u32],
        before: &[u32],
        table: &mut Table,
    ) -> NgramCounts {
        self.places.clear();
        self.ids.clear();
        for (place, &word) in words.iter().enumerate() {
            if word_counts[word as usize] > 1 {
                self.places.push(place as u32);
                self.ids.push(word);
            }
        }
        let mut found = NgramCounts::default();
        for length in 2..=LONGEST {
            self.lengthen(table);
            if let Some(number) = TOP.iter().position(|&top| top == length) {
                found.top[number] = self.top(length, before);
            }
            if let Some(number) = DUPLICATE.iter().position(|&each| each == length) {
                found.duplicate[number] = self.duplicate(length, before);
            }
            if self.places.is_empty() {
                break;
            }
        }
        found
    }

    /// From the places and ids of the n-grams that occur twice or more to those of the (n+1)-grams.
    fn lengthen(&mut self, table: &mut Table) {
        table.start(self.places.len() / 2);
        let hash = table.hash();
        self.counts.clear();
        self.pairs.clear();
        let mut kept = 0;
        for number in 1..self.places.len() {
            let (place, id) = (self.places[number - 1], self.ids[number - 1]);
            if self.places[number] != place + 1 {
                continue;
            }
            let pair = (id, self.ids[number]);
            let pairs = &self.pairs;
            let (id, is_new) = table.id(hash.pair(pair.0, pair.1), |id| pairs[id as usize] == pair);
            if is_new {
                self.pairs.push(pair);
                self.counts.push(1);
            } else {
                self.counts[id as usize] += 1;
            }
            // Never ahead of `number - 1`, which has been read.
            self.places[kept] = place;
            self.ids[kept] = id;
            kept += 1;
        }
        let mut repeated = 0;
        for number in 0..kept {
            if self.counts[self.ids[number] as usize] > 1 {
                self.places[repeated] = self.places[number];
                self.ids[repeated] = self.ids[number];
                repeated += 1;
            }
        }
        self.places.truncate(repeated);
        self.ids.truncate(repeated);
    }

    fn top(&self, length: usize, before: &[u32]) -> u64 {
        let mut best = (1, 0);
        for (&place, &id) in self.places.iter().zip(&self.ids) {
            let count = self.counts[id as usize];
            if count > best.0 {
                best = (count, characters(place, length, before) + length as u64 - 1);
            }
        }
        u64::from(best.0) * best.1
    }

    fn duplicate(&mut self, length: usize, before: &[u32]) -> u64 {
        self.seen.clear();
        self.seen.resize(self.counts.len(), false);
        let (mut total, mut free) = (0, 0);
        for (&place, &id) in self.places.iter().zip(&self.ids) {
            if place < free {
                continue;
            }
            if self.seen[id as usize] {
                total += characters(place, length, before);
                free = place + length as u32;
            }
            self.seen[id as usize] = true;
        }
        total
    }
}

fn characters(place: u32, length: usize, before: &[u32]) -> u64 {
    let place = place as usize;
    u64::from(before[place + length] - before[place])
}
