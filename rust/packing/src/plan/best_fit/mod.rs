//! Best-fit decreasing: a segment that fits in a row is never cut.

mod counts;
mod fitted_plan;
mod length_index;
mod split;

use std::sync::Arc;

pub use counts::{BestFit, Ranks};
pub use fitted_plan::FittedPlan;
pub use split::{RankedPiece, Split};

use self::length_index::LengthIndex;
use super::strategy::{Plan, RowRules, Strategy, TooLong};
use crate::batch::Piece;
use crate::error::PackingError;
use crate::random::{bits, shuffle};
use crate::shards::Dataset;

/// Counter of the draws that order the pieces of a row.
const ORDER_IN_ROW: u64 = 3;

pub(super) const STRATEGY: Strategy = Strategy::new("best_fit", |dataset, rules| {
    Ok(Box::new(BestFitRows::new(dataset, rules)?))
});

/// The plan for one data set. Reads the offsets of all documents once.
#[derive(Debug)]
struct BestFitRows {
    dataset: Arc<Dataset>,
    plan: FittedPlan,
    by_length: LengthIndex,
    seed: u64,
}

impl BestFitRows {
    fn new(dataset: Arc<Dataset>, rules: RowRules) -> Result<Self, PackingError> {
        let lengths = &dataset.description().length_histogram;
        let plan = FittedPlan::new(lengths, rules.row_tokens, rules.reject_too_long, rules.seed);
        let by_length = LengthIndex::build(&dataset)?;
        Ok(Self {
            dataset,
            plan,
            by_length,
            seed: rules.seed,
        })
    }

    fn resolve(&self, ranked: RankedPiece) -> Result<Piece, PackingError> {
        let documents = self.dataset.description().documents;
        let document = self
            .by_length
            .document(ranked.segment_tokens - 1, ranked.rank)
            .unwrap_or(documents);
        let span = self.dataset.span(document)?;
        // The offsets were read when rows were planned; the file may have been replaced since.
        if span.tokens + 1 != ranked.segment_tokens {
            return Err(PackingError::Corrupt {
                path: self.dataset.root().to_path_buf(),
                offset: 0,
                reason: format!(
                    "document {document} had {} tokens when rows were planned, and has {} now",
                    ranked.segment_tokens - 1,
                    span.tokens
                ),
            });
        }
        Ok(Piece {
            span,
            start: ranked.start,
            length: ranked.length,
        })
    }
}

impl Plan for BestFitRows {
    fn rows(&self) -> u64 {
        self.plan.rows()
    }

    fn used(&self, row: u64) -> u32 {
        self.plan.used(row)
    }

    fn rejected(&self) -> TooLong {
        self.plan.rejected()
    }

    fn pieces(&self, row: u64, pieces: &mut Vec<Piece>) -> Result<(), PackingError> {
        let mut result = Ok(());
        self.plan.pieces(row, |ranked| {
            if result.is_ok() {
                result = self.resolve(ranked).map(|piece| pieces.push(piece));
            }
        });
        // Otherwise long pieces would always come before short ones.
        shuffle(pieces, bits(self.seed, &[ORDER_IN_ROW, row]));
        result
    }
}
