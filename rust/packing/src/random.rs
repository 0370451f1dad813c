//! Counter-based randomness: every draw is a function of a seed and counters, so there is no generator state to save.
//!
//! The same numbers as `stategpt.randomness.bits`: SplitMix64's finalizer (Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators", 2014), applied once per counter.
//!
//! Names differ: a name is its FNV-1a hash (64 bits) here and its CRC-32 in Python. Both are fixed. The order of rows of
//! every mixture depends on the one, every sample and shuffle of a run on the other; changing either would change results
//! that are reproduced or resumed by seed.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const FIRST: u64 = 0xBF58_476D_1CE4_E5B9;
const SECOND: u64 = 0x94D0_49BB_1331_11EB;

fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(FIRST);
    state = (state ^ (state >> 27)).wrapping_mul(SECOND);
    state ^ (state >> 31)
}

/// 64 random bits for `seed` and `counters`; the order of the counters matters.
pub fn bits(seed: u64, counters: &[u64]) -> u64 {
    counters
        .iter()
        .fold(mix(seed.wrapping_add(GOLDEN)), |state, counter| {
            next(state, *counter)
        })
}

/// Extends a draw by one more counter: `bits(s, &[a, b]) == next(bits(s, &[a]), b)`.
pub fn next(state: u64, counter: u64) -> u64 {
    mix((state ^ counter).wrapping_mul(SECOND).wrapping_add(GOLDEN))
}

/// The counter for a name (FNV-1a, 64 bits).
pub fn name_counter(name: &str) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    name.as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, step)
}

/// Shuffles `items` in place (Fisher-Yates), drawing from `key`.
pub fn shuffle<T>(items: &mut [T], key: u64) {
    for last in (1..items.len()).rev() {
        let draw = next(key, last as u64);
        // The high half of a product maps 64 bits onto 0..=last without a division.
        let other = ((u128::from(draw) * (last as u128 + 1)) >> 64) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_python_package() {
        // Golden values of tests/test_randomness.py: one definition, two languages.
        assert_eq!(bits(0, &[0]), 1_906_727_619_531_543_460);
    }

    #[test]
    fn a_draw_extends_counter_by_counter() {
        assert_eq!(bits(7, &[1, 2, 3]), next(bits(7, &[1, 2]), 3));
        assert_ne!(bits(7, &[1, 2]), bits(7, &[2, 1]));
        assert_ne!(name_counter("code"), name_counter("docs"));
    }

    #[test]
    fn the_hash_of_a_name_is_fixed() {
        // Row orders of mixtures depend on it.
        assert_eq!(name_counter("rows"), 11_792_400_883_550_683_448);
    }

    #[test]
    fn a_shuffle_visits_every_order_about_equally_often() {
        let mut seen = std::collections::BTreeMap::new();
        for seed in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, bits(seed, &[]));
            *seen.entry(items).or_insert(0_i64) += 1;
        }
        assert_eq!(seen.len(), 24);
        // Chi-square with 23 degrees of freedom: mean 23, standard deviation 6.8.
        let chi2: f64 = seen
            .values()
            .map(|n| ((n - 1000) * (n - 1000)) as f64 / 1000.0)
            .sum();
        assert!(chi2 < 23.0 + 5.0 * 6.8, "{chi2}");
    }
}
