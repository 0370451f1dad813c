//! Curation of documents: text is cleaned, judged by published quality rules, and compared with other documents.
//!
//! Pure functions of a text; nothing here reads a file or knows Python. What is removed is reported with the rule and
//! the value that it was removed for.

#![forbid(unsafe_code)]

mod clean;

pub use clean::clean;
