//! Text to ids.
//!
//! `document` encodes one text and `batch` many of them. A text is split into segments at its added tokens ([`crate::segment`]),
//! a segment into `chunks`, a chunk into pre-tokens ([`crate::pre_tokenizer`]); `pre_tokens` looks these up in `front` and
//! `cache`, and merges the rest ([`crate::merge`]).

pub mod batch;
mod bounds;
mod cache;
mod chunks;
pub mod document;
mod front;
mod in_order;
mod missing_bytes;
pub mod offsets;
mod pre_tokens;
mod prefix;
mod ragged;
mod scratch;
mod scratch_pool;
mod tables;
mod with_missing;

pub use bounds::Bounds;
pub use ragged::Ragged;
pub use scratch_pool::ScratchPool;
pub use tables::Tables;
