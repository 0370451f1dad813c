//! Curation of documents: text is cleaned, judged by published quality rules, and compared with other documents.
//!
//! ```text
//! text --clean--> text --c4--> fewer lines, or removed --Measure--> Statistics --Selection--> kept, or rule and value
//! ```
//!
//! [`Judge`] does all steps that look at one text alone. The modules [`duplicates`] and [`contamination`] compare texts
//! with each other and with evaluation items. Nothing here reads a user's file or knows Python; duplicates keep
//! temporary files, so that memory stays bounded. What is removed is reported with the rule and the value that it was
//! removed for.

#![forbid(unsafe_code)]

mod boilerplate;
mod c4;
mod clean;
pub mod contamination;
pub mod duplicates;
mod error;
mod function_word_lists;
mod function_words;
mod judge;
mod language;
mod lsh;
mod minhash;
mod ngrams;
mod parallel;
mod rules;
mod statistics;
mod table;
mod union_find;
mod words;

pub use boilerplate::{Boilerplate, LineCounter};
pub use c4::{C4, LINE_RULES, Lines, Settings};
pub use clean::clean;
pub use error::{Error, Result};
pub use judge::{Judge, Value, Verdict, values};
pub use language::Languages;
pub use lsh::Bands;
pub use minhash::{
    COMPONENTS, SHINGLE_WORDS, Scratch, Signature, equal_components, signature, signatures,
};
pub use ngrams::NgramCounts;
pub use rules::{Limit, RULES, Rule, Selection};
pub use statistics::{Measure, Statistics};
