//! Settings of a trainer.

/// What a trainer regards as one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// Each text as it is given (`train_from_iterator` of the `tokenizers` library).
    Whole,
    /// Each line with its line end, so that no token crosses one (`train` of the `tokenizers` library).
    Lines,
}

/// The vocabulary to be trained.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The maximum number of ids: special tokens, 256 bytes, and one per merge.
    pub vocab_size: usize,
    /// They take the first ids, in this order.
    pub special_tokens: Vec<String>,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
}
