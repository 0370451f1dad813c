//! The hash of words and blocks: 64 bits, fast on short inputs, equal on every machine. It is no cryptographic hash.

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FOLD: u64 = 0xd6e8_feb8_6659_fd93;

/// Both halves of a 128-bit product, combined.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Spreads every bit of the input over every bit of the output (the finalizer of SplitMix64).
pub(crate) fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The hash of `bytes` under a seed: chunks of eight bytes, the last one filled with zeros; the length counts.
pub(crate) fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = start(bytes.len(), seed);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = fold(hash ^ u64::from_le_bytes(word), FOLD);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = fold(hash ^ u64::from_le_bytes(word), FOLD);
    }
    hash
}

/// As `hash_bytes` of the lower-cased bytes at `from..to`, all of them ASCII letters and digits.
///
/// Of those, bit 5 is what distinguishes a capital letter from a small one; small letters and digits have it set.
pub(crate) fn hash_ascii_word(text: &[u8], from: usize, to: usize, seed: u64) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let mut hash = start(to - from, seed);
    let mut at = from;
    while at < to {
        let left = (to - at).min(8);
        let kept = u64::MAX >> (64 - 8 * left);
        let word = match text.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => u64::from_le_bytes(eight),
            None => {
                let mut eight = [0; 8];
                eight[..left].copy_from_slice(&text[at..at + left]);
                u64::from_le_bytes(eight)
            }
        };
        hash = fold(hash ^ ((word | LOWER) & kept), FOLD);
        at += left;
    }
    hash
}

fn start(len: usize, seed: u64) -> u64 {
    SEED ^ seed ^ (len as u64).wrapping_mul(FOLD)
}
