//! Which source each row is drawn from: exact shares, any row in O(1) amortized, nothing stored per row.
//!
//! Rows come in blocks of B. At the end of a block the rows drawn from each source are its share of all rows so far,
//! rounded ("cascade rounding": differences of rounded cumulative shares), so they are within one row of the share and
//! depend on nothing but the row number. Inside a block the sources take turns by earliest deadline: unit k of a source
//! with a units in the block may be drawn in the slots `floor(k B / a) .. ceil((k + 1) B / a)` (the windows of Pfair
//! scheduling: Baruah, Cohen, Plaxton, Varvel, "Proportionate Progress", 1996), which keeps every prefix of the block
//! within one row of the block's own rates. Together: within one row of the share at the end of every block, and within
//! two at every row.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};

use super::weights::WHOLE;

/// Blocks smaller than this would round shares visibly between neighbors.
const MIN_BLOCK_ROWS: u64 = 1 << 10;
/// Blocks kept for look-ups: a batch may straddle two, and a few readers may be at different places.
const BLOCKS_KEPT: usize = 4;

/// A place in the order of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Number of the source.
    pub source: usize,
    /// Rows drawn from that source before.
    pub index: u64,
}

/// The order in which sources are drawn from.
#[derive(Debug)]
pub struct Schedule {
    /// Cumulative shares in units of `1 / WHOLE`: source i has `cumulative[i]..cumulative[i + 1]`.
    cumulative: Vec<u64>,
    block_rows: u64,
    kept: Mutex<Vec<(u64, Arc<Block>)>>,
}

/// One block of the schedule.
#[derive(Debug)]
struct Block {
    /// Rows drawn from each source before the block.
    before: Vec<u64>,
    /// For each slot its source, and how many of the block's slots before it had the same source.
    slots: Vec<(u32, u32)>,
}

impl Schedule {
    /// The schedule for `shares` that sum to `WHOLE`, none of them below 2^-20 of it.
    pub fn new(shares: &[u64]) -> Self {
        let mut cumulative = vec![0];
        cumulative.extend(shares.iter().scan(0, |sum, share| {
            *sum += share;
            Some(*sum)
        }));
        // Two rows of every source in each block: its count can then never fall from one block to the next.
        let least = shares.iter().copied().min().unwrap_or(WHOLE).max(1);
        let block_rows = (2 * WHOLE)
            .div_ceil(least)
            .next_power_of_two()
            .max(MIN_BLOCK_ROWS);
        Self {
            cumulative,
            block_rows,
            kept: Mutex::default(),
        }
    }

    /// Number of sources.
    pub fn sources(&self) -> usize {
        self.cumulative.len() - 1
    }

    /// B: at its multiples every source is within one row of its share.
    pub fn block_rows(&self) -> u64 {
        self.block_rows
    }

    /// Rows drawn from each source among the first `block * block_rows`.
    fn counts_before(&self, block: u64) -> Vec<u64> {
        let rows = u128::from(block) * u128::from(self.block_rows);
        let half = u128::from(WHOLE / 2);
        let rounded = |share: &u64| ((rows * u128::from(*share) + half) / u128::from(WHOLE)) as u64;
        self.cumulative
            .windows(2)
            .map(|pair| rounded(&pair[1]) - rounded(&pair[0]))
            .collect()
    }

    /// Where row `row` comes from. O(1) within a block already seen, O(B log sources) for another.
    pub fn draw(&self, row: u64) -> Draw {
        let (block, slot) = (row / self.block_rows, (row % self.block_rows) as usize);
        let block = self.block(block);
        let (source, within) = block.slots[slot];
        Draw {
            source: source as usize,
            index: block.before[source as usize] + u64::from(within),
        }
    }

    /// Rows drawn from each source among the first `rows`.
    pub fn counts(&self, rows: u64) -> Vec<u64> {
        let (block, slots) = (rows / self.block_rows, (rows % self.block_rows) as usize);
        let mut counts = self.counts_before(block);
        if slots > 0 {
            self.block(block).slots[..slots]
                .iter()
                .for_each(|(source, _)| counts[*source as usize] += 1);
        }
        counts
    }

    /// The first row that would be drawn beyond `limits[i]` rows of source i. O(log rows) blocks.
    pub fn first_beyond(&self, limits: &[u64]) -> Option<u64> {
        let beyond = |block: u64| {
            self.counts_before(block)
                .iter()
                .zip(limits)
                .any(|(count, limit)| count > limit)
        };
        let mut high = 1_u64;
        while !beyond(high) {
            high = high
                .checked_mul(2)
                .filter(|block| block.checked_mul(self.block_rows).is_some())?;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if beyond(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        let block = self.block(low);
        let first = block.slots.iter().position(|(source, within)| {
            block.before[*source as usize] + u64::from(*within) >= limits[*source as usize]
        });
        first.map(|slot| low * self.block_rows + slot as u64)
    }

    fn block(&self, number: u64) -> Arc<Block> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(kept, _)| *kept == number) {
            return Arc::clone(&kept[at].1);
        }
        let (before, after) = (self.counts_before(number), self.counts_before(number + 1));
        let units: Vec<u64> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| after - before)
            .collect();
        let slots = earliest_deadline_first(&units, self.block_rows);
        let block = Arc::new(Block { before, slots });
        if kept.len() >= BLOCKS_KEPT {
            kept.remove(0);
        }
        kept.push((number, Arc::clone(&block)));
        block
    }
}

