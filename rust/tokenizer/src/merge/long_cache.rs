//! Long pieces met before, with their tokens: a fixed table with whole keys, one slot for each place.
//!
//! Text in languages without spaces has few short pieces and many of some tens of bytes, which come back often.

/// Bytes of a slot: two cache lines.
const SLOT_BYTES: usize = 128;
/// Words of a slot.
const SLOT_WORDS: usize = SLOT_BYTES / 8;
const SLOT_BITS: u32 = 14;
/// Bytes of the longest piece that is kept.
const MOST: usize = 64;
/// Bytes of the shortest one.
const LEAST: usize = 16;

/// The table. One per thread that encodes.
pub struct LongCache {
    /// A slot: length and number of tokens in the first word, the piece's bytes, its tokens two to a word.
    words: Vec<u64>,
}

impl Default for LongCache {
    /// An empty one; its memory is touched only as it fills.
    fn default() -> Self {
        Self {
            words: vec![0; SLOT_WORDS << SLOT_BITS],
        }
    }
}

impl LongCache {
    /// Whether pieces of this length are kept.
    #[inline]
    pub fn takes(piece: &[u8]) -> bool {
        (LEAST..=MOST).contains(&piece.len())
    }

    /// The first word of the piece's slot.
    #[inline]
    pub fn place(piece: &[u8]) -> usize {
        let hash = words(piece).fold(piece.len() as u64, |hash, word| {
            let mixed = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^ mixed >> 32
        });
        (hash.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> (64 - SLOT_BITS)) as usize * SLOT_WORDS
    }

    /// Appends the tokens of `piece`, whose place this is, to `ids` if they are known.
    #[inline]
    pub fn append(&self, place: usize, piece: &[u8], ids: &mut Vec<u32>) -> bool {
        let slot = &self.words[place..place + SLOT_WORDS];
        let key_words = piece.len().div_ceil(8);
        if slot[0] >> 32 != piece.len() as u64
            || !words(piece).eq(slot[1..=key_words].iter().copied())
        {
            return false;
        }
        let count = slot[0] as u32 as usize;
        let tokens = &slot[1 + key_words..1 + key_words + count.div_ceil(2)];
        let before = ids.len();
        for &pair in tokens {
            ids.extend_from_slice(&[pair as u32, (pair >> 32) as u32]);
        }
        ids.truncate(before + count);
        true
    }

    /// Remembers the tokens of `piece`, whose place this is, if they are few enough.
    pub fn insert(&mut self, place: usize, piece: &[u8], ids: &[u32]) {
        let key_words = piece.len().div_ceil(8);
        if 1 + key_words + ids.len().div_ceil(2) > SLOT_WORDS {
            return;
        }
        let slot = &mut self.words[place..place + SLOT_WORDS];
        slot[0] = (piece.len() as u64) << 32 | ids.len() as u64;
        let tokens = ids
            .chunks(2)
            .map(|pair| u64::from(pair[0]) | u64::from(*pair.last().unwrap_or(&0)) << 32);
        for (word, value) in slot[1..].iter_mut().zip(words(piece).chain(tokens)) {
            *word = value;
        }
    }
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
