//! Composes the crates: text to shards, rankings to token batches.
