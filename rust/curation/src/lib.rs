//! Curation of documents: text is cleaned, judged by published quality rules, and compared with other documents.
//!
//! ```text
//! text --clean--> text --c4--> fewer lines, or removed --Measure--> Statistics --Selection--> kept, or rule and value
//! ```
//!
//! [`Judge`] does all steps that look at one text alone. Pure functions of a text; nothing here reads a file or knows
//! Python. What is removed is reported with the rule and the value that it was removed for.

#![forbid(unsafe_code)]

mod boilerplate;
mod c4;
mod clean;
mod judge;
mod language;
mod ngrams;
mod rule_error;
mod rules;
mod statistics;
mod table;
mod words;

pub use boilerplate::{Boilerplate, LineCounter};
pub use c4::{C4, LINE_RULES, Lines, Settings};
pub use clean::clean;
pub use judge::{Judge, Value, Verdict, values};
pub use language::Languages;
pub use ngrams::NgramCounts;
pub use rule_error::RuleError;
pub use rules::{Limit, RULES, Rule, Selection};
pub use statistics::{Measure, Statistics};
