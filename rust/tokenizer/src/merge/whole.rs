//! Short pieces that are a token as a whole: they need no merging. One of three that no cache holds is of this kind.

use crate::key::ShortKey;

const LENGTH_BITS: u32 = 4;
const NUMBER_SHIFT: u32 = 32 + LENGTH_BITS;

/// Tokens of 2 to [`WholeTable::MOST`] bytes in an open-addressed table of two words a token, behind a filter of a bit a hash.
pub struct WholeTable {
    /// First word and last word of [`Key`], and the token's number in the high bits of the latter; 0 where free.
    slots: Vec<[u64; 2]>,
    filter: Vec<u64>,
    filter_shift: u32,
}

/// A short text as two words: no two texts have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    first: u64,
    /// The last four bytes, and the length.
    last: u64,
}

impl Key {
    #[inline]
    fn of(key: ShortKey) -> Option<Self> {
        let last = (key.high << LENGTH_BITS) & ((1 << NUMBER_SHIFT) - 1) | key.len() as u64;
        let first = key.low;
        (2..=WholeTable::MOST)
            .contains(&key.len())
            .then_some(Self { first, last })
    }
}

impl WholeTable {
    /// Bytes of the longest token kept here; longer ones are merged like any piece.
    pub const MOST: usize = 12;

    /// The table of the tokens with these bytes, by their numbers.
    pub fn of(texts: &[&[u8]]) -> Self {
        let is_short = |text: &&[u8]| (2..=Self::MOST).contains(&text.len());
        let count = texts.iter().filter(|text| is_short(text)).count();
        // Three quarters full; eight to sixteen bits of filter for a token.
        let filter_bits = (count * 8).next_power_of_two().trailing_zeros().max(6);
        let mut table = Self {
            slots: vec![[0; 2]; count * 4 / 3 + 1],
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 64 - filter_bits,
        };
        for (number, text) in (0_u64..).zip(texts).filter(|(_, text)| is_short(text)) {
            table.insert(ShortKey::of(text, 0, text.len()), number);
        }
        table
    }

    /// The number of the token that is this piece.
    #[inline]
    pub fn get(&self, piece: ShortKey) -> Option<u32> {
        let key = Key::of(piece)?;
        let hash = piece.hash();
        let bit = hash >> self.filter_shift;
        if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return None;
        }
        let mut at = self.place(hash);
        loop {
            let [first, last] = self.slots[at];
            if first == key.first && last & ((1 << NUMBER_SHIFT) - 1) == key.last {
                return Some((last >> NUMBER_SHIFT) as u32);
            }
            if last == 0 {
                return None;
            }
            at = self.next(at);
        }
    }

    /// Where a hash is looked for first.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        let next = at + 1;
        if next == self.slots.len() { 0 } else { next }
    }

    fn insert(&mut self, text: ShortKey, number: u64) {
        let Some(key) = Key::of(text) else {
            return;
        };
        let hash = text.hash();
        let bit = hash >> self.filter_shift;
        self.filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        let mut at = self.place(hash);
        while self.slots[at][1] != 0 {
            at = self.next(at);
        }
        self.slots[at] = [key.first, key.last | number << NUMBER_SHIFT];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &[u8]) -> ShortKey {
        ShortKey::of(text, 0, text.len())
    }

    #[test]
    fn every_short_text_has_a_key_of_its_own() {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for len in 2..=WholeTable::MOST {
            texts.extend([vec![0; len], vec![b'a'; len]]);
            for place in 0..len {
                let mut text = vec![b'a'; len];
                text[place] = 0;
                texts.push(text);
            }
        }
        let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let table = WholeTable::of(&slices);
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(table.get(key(text)), Some(number), "{text:?}");
        }
        assert_eq!(table.get(key(&[b'a'; WholeTable::MOST + 1])), None);
        assert_eq!(table.get(key(b"b")), None);
    }
}
