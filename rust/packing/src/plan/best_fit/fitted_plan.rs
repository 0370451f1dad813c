//! A best-fit plan as a function of the length histogram: which pieces share a row, documents given by rank.

use super::counts::BestFit;
use super::split::{RankedPiece, Split};
use crate::histogram::LengthHistogram;
use crate::permutation::Permutation;
use crate::plan::strategy::TooLong;
use crate::random::bits;

/// Counter of the draws that choose which documents of equal length go together.
const MATES: u64 = 1;

/// A best-fit plan: rows that one piece fills, then rows of shorter pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedPlan {
    split: Split,
    fit: BestFit,
    row_tokens: u32,
    seed: u64,
}

impl FittedPlan {
    /// Plans rows of `row_tokens`. Which documents of one length share rows depends on `seed`; the row count does not.
    pub fn new(
        lengths: &LengthHistogram,
        row_tokens: u32,
        reject_too_long: bool,
        seed: u64,
    ) -> Self {
        let split = Split::new(lengths, row_tokens, reject_too_long);
        let fit = BestFit::plan(&split.shorter(), row_tokens);
        Self {
            split,
            fit,
            row_tokens,
            seed,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.split.whole_rows() + self.fit.rows()
    }

    /// Bulk placements of the plan; its size in memory is about 32 bytes for each.
    pub fn moves(&self) -> usize {
        self.fit.moves()
    }

    /// What was left out.
    pub fn rejected(&self) -> TooLong {
        self.split.rejected()
    }

    /// Tokens of `row` that are not padding; 0 past the last row.
    pub fn used(&self, row: u64) -> u32 {
        match row.checked_sub(self.split.whole_rows()) {
            None => self.row_tokens,
            Some(row) => self.fit.room(row).map_or(0, |room| self.row_tokens - room),
        }
    }

    /// Calls `visit` for every piece of `row`.
    pub fn pieces(&self, row: u64, mut visit: impl FnMut(RankedPiece)) {
        match row.checked_sub(self.split.whole_rows()) {
            None => self.split.whole_piece(row).into_iter().for_each(visit),
            Some(row) => self.fit.pieces(row, |ranks| {
                let mates = self.mates(ranks.length);
                let places = ranks.first..ranks.first + u64::from(ranks.times);
                let pieces = places
                    .filter_map(|place| self.split.shorter_piece(ranks.length, mates.get(place)?));
                pieces.for_each(&mut visit);
            }),
        }
    }

    /// Scatters the pieces of one length, so that neighbors in the corpus do not become neighbors in a row.
    fn mates(&self, length: u32) -> Permutation {
        Permutation::new(
            self.split.shorter_count(length),
            bits(self.seed, &[MATES, u64::from(length)]),
        )
    }
}
