//! Curation of documents: text is cleaned, judged by published quality rules, and compared with other documents.
//!
//! Nothing here reads a user's file or knows Python; duplicates keep temporary files, so that memory stays bounded. What
//! is removed is reported with the rule and the value that it was removed for.

#![forbid(unsafe_code)]

mod clean;
pub mod contamination;
pub mod duplicates;
mod error;
mod lsh;
mod minhash;
mod parallel;
mod union_find;

pub use clean::clean;
pub use error::{CurationError, Result};
pub use lsh::Bands;
pub use minhash::{COMPONENTS, SHINGLE_WORDS, Scratch, Signature, equal_components, signature};
