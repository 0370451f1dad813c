//! Table of short tokens, for pre-tokens that are a token as a whole and need no merging. This applies to one in three pre-tokens
//! that no cache has.

use super::filtered::FilteredTable;
use crate::keyed::Keys;
use crate::short_key::ShortKey;

const LENGTH_BITS: u32 = 4;
const NUMBER_SHIFT: u32 = 32 + LENGTH_BITS;

/// Tokens of 2 to [`ShortTokenTable::MAX_BYTES`] bytes: both words of a [`Key`], with the token's number, which is never 0, in
/// the high bits of the second.
pub struct ShortTokenTable {
    table: FilteredTable<[u64; 2]>,
    keys: Keys,
}

/// A short text as two words, which identify it.
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
        (2..=ShortTokenTable::MAX_BYTES)
            .contains(&key.len())
            .then_some(Self { first, last })
    }
}

impl ShortTokenTable {
    /// The maximum number of bytes of a token in the table; longer ones are merged like any pre-token.
    pub const MAX_BYTES: usize = 12;

    /// The table of the tokens with these bytes, by number.
    pub fn of(texts: &[&[u8]]) -> Self {
        let is_short = |text: &&[u8]| (2..=Self::MAX_BYTES).contains(&text.len());
        let count = texts.iter().filter(|text| is_short(text)).count();
        let mut table = Self {
            table: FilteredTable::of(count, [0; 2]),
            keys: Keys::default(),
        };
        for (number, text) in (0_u64..).zip(texts).filter(|(_, text)| is_short(text)) {
            table.insert(ShortKey::of(text, 0, text.len()), number);
        }
        table
    }

    /// The number of the token that is this pre-token.
    #[inline]
    pub fn get(&self, pre_token: ShortKey) -> Option<u32> {
        let key = Key::of(pre_token)?;
        let is = |[first, last]: [u64; 2]| {
            first == key.first && last & ((1 << NUMBER_SHIFT) - 1) == key.last
        };
        let [_, last] = self.table.find(self.hash(pre_token), is)?;
        Some((last >> NUMBER_SHIFT) as u32)
    }

    #[inline]
    fn hash(&self, text: ShortKey) -> u64 {
        self.keys.hash_words(text.low, text.high)
    }

    fn insert(&mut self, text: ShortKey, number: u64) {
        if let Some(key) = Key::of(text) {
            let slot = [key.first, key.last | number << NUMBER_SHIFT];
            self.table.insert(self.hash(text), slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &[u8]) -> ShortKey {
        ShortKey::of(text, 0, text.len())
    }

    #[test]
    fn every_short_text_has_its_own_key() {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for len in 2..=ShortTokenTable::MAX_BYTES {
            texts.extend([vec![0; len], vec![b'a'; len]]);
            for place in 0..len {
                let mut text = vec![b'a'; len];
                text[place] = 0;
                texts.push(text);
            }
        }
        let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let table = ShortTokenTable::of(&slices);
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(table.get(key(text)), Some(number), "{text:?}");
        }
        assert_eq!(
            table.get(key(&[b'a'; ShortTokenTable::MAX_BYTES + 1])),
            None
        );
        assert_eq!(table.get(key(b"b")), None);
    }
}
