//! Token shards, packing plans, mixtures, permutations, rows.
//!
//! Every row of a training run is a pure function of (manifests, settings, seed, row number), so the state of a data
//! loader is one number, and workers, threads and world size cannot change the data.
//!
//! # Key types
//! * [`ShardWriter`] and [`Dataset`]: folders of plain `.npy` files under one manifest.
//! * [`Packed`]: a data set as rows of T tokens, by one of the [`STRATEGIES`].
//! * [`Mixture`]: several of them, drawn in proportion to their tokens.
//! * [`Rows`]: what both are: any row by number, a [`Batch`] at a time.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_packing::PackingError> {
//! # let root = std::env::temp_dir().join(format!("stategpt-doc-packing-{}", std::process::id()));
//! use std::sync::Arc;
//! use stategpt_packing::*;
//! let vocabulary = Vocabulary { fingerprint: "b3:any".into(), size: 300, end_of_text: 0, padding: 1 };
//! let mut writer = ShardWriter::create(&root, vocabulary, 1 << 28)?;
//! writer.push(DocumentRef { ids: &[7, 8, 9], mask: None, doc_id: None })?;
//! writer.publish(Provenance::default())?;
//!
//! let config = PackConfig {
//!     row_tokens: 6, strategy: strategy("best_fit")?, isolate_documents: true, reject_too_long: false, seed: 0,
//! };
//! let packed = Packed::new(Arc::new(Dataset::open(&root)?), config)?;
//! let row = packed.batch(0, 1, 1)?;
//! assert_eq!(row.tokens, [0, 7, 8, 9, 1, 1]);
//! assert_eq!(row.targets, [7, 8, 9, 0, 1, 1]);
//! assert_eq!(row.loss_mask, [true, true, true, true, false, false]);
//! # std::fs::remove_dir_all(&root).ok();
//! # Ok(()) }
//! ```
//!
//! # Not for
//! Text: the pipeline crate tokenizes. Rows of ranked completions: the ranking crate arranges those. Attention layouts: the layout
//! crate builds and checks them.

mod batch;
mod error;
mod histogram;
mod mixture;
mod packed;
mod permutation;
mod plan;
pub mod random;
mod rows;
mod shards;

pub use batch::{Batch, NO_DOCUMENT, Piece, Scratch};
pub use error::PackingError;
pub use histogram::{LengthCounter, LengthHistogram};
pub use mixture::{Draw, Drawn, Mixture, Origin, Schedule, Source, SourceSize, WHOLE, row_shares};
pub use packed::{PackConfig, Packed};
pub use permutation::Permutation;
pub use plan::{
    BestFit, FittedPlan, Plan, RankedPiece, Ranks, RowRules, STRATEGIES, Split, Strategy, TooLong,
    strategy,
};
pub use rows::Rows;
pub use shards::{
    Dataset, Description, DocumentRef, Dtype, HEADER_BYTES, KIND, MAX_DOCUMENTS, Provenance,
    ShardCounts, ShardWriter, Span, Vocabulary,
};
