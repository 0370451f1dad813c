//! A data set packed into rows.

use std::sync::Arc;

use serde_json::json;

use crate::batch::{Batch, Piece, Scratch};
use crate::error::PackingError;
use crate::length_index::LengthIndex;
use crate::permutation::Permutation;
use crate::plan::{FittedPlan, RankedPiece, TooLong};
use crate::random::{bits, shuffle};
use crate::rows::Rows;
use crate::shards::Dataset;

/// Counters of the draws made here; `plan` uses 1.
const ROW_ORDER: u64 = 2;
const ORDER_IN_ROW: u64 = 3;
/// Version of the order of rows. A change that moves any token must raise it, so that old states are refused.
const ORDER_VERSION: u32 = 1;

/// How documents are put into rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All segments end to end, cut every T tokens.
    Concat,
    /// Best-fit decreasing: a segment that fits in a row is never cut.
    BestFit,
}

/// Settings of a packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackConfig {
    /// T, tokens of a row; at least 2.
    pub row_tokens: u32,
    /// How documents are put into rows.
    pub strategy: Strategy,
    /// Is every document a segment that sees only itself? If not, the row is one segment.
    pub isolate_documents: bool,
    /// Leave out segments longer than a row (best-fit only) instead of cutting them.
    pub reject_too_long: bool,
    /// Chooses which documents of equal length share rows, the order within rows, and the order of rows.
    pub seed: u64,
}

impl Strategy {
    /// The strategy with the given name.
    pub fn named(name: &str) -> Result<Self, PackingError> {
        let known = [Self::Concat, Self::BestFit]
            .into_iter()
            .find(|strategy| strategy.name() == name);
        known
            .ok_or_else(|| PackingError::setting("strategy", name, "it must be best_fit or concat"))
    }

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::BestFit => "best_fit",
        }
    }
}

#[derive(Debug)]
enum Plan {
    Concat {
        rows: u64,
    },
    Fitted {
        plan: Box<FittedPlan>,
        by_length: LengthIndex,
    },
}

/// The rows of one data set. Row i of the order is row `plan_row(i)` of the plan.
#[derive(Debug)]
pub struct Packed {
    dataset: Arc<Dataset>,
    config: PackConfig,
    plan: Plan,
    order: Permutation,
    fingerprint: String,
}

impl Packed {
    /// Plans the rows. Best-fit reads the offsets of all documents; concat reads nothing.
    pub fn new(dataset: Arc<Dataset>, config: PackConfig) -> Result<Self, PackingError> {
        check(&config)?;
        let row_tokens = u64::from(config.row_tokens);
        let plan = match config.strategy {
            Strategy::Concat => Plan::Concat {
                rows: dataset.stream_tokens().div_ceil(row_tokens),
            },
            Strategy::BestFit => {
                let lengths = &dataset.description().length_histogram;
                let plan = Box::new(FittedPlan::new(
                    lengths,
                    config.row_tokens,
                    config.reject_too_long,
                    config.seed,
                ));
                Plan::Fitted {
                    plan,
                    by_length: LengthIndex::build(&dataset)?,
                }
            }
        };
        let order = Permutation::new(plan.rows(), bits(config.seed, &[ROW_ORDER]));
        let fingerprint = stategpt_storage::fingerprint(&json!({
            "rows": "packed",
            "order_version": ORDER_VERSION,
            "data": dataset.manifest().fingerprint,
            "row_tokens": config.row_tokens,
            "strategy": config.strategy.name(),
            "isolate_documents": config.isolate_documents,
            "reject_too_long": config.reject_too_long,
            "seed": config.seed,
        }));
        Ok(Self {
            dataset,
            config,
            plan,
            order,
            fingerprint,
        })
    }

