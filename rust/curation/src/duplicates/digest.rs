//! Digests of texts, and numbers read back from bytes.

use twox_hash::XxHash3_128;

/// XXH3 of 128 bits: different texts have equal digests with a probability of 2^-128 per pair, unless made to.
pub(crate) fn digest(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// A little-endian number of up to 16 bytes.
pub(crate) fn number(bytes: &[u8]) -> u128 {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, byte| number << 8 | u128::from(*byte))
}
