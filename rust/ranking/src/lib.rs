//! Ranked completions: records, validation, pairs, batches.
