//! The only crate that composes the others: text to token shards.

pub mod shards;
mod text_writer;

pub use text_writer::TextWriter;
