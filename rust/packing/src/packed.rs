//! A data set packed into rows.

use std::sync::Arc;

use serde_json::json;

use crate::batch::{Batch, Piece, Scratch};
use crate::error::PackingError;
use crate::permutation::Permutation;
use crate::plan::{Plan, RowRules, Strategy, TooLong};
use crate::random::bits;
use crate::shards::Dataset;

/// Counter of the draw that puts the rows in order; the plans use 1 and 3.
const ROW_ORDER: u64 = 2;
/// Version of the order of rows. A change that moves any token must raise it, so that old states are refused.
const ORDER_VERSION: u32 = 1;

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

/// The rows of one data set. Row i of the order is row `plan_row(i)` of the plan.
#[derive(Debug)]
pub struct Packed {
    dataset: Arc<Dataset>,
    config: PackConfig,
    plan: Box<dyn Plan>,
    order: Permutation,
    fingerprint: String,
}

impl Packed {
    /// Plans the rows. Best-fit reads the offsets of all documents; concat reads nothing.
    pub fn new(dataset: Arc<Dataset>, config: PackConfig) -> Result<Self, PackingError> {
        check(&config)?;
        let rules = RowRules {
            row_tokens: config.row_tokens,
            reject_too_long: config.reject_too_long,
            seed: config.seed,
        };
        let plan = config.strategy.plan(Arc::clone(&dataset), rules)?;
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

    /// Identity of the order of rows: data, settings and seed.
    pub fn order_fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Number of rows.
    pub fn num_rows(&self) -> u64 {
        self.plan.rows()
    }

    /// What was left out.
    pub fn rejected(&self) -> TooLong {
        self.plan.rejected()
    }

    /// Tokens of every row without padding: those of the documents, and one end of text for each.
    pub fn tokens(&self) -> u64 {
        let rejected = self.rejected();
        self.dataset.stream_tokens() - rejected.tokens - rejected.documents
    }

    /// Tokens of row `plan_row` of the plan that are not padding.
    pub fn used(&self, plan_row: u64) -> u32 {
        self.plan.used(plan_row)
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
        self.plan.pieces(plan_row, pieces)
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
}

fn check(config: &PackConfig) -> Result<(), PackingError> {
    if config.row_tokens < 2 || config.row_tokens > i32::MAX as u32 {
        return Err(PackingError::setting(
            "row_tokens",
            config.row_tokens,
            "a row holds 2 to 2^31 - 1 tokens",
        ));
    }
    Ok(())
}
