//! What a packing strategy is: a name, and a function that plans the rows of a data set.

use std::fmt;
use std::sync::Arc;

use crate::batch::Piece;
use crate::error::PackingError;
use crate::shards::Dataset;

/// What a plan left out. There is one reason: the segment was longer than a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TooLong {
    /// Documents left out.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// The settings that a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRules {
    /// T, tokens per row.
    pub row_tokens: u32,
    /// Leave out segments longer than a row instead of cutting them.
    pub reject_too_long: bool,
    /// Seed of every draw of the plan.
    pub seed: u64,
}

/// The rows of one data set, before they are put in order.
pub trait Plan: fmt::Debug + Send + Sync {
    /// Number of rows.
    fn rows(&self) -> u64;

    /// Tokens of `row` that are not padding; 0 past the last row.
    fn used(&self, row: u64) -> u32;

    /// What was left out.
    fn rejected(&self) -> TooLong;

    /// Appends the pieces of `row`, in order, to `pieces`, which is empty.
    fn pieces(&self, row: u64, pieces: &mut Vec<Piece>) -> Result<(), PackingError>;
}

type MakePlan = fn(Arc<Dataset>, RowRules) -> Result<Box<dyn Plan>, PackingError>;

/// How documents are put into rows. Two strategies are equal if their names are.
#[derive(Clone, Copy)]
pub struct Strategy {
    name: &'static str,
    plan: MakePlan,
}

impl Strategy {
    pub(super) const fn new(name: &'static str, plan: MakePlan) -> Self {
        Self { name, plan }
    }

    /// The name used in settings and in the fingerprint of an order of rows.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Plans the rows of `dataset`.
    pub fn plan(
        self,
        dataset: Arc<Dataset>,
        rules: RowRules,
    ) -> Result<Box<dyn Plan>, PackingError> {
        (self.plan)(dataset, rules)
    }
}

impl PartialEq for Strategy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Strategy {}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
