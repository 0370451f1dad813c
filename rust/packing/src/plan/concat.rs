//! Concatenation: all segments end to end, cut every T tokens.

use std::sync::Arc;

use super::strategy::{Plan, RowRules, Strategy, TooLong};
use crate::batch::Piece;
use crate::error::PackingError;
use crate::shards::Dataset;

pub(super) const STRATEGY: Strategy = Strategy::new("concat", |dataset, rules| {
    Ok(Box::new(ConcatRows::new(dataset, rules)?))
});

/// The plan for one data set. Reads nothing.
#[derive(Debug)]
struct ConcatRows {
    dataset: Arc<Dataset>,
    row_tokens: u64,
}

impl ConcatRows {
    fn new(dataset: Arc<Dataset>, rules: RowRules) -> Result<Self, PackingError> {
        if rules.reject_too_long {
            let rule = "concat cuts documents wherever a row ends, so it rejects none; use strategy best_fit";
            return Err(PackingError::setting("too_long", "reject", rule));
        }
        let row_tokens = u64::from(rules.row_tokens);
        Ok(Self {
            dataset,
            row_tokens,
        })
    }
}

impl Plan for ConcatRows {
    fn rows(&self) -> u64 {
        self.dataset.stream_tokens().div_ceil(self.row_tokens)
    }

    fn used(&self, row: u64) -> u32 {
        let start = row * self.row_tokens;
        let left = self.dataset.stream_tokens().saturating_sub(start);
        left.min(self.row_tokens) as u32
    }

    fn rejected(&self) -> TooLong {
        TooLong::default()
    }

    fn pieces(&self, row: u64, pieces: &mut Vec<Piece>) -> Result<(), PackingError> {
        let mut at = row * self.row_tokens;
        let end = at + u64::from(self.used(row));
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
}
