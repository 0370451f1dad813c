//! The four vectors of a layout, and what a token's entries must obey.

use crate::error::LayoutError;
use crate::vectors::{BranchLayout, MAX_TOKENS, SegmentLayout};

const EARLIER_ROW: &str = "its segment starts in an earlier row";
const ORDER: &str = "segment_start <= prefix_end <= branch_start <= token does not hold";
const POSITION: &str = "position is not its count of visible keys";
const BRANCH: &str = "it differs from the token before it inside one branch";
const SEGMENT: &str = "its segment is not contiguous";
const PREFIX: &str = "its prefix is not the start of its segment";

/// Borrowed, unchecked vectors of an attention layout: N entries each, N a whole number of rows.
#[derive(Clone, Copy, Debug)]
pub struct AttentionLayout<'a> {
    /// First token of each token's segment.
    pub segment_start: &'a [i32],
    /// End of the prefix it shares with other branches; `segment_start` where there is none.
    pub prefix_end: &'a [i32],
    /// First token of its branch; `segment_start` where the segment has none.
    pub branch_start: &'a [i32],
    /// Visible keys before it.
    pub position: &'a [i32],
    /// T, tokens per row: no segment crosses a multiple of it.
    pub row_tokens: i64,
}

/// One token's entries, wide enough for any sum of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment_start: i64,
    pub(crate) prefix_end: i64,
    pub(crate) branch_start: i64,
    pub(crate) position: i64,
}

impl Entry {
    /// Whether token `token` sees nothing according to its entries.
    pub(crate) fn is_blank(&self, token: usize) -> bool {
        let token = token as i64;
        (self.segment_start, self.prefix_end) == (token, token)
            && (self.branch_start, self.position) == (token + 1, 0)
    }

    fn shares_branch(&self, other: &Self) -> bool {
        let keys = |entry: &Self| (entry.segment_start, entry.prefix_end, entry.branch_start);
        keys(self) == keys(other)
    }
}

impl SegmentLayout {
    /// The layout as rows of `row_tokens`.
    pub fn view(&self, row_tokens: usize) -> AttentionLayout<'_> {
        AttentionLayout {
            segment_start: &self.segment_start,
            prefix_end: &self.segment_start,
            branch_start: &self.segment_start,
            position: &self.position,
            row_tokens: row_tokens as i64,
        }
    }
}

impl BranchLayout {
    /// The layout as rows of `row_tokens`.
    pub fn view(&self, row_tokens: usize) -> AttentionLayout<'_> {
        AttentionLayout {
            segment_start: &self.segments.segment_start,
            prefix_end: &self.prefix_end,
            branch_start: &self.branch_start,
            position: &self.segments.position,
            row_tokens: row_tokens as i64,
        }
    }
}

impl AttentionLayout<'_> {
    /// Checks the lengths of the vectors against each other and the rows.
    pub(crate) fn check_shape(&self) -> Result<(), LayoutError> {
        let tokens = self.segment_start.len();
        for (name, vector) in [
            ("prefix_end", self.prefix_end),
            ("branch_start", self.branch_start),
            ("position", self.position),
        ] {
            if vector.len() != tokens {
                let rule = format!("as long as segment_start, it must be int32[{tokens}]");
                let found = format!("int32[{}]", vector.len());
                return Err(LayoutError::setting(name, found, rule));
            }
        }
        if tokens > MAX_TOKENS {
            let rule = "a layout has at most 2^31 - 1 tokens; use smaller batches";
            return Err(LayoutError::setting("tokens", tokens, rule));
        }
        if self.row_tokens < 1 || tokens as i64 % self.row_tokens != 0 {
            let rule = format!("it must be at least 1, and {tokens} tokens a whole number of rows");
            return Err(LayoutError::setting("row_tokens", self.row_tokens, rule));
        }
        Ok(())
    }

    /// Entries of `token`, which must be below N.
    pub(crate) fn entry(&self, token: usize) -> Entry {
        Entry {
            segment_start: i64::from(self.segment_start[token]),
            prefix_end: i64::from(self.prefix_end[token]),
            branch_start: i64::from(self.branch_start[token]),
            position: i64::from(self.position[token]),
        }
    }

    /// The error that names `token`.
    #[cold]
    pub(crate) fn error(&self, token: usize, problem: &'static str) -> LayoutError {
        let entry = self.entry(token);
        LayoutError::BadToken {
            token,
            segment_start: entry.segment_start,
            prefix_end: entry.prefix_end,
            branch_start: entry.branch_start,
            position: entry.position,
            row_tokens: self.row_tokens,
            problem,
        }
    }

    /// What is wrong with `token`, whose row starts at `row_start`; the tokens before it must be valid.
    pub(crate) fn problem(
        &self,
        token: usize,
        entry: &Entry,
        row_start: i64,
    ) -> Option<&'static str> {
        if entry.is_blank(token) {
            return None;
        }
        let before = self.entry(token.saturating_sub(1));
        let (at, start) = (token as i64, entry.segment_start);
        let (prefix_end, branch) = (entry.prefix_end, entry.branch_start);
        if start < row_start {
            Some(EARLIER_ROW)
        } else if start > prefix_end || prefix_end > branch || branch > at {
            Some(ORDER)
        } else if entry.position != (prefix_end - start) + (at - branch) {
            Some(POSITION)
        } else if branch != at && !entry.shares_branch(&before) {
            Some(BRANCH)
        } else if start != at && start != before.segment_start {
            Some(SEGMENT)
        } else {
            // An index: up to here 0 <= start <= prefix_end <= token. Segments are contiguous, so it is in this one.
            let holds = self
                .entry((prefix_end - 1).max(start) as usize)
                .branch_start
                == start;
            (!holds).then_some(PREFIX)
        }
    }
}
