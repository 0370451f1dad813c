//! Failures of a call. What is wrong with a single record is a [`Problem`](crate::Problem) and does not end the call.

use stategpt_layout::LayoutError;
use stategpt_lines::LinesError;

/// A call that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source of records could not be read to its end.
    #[error("reading rankings failed after {lines} lines: {source}")]
    Read {
        /// Lines read before.
        lines: u64,
        /// Why.
        source: LinesError,
    },
    /// A group handed to `arrange` has an empty prompt or no completion.
    #[error(
        "group {group} of the batch has {prompt_tokens} prompt tokens and {completions} completions; each needs one"
    )]
    EmptyGroup {
        /// Its place in the batch.
        group: usize,
        /// Tokens of its prompt.
        prompt_tokens: usize,
        /// Its completions.
        completions: usize,
    },
    /// An arrangement with an unknown name.
    #[error("arrange is {name:?}; it is \"rows\" or \"shared_prefix\"")]
    UnknownArrangement {
        /// The name.
        name: String,
    },
    /// Offsets do not cut the ids of a batch into its groups.
    #[error(
        "{offsets} offsets into {ids} ids do not cut out {wanted} parts (a prompt and its completions per group)"
    )]
    BadOffsets {
        /// Number of offsets.
        offsets: usize,
        /// Number of ids.
        ids: usize,
        /// Prompts and completions that the groups need.
        wanted: usize,
    },
    /// A batch does not fit in memory.
    #[error("the batch of {tokens} tokens does not fit in memory; use fewer prompts per batch")]
    OutOfMemory {
        /// Tokens with padding.
        tokens: usize,
    },
    /// A batch has more tokens than an attention layout can index.
    #[error(
        "the batch would have {tokens} tokens, a layout indexes at most {limit} (int32); use fewer prompts per batch"
    )]
    BatchTooLarge {
        /// Tokens with padding.
        tokens: u128,
        /// The maximum that a layout can index.
        limit: usize,
    },
    /// The layout of a batch cannot be built.
    #[error(transparent)]
    Layout(LayoutError),
}
