//! A keyed bijection of `0..n`: any element of a shuffled order in O(1), with no order stored.
//!
//! A Feistel network permutes the smallest even power of two that holds `n`; results outside `0..n` are permuted again
//! until they fall inside ("cycle walking": Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The
//! domain is less than 4 n for n > 16, so a look-up walks fewer than four steps on average.

use crate::random::next;

const ROUNDS: usize = 6;
/// Halves narrower than this permute a handful of elements badly: there are too few round functions.
const MIN_HALF_BITS: u32 = 3;

/// A pseudorandom permutation of `0..n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// Number of elements.
    n: u64,
    /// Width of each half of the Feistel network.
    half_bits: u32,
    /// One key per round.
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..n` that `key` names. O(1).
    pub fn new(n: u64, key: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(MIN_HALF_BITS);
        Self {
            n,
            half_bits,
            keys: std::array::from_fn(|round| next(key, round as u64)),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.n
    }

    /// Is there nothing to permute?
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Where element `index` goes; `None` outside `0..n`. O(1) on average.
    pub fn get(&self, index: u64) -> Option<u64> {
        if index >= self.n {
            return None;
        }
        let mut image = self.network(index);
        while image >= self.n {
            image = self.network(image);
        }
        Some(image)
    }

    /// The permutation of `0..2^(2 half_bits)`.
    fn network(&self, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (next(key, right) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::bits;

    proptest! {
        #[test]
        fn every_element_comes_once(n in 0_u64..3000, key: u64) {
            let permutation = Permutation::new(n, key);
            let mut seen: Vec<u64> = (0..n).map(|i| permutation.get(i).unwrap()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
            prop_assert_eq!(permutation.get(n), None);
        }

        #[test]
        fn huge_ranges_stay_inside_and_do_not_collide(n in (1_u64 << 33)..(1 << 62), start: u64, key: u64) {
            let permutation = Permutation::new(n, key);
            let mut seen: Vec<u64> =
                (0..200).map(|i| permutation.get((start % n + i) % n).unwrap()).collect();
            prop_assert!(seen.iter().all(|image| *image < n));
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), 200);
        }
    }

    #[test]
    fn keys_give_different_orders() {
        let order = |key| {
            (0..50)
                .map(|i| Permutation::new(50, key).get(i).unwrap())
                .collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn even_few_elements_land_evenly() {
        // Each of 5 elements lands on each of 5 places equally often over keys: 25 cells of 4,000.
        let mut counts = [[0_i64; 5]; 5];
        for key in 0..20_000 {
            let permutation = Permutation::new(5, bits(key, &[]));
            for (index, row) in counts.iter_mut().enumerate() {
                row[permutation.get(index as u64).unwrap() as usize] += 1;
            }
        }
        let cells = counts.iter().flatten();
        let chi2: f64 = cells
            .map(|n| ((n - 4000) * (n - 4000)) as f64 / 4000.0)
            .sum();
        // 16 degrees of freedom: mean 16, standard deviation 5.7.
        assert!(chi2 < 16.0 + 5.0 * 5.7, "{chi2}");
    }

    #[test]
    fn neighbors_are_scattered() {
        // Mean distance of images of neighbors is n/3 for a random order, 1 for the identity.
        let (n, permutation) = (10_000, Permutation::new(10_000, 3));
        let distance: u64 = (1..n)
            .map(|i| {
                permutation
                    .get(i)
                    .unwrap()
                    .abs_diff(permutation.get(i - 1).unwrap())
            })
            .sum();
        let mean = distance as f64 / (n - 1) as f64;
        assert!((mean - n as f64 / 3.0).abs() < 100.0, "{mean}");
    }
}
