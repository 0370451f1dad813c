//! What can fail in a call; what is wrong with a single record is a [`Problem`](crate::Problem) and fails nothing.

use stategpt_layout::LayoutError;

/// A call that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source of records could not be read on.
    #[error("reading rankings failed after {lines} lines: {source}")]
    Io {
        /// Whole lines read before.
        lines: u64,
        /// What the operating system said.
        source: std::io::Error,
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
    /// A batch does not fit the memory.
    #[error("the batch of {tokens} tokens does not fit the memory; use fewer prompts per batch")]
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
