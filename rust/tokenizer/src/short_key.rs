//! Short pre-tokens as numbers: up to 15 bytes and their count in 128 bits, so that a lookup compares two words.

/// A pre-token of at most [`ShortKey::MAX_BYTES`] bytes: the bytes in little-endian order, and the length in the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortKey {
    /// Bytes 0 to 7.
    pub low: u64,
    /// Bytes 8 to 14, and the length.
    pub high: u64,
}

/// The bits of 16 bytes that belong to a pre-token of each length.
const MASKS: [[u64; 2]; 16] = masks();

const fn masks() -> [[u64; 2]; 16] {
    let mut masks = [[0; 2]; 16];
    let mut len = 1;
    while len < 16 {
        let mask = u128::MAX >> (128 - 8 * len);
        masks[len] = [mask as u64, (mask >> 64) as u64];
        len += 1;
    }
    masks
}

#[inline]
fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let number = u128::from_le_bytes(bytes);
    [number as u64, (number >> 64) as u64]
}

impl ShortKey {
    /// The key of no pre-token.
    pub const NONE: Self = Self {
        low: 0,
        high: u64::MAX,
    };

    /// The maximum number of bytes of a pre-token with a key.
    pub const MAX_BYTES: usize = 15;

    /// The key of `text[start..end]`, which is 1 to 15 bytes long.
    #[inline]
    pub fn of(text: &[u8], start: usize, end: usize) -> Self {
        Self::of_beginning(&text[start..], end - start)
    }

    /// The key of the first 1 to 15 bytes of a text.
    #[inline(always)]
    pub fn of_beginning(text: &[u8], len: usize) -> Self {
        let len = len % 16;
        // One wide load if the text continues, with the bytes of the next pre-token masked out.
        let [low, high] = match text.first_chunk() {
            Some(bytes) => halves(*bytes),
            None => {
                let mut bytes = [0; 16];
                bytes[..len].copy_from_slice(&text[..len]);
                halves(bytes)
            }
        };
        let [low_mask, high_mask] = MASKS[len];
        Self {
            low: low & low_mask,
            high: high & high_mask | (len as u64) << 56,
        }
    }

    /// Length of the pre-token.
    pub fn len(&self) -> usize {
        (self.high >> 56) as usize
    }

    /// The pre-token's bytes, zeros, and the length in the last byte.
    pub fn bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_le_bytes()
    }

    /// A well-mixed number of 64 bits: both halves of the product of the two words.
    #[inline(always)]
    pub fn hash(self) -> u64 {
        let product = u128::from(self.low ^ 0x9E37_79B9_7F4A_7C15)
            * u128::from(self.high ^ 0xBF58_476D_1CE4_E5B9);
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_pre_token_alone() {
        let text = b"xxabcdefghijklmnopqrstuvwxyz";
        for len in 1..=ShortKey::MAX_BYTES {
            assert_eq!(
                ShortKey::of(text, 2, 2 + len),
                ShortKey::of(&text[2..2 + len], 0, len),
                "{len}"
            );
        }
        assert_ne!(ShortKey::of(b"a", 0, 1), ShortKey::of(b"a\0", 0, 2));
    }
}
