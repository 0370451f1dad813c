//! Exact duplicates and near-duplicates, in bounded memory, independent of the order of the input.

mod digest;
mod documents;
mod finder;
mod signatures;
mod sorted_runs;
mod spill;

#[cfg(test)]
mod tests;

pub(crate) use digest::number;
pub use documents::Place;
pub use finder::{Counts, Finder, Settings, Twin};
pub use signatures::Pairs;
pub(crate) use sorted_runs::Record;
