//! Token shards: folders of plain `.npy` files under one manifest.

mod column;
mod describe;
mod document;
mod files;
mod npy;
mod reader;
mod writer;

pub use describe::{Description, KIND, MAX_DOCUMENTS, Provenance, ShardCounts, Vocabulary};
pub use npy::{Dtype, HEADER_BYTES};
pub use reader::{Dataset, Span};
pub use writer::{DocumentRef, ShardWriter};
