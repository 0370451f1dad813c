//! Builds the vectors of a layout, one branch at a time.

use std::ops::Range;

use crate::error::LayoutError;

/// Maximum number of tokens of a layout: its vectors hold int32 indices.
pub const MAX_TOKENS: usize = i32::MAX as usize;

/// A layout of segments without branches: `prefix_end` and `branch_start` equal `segment_start` and are not stored.
///
/// A new one is all padding: every token is its own segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentLayout {
    /// First token of each token's segment.
    pub segment_start: Vec<i32>,
    /// Number of visible keys before the token.
    pub position: Vec<i32>,
}

/// A layout whose segments may have branches. A new one is all padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchLayout {
    /// The two vectors that every layout has.
    pub segments: SegmentLayout,
    /// End of the prefix that a token sees in addition to its own branch.
    pub prefix_end: Vec<i32>,
    /// First token of each token's branch.
    pub branch_start: Vec<i32>,
}

/// What the tokens of a branch see: `segment_start..prefix_end`, and `branch_start` up to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// First token of the segment.
    pub segment_start: usize,
    /// End of the shared prefix; `segment_start` if there is none.
    pub prefix_end: usize,
    /// First token of the branch.
    pub branch_start: usize,
}

impl Branch {
    /// The segment that starts at `start`, without a prefix.
    pub fn without_prefix(start: usize) -> Self {
        Self {
            segment_start: start,
            prefix_end: start,
            branch_start: start,
        }
    }

    /// The branch that starts at `start`, after the prefix `segment_start..prefix_end`.
    pub fn behind(segment_start: usize, prefix_end: usize, start: usize) -> Self {
        Self {
            segment_start,
            prefix_end,
            branch_start: start,
        }
    }
}

impl SegmentLayout {
    /// A layout of `tokens` padding tokens.
    ///
    /// # Errors
    /// More than [`MAX_TOKENS`] tokens, or more than fit in memory.
    pub fn padding(tokens: usize) -> Result<Self, LayoutError> {
        Ok(Self {
            segment_start: each_its_own_start(tokens)?,
            position: reserved(tokens, |zeros| zeros.resize(tokens, 0))?,
        })
    }

    /// Makes `tokens` part of the segment that starts at `segment_start`.
    pub fn write(&mut self, tokens: Range<usize>, segment_start: usize) {
        self.write_branch(tokens, Branch::without_prefix(segment_start));
    }

    /// A position counts the keys before the token: those of the prefix, and those of the branch.
    fn write_branch(&mut self, tokens: Range<usize>, branch: Branch) {
        let prefix = branch.prefix_end - branch.segment_start;
        let first = prefix + (tokens.start - branch.branch_start);
        self.segment_start[tokens.clone()].fill(branch.segment_start as i32);
        self.position[tokens]
            .iter_mut()
            .zip(first as i32..)
            .for_each(|(position, value)| *position = value);
    }
}

impl BranchLayout {
    /// A layout of `tokens` padding tokens.
    ///
    /// # Errors
    /// As [`SegmentLayout::padding`].
    pub fn padding(tokens: usize) -> Result<Self, LayoutError> {
        Ok(Self {
            segments: SegmentLayout::padding(tokens)?,
            prefix_end: each_its_own_start(tokens)?,
            branch_start: each_its_own_start(tokens)?,
        })
    }

    /// Makes `tokens` part of `branch`.
    pub fn write(&mut self, tokens: Range<usize>, branch: Branch) {
        self.segments.write_branch(tokens.clone(), branch);
        self.prefix_end[tokens.clone()].fill(branch.prefix_end as i32);
        self.branch_start[tokens].fill(branch.branch_start as i32);
    }
}

fn each_its_own_start(tokens: usize) -> Result<Vec<i32>, LayoutError> {
    reserved(tokens, |vector| vector.extend(0..tokens as i32))
}

/// A vector with memory for `tokens` entries, filled by `fill`: what does not fit is an error, not an abort.
fn reserved(tokens: usize, fill: impl FnOnce(&mut Vec<i32>)) -> Result<Vec<i32>, LayoutError> {
    if tokens > MAX_TOKENS {
        let rule = "a layout has at most 2^31 - 1 tokens; use smaller batches";
        return Err(LayoutError::setting("tokens", tokens, rule));
    }
    let mut vector = Vec::new();
    vector
        .try_reserve_exact(tokens)
        .map_err(|_| LayoutError::OutOfMemory { tokens })?;
    fill(&mut vector);
    Ok(vector)
}
