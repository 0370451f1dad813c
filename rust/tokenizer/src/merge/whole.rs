//! Short pieces that are a token as a whole: they need no merging. One of three that no cache holds is of this kind.

/// Bytes of the longest token kept here; longer ones are merged like any piece.
const MOST: usize = 12;
const LENGTH_BITS: u32 = 4;
const NUMBER_SHIFT: u32 = 32 + LENGTH_BITS;

/// Tokens of 2 to [`MOST`] bytes in an open-addressed table of two words a token, behind a filter of a bit a hash.
pub struct WholeTable {
    /// First word and last word of [`Key`], and the token's number in the high bits of the latter; 0 where free.
    slots: Vec<[u64; 2]>,
    shift: u32,
    filter: Vec<u64>,
    filter_shift: u32,
}

/// A short text as a number: no two texts have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    first: u64,
    /// The last bytes, where the first word does not hold all of them, and the length.
    last: u64,
}

impl Key {
    #[inline]
    fn of(text: &[u8]) -> Option<Self> {
        let four = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        let length = text.len() as u64;
        // Halves overlap where the length is between: the length tells how much.
        let (first, rest) = match *text {
            [first, second] => (u64::from(u16::from_le_bytes([first, second])), 0),
            [first, second, third] => (u64::from(u32::from_le_bytes([first, second, third, 0])), 0),
            _ if text.len() < 8 => {
                let first = four(text.first_chunk()?) | four(text.last_chunk()?) << 32;
                (first, 0)
            }
            _ if text.len() <= MOST => (
                u64::from_le_bytes(*text.first_chunk()?),
                four(text.last_chunk()?),
            ),
            _ => return None,
        };
        Some(Self {
            first,
            last: rest << LENGTH_BITS | length,
        })
    }

    #[inline]
    fn hash(self) -> u64 {
        let mixed = (self.first ^ self.last.rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }
}

impl WholeTable {
    /// The table of the tokens with these bytes, by their numbers.
    pub fn of(texts: &[&[u8]]) -> Self {
        let bits_for = |places: usize| places.next_power_of_two().trailing_zeros().max(6);
        // At most four fifths full; eight to sixteen bits of filter for a token.
        let (bits, filter_bits) = (bits_for(texts.len() * 5 / 4), bits_for(texts.len() * 8));
        let mut table = Self {
            slots: vec![[0; 2]; 1 << bits],
            shift: 64 - bits,
            filter: vec![0; 1 << (filter_bits - 6)],
            filter_shift: 64 - filter_bits,
        };
        for (number, text) in (0_u64..).zip(texts).filter(|(_, text)| text.len() > 1) {
            if let Some(key) = Key::of(text) {
                table.insert(key, number);
            }
        }
        table
    }

    /// The number of the token that is this piece.
    #[inline]
    pub fn get(&self, piece: &[u8]) -> Option<u32> {
        let key = Key::of(piece)?;
        let hash = key.hash();
        let bit = hash >> self.filter_shift;
        if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return None;
        }
        let mut at = (hash >> self.shift) as usize;
        loop {
            let [first, last] = self.slots[at];
            if first == key.first && last & ((1 << NUMBER_SHIFT) - 1) == key.last {
                return Some((last >> NUMBER_SHIFT) as u32);
            }
            if last == 0 {
                return None;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, key: Key, number: u64) {
        let hash = key.hash();
        let bit = hash >> self.filter_shift;
        self.filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        let mut at = (hash >> self.shift) as usize;
        while self.slots[at][1] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = [key.first, key.last | number << NUMBER_SHIFT];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_short_text_has_a_key_of_its_own() {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for len in 2..=MOST {
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
            assert_eq!(table.get(text), Some(number), "{text:?}");
        }
        assert_eq!(table.get(&[b'a'; MOST + 1]), None);
        assert_eq!(table.get(b"b"), None);
    }
}
