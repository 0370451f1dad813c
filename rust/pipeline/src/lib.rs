//! The only crate that composes the others: text to token shards.

pub mod shards;
