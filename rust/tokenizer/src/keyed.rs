//! Hashing with random keys for data from files and texts. The keys are drawn once per process, so that nobody can prepare
//! tokens, merges or words that collide. The content of a table never depends on the keys.
//!
//! Two words are multiplied, each mixed with a key, and the halves of the product are mixed (as in wyhash and foldhash).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A map whose keys come from files or texts.
pub type KeyedMap<K, V> = HashMap<K, V, Keys>;
/// A set whose items come from files or texts.
pub type KeyedSet<K> = HashSet<K, Keys>;

/// The keys of this process, 0 before they are drawn. No lock: a child forked while it is held would wait forever.
static DRAWN: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Two secret numbers, constant for the lifetime of the process.
#[derive(Debug, Clone, Copy)]
pub struct Keys([u64; 2]);

impl Default for Keys {
    fn default() -> Self {
        Self([drawn(&DRAWN[0]), drawn(&DRAWN[1])])
    }
}

/// Sets fixed keys before this process draws any, to count instructions: their number varies with the keys by a percent or two.
/// Never use this for untrusted input.
#[doc(hidden)]
pub fn fix_keys_for_measuring() {
    for (place, key) in DRAWN
        .iter()
        .zip([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03])
    {
        place.store(key, Ordering::Relaxed);
    }
}

fn drawn(place: &AtomicU64) -> u64 {
    let known = place.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // Odd, so that it can be used as a factor.
    let new = RandomState::new().build_hasher().finish() | 1;
    match place.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => new,
        Err(other) => other,
    }
}

/// Both halves of a product, mixed.
#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

impl Keys {
    /// A secret odd number.
    #[inline]
    pub fn factor(self) -> u64 {
        self.0[0]
    }

    /// The hash of two words.
    #[inline(always)]
    pub fn hash_words(self, first: u64, second: u64) -> u64 {
        fold(first ^ self.0[0], second ^ self.0[1])
    }

    /// The hash of bytes.
    #[inline]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let [first, second] = self.0;
        let mut hash = first.wrapping_add(bytes.len() as u64);
        let (left, right) = match bytes.len() {
            17.. => {
                for [left, right] in bytes[..bytes.len() - 1]
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .map(words)
                {
                    hash = fold(left ^ second, right ^ hash);
                }
                bytes
                    .last_chunk()
                    .map_or((0, 0), |chunk| words(chunk).into())
            }
            8..=16 => (word(bytes), word(&bytes[bytes.len() - 8..])),
            4..8 => (half(bytes), half(&bytes[bytes.len() - 4..])),
            1..4 => {
                let middle = u64::from(bytes[bytes.len() / 2]) << 8;
                (
                    u64::from(bytes[0]) << 16 | middle | u64::from(bytes[bytes.len() - 1]),
                    0,
                )
            }
            0 => (0, 0),
        };
        fold(fold(left ^ second, right ^ hash) ^ first, second)
    }
}

fn words(chunk: &[u8; 16]) -> [u64; 2] {
    [word(chunk), word(&chunk[8..])]
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    let chunk = bytes.first_chunk().copied().unwrap_or_default();
    u64::from(u32::from_le_bytes(chunk))
}

/// A hash in progress.
pub struct KeyedHasher {
    keys: Keys,
    state: u64,
}

impl BuildHasher for Keys {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            keys: *self,
            state: 0,
        }
    }
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(self.keys.hash(bytes));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.state = self.keys.hash_words(self.state, number);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_keys_of_a_process_are_constant() {
        assert_eq!(Keys::default().0, Keys::default().0);
        assert_ne!(Keys::default().0[0], Keys::default().0[1]);
        assert_eq!(Keys::default().factor() % 2, 1);
    }

    proptest! {
        #[test]
        fn each_byte_counts(mut bytes in proptest::collection::vec(any::<u8>(), 1..70), place: prop::sample::Index, bit in 0_u32..8) {
            let keys = Keys::default();
            let before = keys.hash(&bytes);
            prop_assert_eq!(before, keys.hash(&bytes.clone()));
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            prop_assert_ne!(before, keys.hash(&bytes));
            bytes[place] ^= 1_u8 << bit;
            bytes.push(0);
            prop_assert_ne!(before, keys.hash(&bytes));
        }
    }

    #[test]
    fn hashes_spread_over_high_and_low_bits() {
        let keys = Keys::default();
        for shift in [0, 24, 57] {
            let mut counts = [0_u32; 128];
            for number in 0_u32..1 << 14 {
                let hash = keys.hash(format!("token {number}").as_bytes());
                counts[(hash >> shift) as usize % 128] += 1;
            }
            assert!(
                counts.iter().all(|count| (64..256).contains(count)),
                "{counts:?}"
            );
        }
    }
}