/// Spreads `units[i]` slots of each source i over `rows` slots; the units sum to `rows`.
///
/// Gives each slot's source and its unit. EDF meets every deadline that can be met when all units take one slot.
fn earliest_deadline_first(units: &[u64], rows: u64) -> Vec<(u32, u32)> {
    let release = |source: usize, unit: u64| unit * rows / units[source];
    let deadline = |source: usize, unit: u64| ((unit + 1) * rows).div_ceil(units[source]);
    // (when, source, unit): not yet released, and ready to be drawn.
    let mut waiting: BinaryHeap<Reverse<(u64, usize, u64)>> = (0..units.len())
        .filter(|source| units[*source] > 0)
        .map(|source| Reverse((0, source, 0)))
        .collect();
    let mut ready = BinaryHeap::new();
    let mut slots = Vec::with_capacity(rows as usize);
    for slot in 0..rows {
        while let Some(&Reverse((_, source, unit))) = waiting.peek().filter(|next| next.0.0 <= slot)
        {
            waiting.pop();
            ready.push(Reverse((deadline(source, unit), source, unit)));
        }
        let Some(Reverse((_, source, unit))) = ready.pop() else {
            break;
        };
        slots.push((source as u32, unit as u32));
        if unit + 1 < units[source] {
            waiting.push(Reverse((release(source, unit + 1), source, unit + 1)));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whole-number shares of the given weights.
    fn shares(weights: &[u32]) -> Vec<u64> {
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut shares: Vec<u64> = weights
            .iter()
            .map(|weight| (u128::from(*weight) * u128::from(WHOLE) / u128::from(sum)) as u64)
            .collect();
        shares[0] += WHOLE - shares.iter().sum::<u64>();
        shares
    }

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(1_u32..500, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_prefix_is_within_two_rows_and_every_block_end_within_one(weights in weights()) {
            let shares = shares(&weights);
            let schedule = Schedule::new(&shares);
            let block = schedule.block_rows();
            let mut counts = vec![0_u64; shares.len()];
            for row in 0..2 * block + block / 2 {
                let draw = schedule.draw(row);
                prop_assert_eq!(draw.index, counts[draw.source], "row {}", row);
                counts[draw.source] += 1;
                let allowed = if (row + 1) % block == 0 { 1.0 } else { 2.0 };
                for (count, share) in counts.iter().zip(&shares) {
                    let quota = (row + 1) as f64 * (*share as f64 / WHOLE as f64);
                    prop_assert!((*count as f64 - quota).abs() <= allowed, "row {row}: {count} of {quota}");
                }
            }
            prop_assert_eq!(schedule.counts(2 * block + block / 2), counts);
        }

        #[test]
        fn far_rows_agree_with_their_counts(weights in weights(), row in 0_u64..1 << 50) {
            let schedule = Schedule::new(&shares(&weights));
            let draw = schedule.draw(row);
            let (before, after) = (schedule.counts(row), schedule.counts(row + 1));
            prop_assert_eq!(before.iter().sum::<u64>(), row);
            prop_assert_eq!(before[draw.source], draw.index);
            prop_assert_eq!(after[draw.source], draw.index + 1);
        }

        #[test]
        fn the_first_row_beyond_a_limit_is_the_first(weights in weights(), limits in proptest::collection::vec(0_u64..2000, 12)) {
            let schedule = Schedule::new(&shares(&weights));
            let limits = &limits[..weights.len()];
            let expected = (0..).find(|row| {
                let draw = schedule.draw(*row);
                draw.index >= limits[draw.source]
            });
            prop_assert_eq!(schedule.first_beyond(limits), expected);
        }

        #[test]
        fn deadlines_are_kept(units in proptest::collection::vec(0_u64..60, 1..8)) {
            let rows: u64 = units.iter().sum();
            let slots = earliest_deadline_first(&units, rows);
            prop_assert_eq!(slots.len() as u64, rows);
            for (slot, (source, unit)) in slots.iter().enumerate() {
                let (of, unit) = (units[*source as usize], u64::from(*unit));
                prop_assert!(slot as u64 >= unit * rows / of);
                prop_assert!((slot as u64) < ((unit + 1) * rows).div_ceil(of));
            }
        }
    }

    #[test]
    fn a_limit_that_is_never_reached_has_no_row() {
        assert_eq!(Schedule::new(&[WHOLE]).first_beyond(&[u64::MAX]), None);
    }

    #[test]
    fn the_shares_do_not_drift_at_ten_trillion_tokens() {
        // LLaMA's mixture (2302.13971, table 1); 10^13 tokens are 4.9 10^9 rows of 2,048.
        let weights = [670, 150, 45, 45, 45, 25, 20];
        let shares = shares(&weights);
        let schedule = Schedule::new(&shares);
        let rows = schedule.block_rows() * (4_900_000_000 / schedule.block_rows());
        for (count, weight) in schedule.counts(rows).iter().zip(weights) {
            let quota = rows as f64 * f64::from(weight) / 1000.0;
            assert!((*count as f64 - quota).abs() <= 1.0, "{count} of {quota}");
        }
    }
}