    /// The settings.
    pub fn config(&self) -> &PackConfig {
        &self.config
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Number of rows.
    pub fn num_rows(&self) -> u64 {
        self.plan.rows()
    }

    /// What was left out.
    pub fn rejected(&self) -> TooLong {
        match &self.plan {
            Plan::Concat { .. } => TooLong::default(),
            Plan::Fitted { plan, .. } => plan.rejected(),
        }
    }

    /// Tokens in all rows, padding not counted: those of the documents and one end of text for each.
    pub fn tokens(&self) -> u64 {
        let rejected = self.rejected();
        self.dataset.stream_tokens() - rejected.tokens - rejected.documents
    }

    /// Tokens of row `plan_row` of the plan that are not padding.
    pub fn used(&self, plan_row: u64) -> u32 {
        match &self.plan {
            Plan::Fitted { plan, .. } => plan.used(plan_row),
            Plan::Concat { .. } => {
                let start = plan_row * u64::from(self.config.row_tokens);
                let left = self.dataset.stream_tokens().saturating_sub(start);
                left.min(u64::from(self.config.row_tokens)) as u32
            }
        }
    }

    /// The row of the plan that is row `row` of the order.
    pub fn plan_row(&self, row: u64) -> Result<u64, PackingError> {
        self.order.get(row).ok_or(PackingError::NoSuchRow {
            row,
            rows: self.num_rows(),
        })
    }

    /// Writes row `plan_row` of the plan as row `slot` of `batch`.
    pub fn write_plan_row(
        &self,
        plan_row: u64,
        batch: &mut Batch,
        slot: usize,
        scratch: &mut Scratch,
    ) -> Result<(), PackingError> {
        self.pieces(plan_row, &mut scratch.pieces)?;
        batch.write_row(slot, &self.dataset, self.config.isolate_documents, scratch)
    }

    /// The pieces of row `plan_row` of the plan, in order, into `pieces`.
    pub fn pieces(&self, plan_row: u64, pieces: &mut Vec<Piece>) -> Result<(), PackingError> {
        pieces.clear();
        match &self.plan {
            Plan::Concat { .. } => self.concat_pieces(plan_row, pieces),
            Plan::Fitted { plan, by_length } => {
                self.fitted_pieces(plan, by_length, plan_row, pieces)
            }
        }
    }

    /// Numbers of the documents of which row `row` of the order holds a piece, in order.
    pub fn documents_of(&self, row: u64) -> Result<Vec<u64>, PackingError> {
        self.plan_documents(self.plan_row(row)?)
    }

    /// Numbers of the documents of which row `plan_row` of the plan holds a piece, in order.
    pub fn plan_documents(&self, plan_row: u64) -> Result<Vec<u64>, PackingError> {
        let mut pieces = Vec::new();
        self.pieces(plan_row, &mut pieces)?;
        Ok(pieces.iter().map(|piece| piece.span.document).collect())
    }

    fn concat_pieces(&self, plan_row: u64, pieces: &mut Vec<Piece>) -> Result<(), PackingError> {
        let mut at = plan_row * u64::from(self.config.row_tokens);
        let end = at + u64::from(self.used(plan_row));
        if at == end {
            return Ok(());
        }
        let (mut span, mut segment_start) = self.dataset.span_at(at)?;
        loop {
            let segment_end = segment_start + span.tokens + 1;
            let length = (segment_end.min(end) - at) as u32;
            pieces.push(Piece {
                span,
                start: at - segment_start,
                length,
            });
            if segment_end >= end {
                return Ok(());
            }
            (at, segment_start) = (segment_end, segment_end);
            span = self.dataset.span(span.document + 1)?;
        }
    }

    fn fitted_pieces(
        &self,
        plan: &FittedPlan,
        by_length: &LengthIndex,
        plan_row: u64,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), PackingError> {
        let mut result = Ok(());
        plan.pieces(plan_row, |ranked| {
            if result.is_ok() {
                result = self
                    .resolve(by_length, ranked)
                    .map(|piece| pieces.push(piece));
            }
        });
        // Otherwise long pieces would always come before short ones.
        shuffle(pieces, bits(self.config.seed, &[ORDER_IN_ROW, plan_row]));
        result
    }

    fn resolve(&self, by_length: &LengthIndex, ranked: RankedPiece) -> Result<Piece, PackingError> {
        let documents = self.dataset.description().documents;
        let document = by_length
            .document(ranked.segment_tokens - 1, ranked.rank)
            .unwrap_or(documents);
        let span = self.dataset.span(document)?;
        // The offsets were read when rows were planned; the file may be another one by now.
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

impl Plan {
    fn rows(&self) -> u64 {
        match self {
            Self::Concat { rows } => *rows,
            Self::Fitted { plan, .. } => plan.rows(),
        }
    }
}

impl Rows for Packed {
    fn row_tokens(&self) -> u32 {
        self.config.row_tokens
    }

    fn rows(&self) -> Option<u64> {
        Some(self.num_rows())
    }

    fn padding(&self) -> u32 {
        self.dataset.description().padding
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn place(&self, row: u64) -> Result<(&Packed, u64), PackingError> {
        Ok((self, self.plan_row(row)?))
    }
}

fn check(config: &PackConfig) -> Result<(), PackingError> {
    if config.row_tokens < 2 || config.row_tokens > i32::MAX as u32 {
        return Err(PackingError::setting(
            "row_tokens",
            config.row_tokens,
            "a row holds 2 to 2^31 - 1 tokens",
        ));
    }
    if config.reject_too_long && config.strategy == Strategy::Concat {
        let rule =
            "concat cuts documents wherever a row ends, so it rejects none; use strategy best_fit";
        return Err(PackingError::setting("too_long", "reject", rule));
    }
    Ok(())
}
